import { AppError, hasCode } from '../base/errors.ts'
import { type Protocol } from '../model/task.ts'
import {
  defaultVipScheduler,
  isVipKey,
  parseVipLabel,
  parseVipScheduler,
  parseVipWeight,
  schedulerLabel,
  type VipScheduler,
  weightLabel,
} from '../model/vip.ts'
import { type AppId } from './ids.ts'
import { appPorts, type PortFields } from './ports.ts'
import { type Finding, formatPath } from './problem.ts'

/** A VIP label of an app's port. */
export interface VipUse {
  /** `name:port` or `address:port`, as the label's grammar reads it: equal for equal VIPs. */
  readonly vip: string
  readonly protocols: readonly Protocol[]
  readonly scheduler: VipScheduler
  readonly path: string
}

/** How a VIP is used, in words; two apps' must be equal. */
export function formatVipTerms({ protocols, scheduler }: Pick<VipUse, 'protocols' | 'scheduler'>): string {
  return `${protocols.join('+')} and scheduler ${scheduler}`
}

/** The VIP labels of an app, and those that are malformed. */
export function vipUses(app: PortFields): {
  readonly uses: readonly VipUse[]
  readonly malformed: readonly Finding[]
} {
  const uses: VipUse[] = []
  const malformed: Finding[] = []
  for (const port of appPorts(app)) {
    const { scheduler, wrong } = portTerms(port)
    malformed.push(...wrong)
    for (const [key, value] of Object.entries(port.labels).filter(([label]) => isVipKey(label))) {
      const path = `${port.path}${formatPath(['labels', key])}`
      try {
        const spec = parseVipLabel(value)
        const host = spec.kind === 'named' ? spec.name : spec.address
        uses.push({ vip: `${host}:${spec.port}`, protocols: port.protocols, scheduler, path })
      } catch (error) {
        if (!hasCode(error, 'ERR_VIP_LABEL') || !(error instanceof Error)) throw error
        malformed.push({ path, error: error.message })
      }
    }
  }
  return { uses, malformed }
}

/** What a port's labels say of the balancing of its VIPs. */
function portTerms({ labels, path }: Pick<ReturnType<typeof appPorts>[number], 'labels' | 'path'>): {
  readonly scheduler: VipScheduler
  readonly wrong: readonly Finding[]
} {
  const wrong: Finding[] = []
  const read = <T>(label: string, parse: () => T, otherwise: T): T => {
    try {
      return parse()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      wrong.push({ path: `${path}${formatPath(['labels', label])}`, error: error.message })
      return otherwise
    }
  }
  const scheduler = read(schedulerLabel, () => parseVipScheduler(labels), defaultVipScheduler)
  read(weightLabel, () => parseVipWeight(labels), 1)
  return { scheduler, wrong }
}

/** Which app uses which VIP with which protocols and scheduler, so that a new app is compared without reading all others. */
export interface VipIndex {
  /** Replaces what is known of the app; no uses: forgets it. */
  set(app: AppId, uses: readonly VipUse[]): void
  /** Another app that uses the VIP with other protocols or another scheduler. */
  conflict(app: AppId, use: VipUse): AppId | undefined
}

/** An empty index. */
export function makeVipIndex(): VipIndex {
  const byVip = new Map<string, Map<AppId, string>>()
  const byApp = new Map<AppId, readonly VipUse[]>()
  return {
    set: (app, uses) => {
      for (const { vip } of byApp.get(app) ?? []) byVip.get(vip)?.delete(app)
      for (const { vip } of byApp.get(app) ?? []) if (byVip.get(vip)?.size === 0) byVip.delete(vip)
      byApp.delete(app)
      if (uses.length === 0) return
      byApp.set(app, uses)
      for (const use of uses) {
        const users = byVip.get(use.vip) ?? new Map<AppId, string>()
        byVip.set(use.vip, users.set(app, formatVipTerms(use)))
      }
    },
    conflict: (app, use) =>
      [...(byVip.get(use.vip) ?? [])].find(([other, theirs]) => other !== app && theirs !== formatVipTerms(use))?.[0],
  }
}
