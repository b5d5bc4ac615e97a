import { type AgentId, type FrameworkId } from '../../model/ids.ts'
import { type ResourceShare } from '../../model/reservation.ts'
import { noResources, type Resources } from '../../model/resources.ts'
import { topRole } from '../../model/role.ts'
import { openAgentTable } from './agents.ts'
import { type GrantPass, runPass } from './cycle.ts'
import { clientKey, openFilters } from './filters.ts'
import { openFrameworkTable } from './frameworks.ts'
import { type Grant } from './grant.ts'
import { openQuotas, type QuotaLimits } from './quota.ts'
import { openRoleTree } from './role-tree.ts'
import { type ClusterTotal, type Scalars } from './sorter.ts'
import { eagerClients, explainWait, type Waiting } from './starvation.ts'

/** What the allocator knows of a role. */
export interface RoleUse {
  readonly frameworks: readonly FrameworkId[]
  /** Granted to it and to the roles below it, reserved or not. */
  readonly allocated: Scalars
  /** What counts for its quota (of a top-level role). */
  readonly consumed: Scalars
  readonly weight: number
  readonly limits?: QuotaLimits
}

/**
 * Who gets which resources: hierarchical dominant resource fairness, first over roles, then over the frameworks of a role. It
 * knows resources only, neither offers nor tasks: what it granted counts as allocated until `recover`.
 */
export interface Allocator {
  /** Adds an agent, or gives a known one another total; what is allocated on it stays allocated. */
  setAgent(agentId: AgentId, total: ResourceShare): void
  setAgentActive(agentId: AgentId, state: 'active' | 'inactive'): void
  /** What is allocated there must be recovered first. */
  removeAgent(agentId: AgentId): void
  /** Adds a framework, active and suppressed in the named roles only, or gives a known one another set of roles. */
  addFramework(frameworkId: FrameworkId, roles: readonly string[], suppressed?: readonly string[]): void
  /** An inactive framework (not connected) gets nothing; which of its roles are suppressed is kept. */
  setFrameworkActive(frameworkId: FrameworkId, state: 'active' | 'inactive'): void
  /** Stops or goes on with offers in some of its roles; no roles: in all. */
  setSuppressed(frameworkId: FrameworkId, state: 'suppressed' | 'unsuppressed', roles?: readonly string[]): void
  removeFramework(frameworkId: FrameworkId): void
  setWeight(role: string, weight: number): void
  /** Limits of a top-level role; undefined: none any more. */
  setQuota(role: string, limits: QuotaLimits | undefined): void
  /** Enters what is in use without being granted here: tasks. */
  allocated(grant: Grant): void
  /** Resources are free again. */
  recover(grant: Grant): void
  /** Keeps what is contained in the grant from being offered to that framework and role until `untilMs` (monotonic). */
  refuse(grant: Grant, untilMs: number): void
  /** Drops a framework's refusals; no roles: in all of its roles. */
  clearFilters(frameworkId: FrameworkId, roles?: readonly string[]): void
  /** Drops everybody's refusals of an agent: it has something that it had not. */
  clearAgentFilters(agentId: AgentId): void
  /** Grants what is free on these agents: to each one everything, the neediest first. */
  allocate(agentIds: Iterable<AgentId>, nowMs: number): readonly Grant[]
  expireFilters(nowMs: number): ReadonlySet<AgentId>
  nextExpiryMs(): number | undefined
  /** What nobody has of an agent, reserved or not. */
  available(agentId: AgentId): Resources
  /** The part of it that is reserved for nobody. */
  unreserved(agentId: AgentId): Resources
  /** All of an agent, by reservation. */
  total(agentId: AgentId): ResourceShare
  agents(): Iterable<AgentId>
  /** The dominant share of a role and all below it, divided by its weight. */
  share(role: string): number
  /** Every role that has frameworks, a weight, a quota, or something allocated or reserved. */
  roles(): ReadonlyMap<string, RoleUse>
  /** Frameworks, by role, that could take offers, or say they want none: since when they got none, and why. */
  waiting(nowMs: number, frameworkId?: FrameworkId): readonly Waiting[]
  /** The same without reasons, which cost a look at each agent, and without those who want none. */
  eager(): readonly Omit<Waiting, 'why'>[]
}

/** Opens an allocator without agents or frameworks. `random` (0 to 1) shuffles the agents. */
export function openAllocator(random: () => number): Allocator {
  const total: ClusterTotal = { cpuMillis: 0, memMb: 0, diskMb: 0, epoch: 0 }
  const roles = openRoleTree(total)
  const quotas = openQuotas()
  const agents = openAgentTable(total, quotas)
  const filters = openFilters()
  const frameworks = openFrameworkTable(total, roles)
  const pass: GrantPass = { agents, frameworks, roles, quotas, filters, changes: { count: 0 } }
  const weights = new Map<string, number>()
  /** Something may have found a taker that had none. */
  const changed = () => void pass.changes.count++
  return {
    setAgent: (agentId, whole) => agents.set(agentId, whole),
    setAgentActive: (agentId, state) => agents.setActive(agentId, state),
    removeAgent: (agentId) => {
      agents.remove(agentId)
      filters.removeAgent(agentId)
    },
    addFramework: (frameworkId, of, suppressed = []) => {
      frameworks.set(frameworkId, of, suppressed)
      changed()
    },
    setFrameworkActive: (frameworkId, state) => {
      frameworks.setActive(frameworkId, state)
      changed()
    },
    setSuppressed: (frameworkId, state, of) => {
      frameworks.setSuppressed(frameworkId, state, of)
      changed()
    },
    removeFramework: (frameworkId) => {
      for (const role of frameworks.rolesOf(frameworkId)) filters.clear(clientKey(frameworkId, role))
      frameworks.remove(frameworkId)
    },
    setWeight: (role, weight) => {
      weights.set(role, weight)
      roles.setWeight(role, weight)
    },
    setQuota: (role, limits) => {
      quotas.set(role, limits)
      changed()
    },
    allocated: (grant) => tally(pass, grant, 1),
    recover: (grant) => tally(pass, grant, -1),
    refuse: ({ agentId, frameworkId, role, resources, reserved = [] }, untilMs) => {
      filters.add({
        client: clientKey(frameworkId, role),
        agentId,
        share: { unreserved: resources, reserved },
        untilMs,
      })
    },
    clearFilters: (frameworkId, of) => {
      for (const role of of ?? frameworks.rolesOf(frameworkId)) filters.clear(clientKey(frameworkId, role))
      changed()
    },
    clearAgentFilters: (agentId) => {
      filters.removeAgent(agentId)
      agents.touch(agentId)
    },
    allocate: (agentIds, nowMs) => runPass(pass, shuffled([...agentIds], random), nowMs),
    expireFilters: (nowMs) => {
      const touched = filters.expire(nowMs)
      for (const agentId of touched) agents.touch(agentId)
      return touched
    },
    nextExpiryMs: () => filters.nextExpiryMs(),
    available: (agentId) => agents.available(agentId),
    unreserved: (agentId) => agents.get(agentId)?.available.unreserved ?? noResources,
    total: (agentId) => agents.total(agentId),
    agents: () => agents.ids(),
    share: (role) => roles.share(role),
    roles: () => rolesInUse(pass, weights),
    eager: () => eagerClients(pass),
    waiting: (nowMs, frameworkId) => explainWait(pass, nowMs, frameworkId),
  }
}

/** Enters a grant, or its end, wherever it counts. */
function tally({ agents, frameworks, quotas, changes }: GrantPass, grant: Grant, sign: 1 | -1): void {
  agents.tally(grant, sign)
  frameworks.tally(grant, sign)
  // Room in a quota makes takers for other agents too.
  if (sign < 0 && quotas.limits(topRole(grant.role)) !== undefined) changes.count++
}

function rolesInUse(
  { frameworks, roles, quotas, agents }: GrantPass,
  weights: ReadonlyMap<string, number>,
): ReadonlyMap<string, RoleUse> {
  const names = new Set([...frameworks.roles(), ...weights.keys(), ...quotas.roles(), ...agents.reservedRoles()])
  return new Map(
    [...names].toSorted().map((role) => {
      const limits = quotas.limits(role)
      const use: RoleUse = {
        frameworks: frameworks.inRole(role),
        allocated: roles.allocated(role),
        consumed: quotas.consumed(role),
        weight: weights.get(role) ?? 1,
        ...(limits === undefined ? {} : { limits }),
      }
      return [role, use] as const
    }),
  )
}

/** Fisher and Yates. */
function shuffled<T>(values: T[], random: () => number): readonly T[] {
  for (let i = values.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const a = values[i]
    const b = values[j]
    if (a !== undefined && b !== undefined) [values[i], values[j]] = [b, a]
  }
  return values
}
