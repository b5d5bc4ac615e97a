import { hasCode } from '../base/errors.ts'
import { type Protocol } from '../model/task.ts'
import { isVipKey, parseVipLabel } from '../model/vip.ts'
import { type AppId } from './ids.ts'
import { appPorts, type PortFields } from './ports.ts'
import { type Finding, formatPath } from './problem.ts'

/** A VIP label of an app's port. */
export interface VipUse {
  /** `name:port` or `address:port`, as the label's grammar reads it: equal for equal VIPs. */
  readonly vip: string
  readonly protocols: readonly Protocol[]
  readonly path: string
}

/** The VIP labels of an app, and those that are malformed. */
export function vipUses(app: PortFields): {
  readonly uses: readonly VipUse[]
  readonly malformed: readonly Finding[]
} {
  const uses: VipUse[] = []
  const malformed: Finding[] = []
  for (const port of appPorts(app)) {
    for (const [key, value] of Object.entries(port.labels).filter(([label]) => isVipKey(label))) {
      const path = `${port.path}${formatPath(['labels', key])}`
      try {
        const spec = parseVipLabel(value)
        const host = spec.kind === 'named' ? spec.name : spec.address
        uses.push({ vip: `${host}:${spec.port}`, protocols: port.protocols, path })
      } catch (error) {
        if (!hasCode(error, 'ERR_VIP_LABEL') || !(error instanceof Error)) throw error
        malformed.push({ path, error: error.message })
      }
    }
  }
  return { uses, malformed }
}

/** Which app uses which VIP with which protocols, so that a new app is compared without reading all others. */
export interface VipIndex {
  /** Replaces what is known of the app; no uses: forgets it. */
  set(app: AppId, uses: readonly VipUse[]): void
  /** Another app that uses the VIP with other protocols. */
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
      for (const { vip, protocols } of uses) {
        const users = byVip.get(vip) ?? new Map<AppId, string>()
        byVip.set(vip, users.set(app, protocols.join()))
      }
    },
    conflict: (app, { vip, protocols }) =>
      [...(byVip.get(vip) ?? [])].find(([other, theirs]) => other !== app && theirs !== protocols.join())?.[0],
  }
}
