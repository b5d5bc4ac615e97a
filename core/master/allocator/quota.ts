import { topRole } from '../../model/role.ts'
import { type Resources } from '../../model/resources.ts'
import { type Scalars } from './sorter.ts'

/** The most that a top-level role and all below it may consume; what is not named is not limited. */
export interface QuotaLimits {
  readonly cpuMillis?: number
  readonly memMb?: number
  readonly diskMb?: number
}

/**
 * Quota limits of top-level roles. Consumed = what is reserved for the role, used or not, and what it was granted of
 * unreserved resources. Source: reference/mesos-core.md, Allocator; mesos, docs/quota.md.
 */
export interface Quotas {
  /** Undefined: no limits any more. */
  set(top: string, limits: QuotaLimits | undefined): void
  limits(top: string): QuotaLimits | undefined
  /** Top-level roles that have limits. */
  roles(): Iterable<string>
  /** Counts reservations and unreserved grants of a role of any depth. */
  tally(role: string, amount: Scalars, sign: 1 | -1): void
  consumed(top: string): Scalars
  /** True when something is left of every limit; `mem` and the others may still be small. */
  hasRoom(top: string): boolean
  /** What of `resources` the role may still be granted: each amount cut to what is left of its limit. */
  chop(role: string, resources: Resources): Resources
}

interface Consumption {
  cpuMillis: number
  memMb: number
  diskMb: number
}

const kinds = ['cpuMillis', 'memMb', 'diskMb'] as const

/** Opens it without limits. */
export function openQuotas(): Quotas {
  const limits = new Map<string, QuotaLimits>()
  const consumed = new Map<string, Consumption>()
  const left = (top: string, limit: QuotaLimits, kind: (typeof kinds)[number]) =>
    Math.max(0, (limit[kind] ?? Number.POSITIVE_INFINITY) - (consumed.get(top)?.[kind] ?? 0))
  return {
    set: (top, limit) => {
      if (limit === undefined) limits.delete(top)
      else limits.set(top, limit)
    },
    limits: (top) => limits.get(top),
    roles: () => limits.keys(),
    tally: (role, amount, sign) => {
      const top = topRole(role)
      const entry = consumed.get(top) ?? { cpuMillis: 0, memMb: 0, diskMb: 0 }
      for (const kind of kinds) entry[kind] += sign * amount[kind]
      consumed.set(top, entry)
    },
    consumed: (top) => consumed.get(top) ?? { cpuMillis: 0, memMb: 0, diskMb: 0 },
    hasRoom: (top) => {
      const limit = limits.get(top)
      return limit === undefined || left(top, limit, 'cpuMillis') > 0 || left(top, limit, 'memMb') > 0
    },
    chop: (role, resources) => {
      const top = topRole(role)
      const limit = limits.get(top)
      if (limit === undefined) return resources
      const cut = (kind: (typeof kinds)[number]) => Math.min(resources[kind], left(top, limit, kind))
      return { cpuMillis: cut('cpuMillis'), memMb: cut('memMb'), diskMb: cut('diskMb'), ports: resources.ports }
    },
  }
}

/** The limits that `consumed` is above, by name: empty when none. */
export function exceeded(limits: QuotaLimits, consumed: Scalars): readonly (keyof QuotaLimits)[] {
  return kinds.filter((kind) => consumed[kind] > (limits[kind] ?? Number.POSITIVE_INFINITY))
}
