import { AppError, hasCode } from '../base/errors.ts'
import { type Protocol } from '../model/task.ts'
import {
  defaultVipScheduler,
  isVipKey,
  parseTaskVip,
  parseVipLabel,
  drainLabel,
  parseVipDrain,
  parseVipScheduler,
  parseVipWeight,
  schedulerLabel,
  taskVipIndex,
  type VipScheduler,
  type VipSpec,
  weightLabel,
} from '../model/vip.ts'
import { type AppId } from './ids.ts'
import { appPorts, type PortFields } from './ports.ts'
import { type Finding, formatPath } from '../scheduling/problem.ts'
import { type AppFields } from './schema.ts'

/** A VIP label of an app's port. */
export interface VipUse {
  /** `name:port` or `address:port`, as the label's grammar reads it: equal for equal VIPs. */
  readonly vip: string
  readonly protocols: readonly Protocol[]
  readonly scheduler: VipScheduler
  readonly path: string
  readonly spec: VipSpec
}

/** How a VIP is used, in words; two apps' must be equal. */
export function formatVipTerms({ protocols, scheduler }: Pick<VipUse, 'protocols' | 'scheduler'>): string {
  return `${protocols.join('+')} and scheduler ${scheduler}`
}

/** What of an app says which VIPs its tasks are behind. */
export type VipFields = PortFields & Pick<AppFields, 'labels'>

/** The VIP labels of an app, and those that are malformed. */
export function vipUses(app: VipFields): {
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
        uses.push({ ...useOf(parseVipLabel(value)), protocols: port.protocols, scheduler, path })
      } catch (error) {
        malformed.push({ path, error: labelProblem(error) })
      }
    }
  }
  const ofApp = appLabelUses(app)
  return { uses: [...uses, ...ofApp.uses], malformed: [...malformed, ...ofApp.malformed] }
}

/** Labels of the app `VIP_PORTn`: a VIP for its n-th port. */
function appLabelUses(app: VipFields): ReturnType<typeof vipUses> {
  const uses: VipUse[] = []
  const malformed: Finding[] = []
  const ports = appPorts(app)
  for (const [key, value] of Object.entries(app.labels)) {
    const index = taskVipIndex(key)
    if (index === undefined) continue
    const path = formatPath(['labels', key])
    const port = ports[index]
    if (port === undefined) {
      const error = ports.length === 0 ? 'the app has no ports' : `the app has ${ports.length} ports, counted from 0`
      malformed.push({ path, error })
      continue
    }
    try {
      const { protocol, spec } = parseTaskVip(value)
      const { scheduler } = portTerms(port)
      if (port.protocols.includes(protocol)) uses.push({ ...useOf(spec), protocols: [protocol], scheduler, path })
      else malformed.push({ path, error: `port ${index} of the app is ${port.protocols.join('+')}, not ${protocol}` })
    } catch (error) {
      malformed.push({ path, error: labelProblem(error) })
    }
  }
  return { uses, malformed }
}

function useOf(spec: VipSpec): Pick<VipUse, 'vip' | 'spec'> {
  return { vip: `${spec.kind === 'named' ? spec.name : spec.address}:${spec.port}`, spec }
}

function labelProblem(error: unknown): string {
  if (!hasCode(error, 'ERR_VIP_LABEL') || !(error instanceof Error)) throw error
  return error.message
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
  read(drainLabel, () => parseVipDrain(labels), undefined)
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
