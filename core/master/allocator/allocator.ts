import { type AgentId, type FrameworkId } from '../../model/ids.ts'
import { addResources, isOfferable, noResources, type Resources, subtractResources } from '../../model/resources.ts'
import { type Filters, openFilters } from './filters.ts'
import { openSorter, type Sorter } from './sorter.ts'

/** Resources of an agent in the hands of a framework, in one of its roles. */
export interface Grant {
  readonly agentId: AgentId
  readonly frameworkId: FrameworkId
  readonly role: string
  readonly resources: Resources
}

/**
 * Who gets which resources: dominant resource fairness, first over roles, then over the frameworks of a role. It knows
 * resources only, neither offers nor tasks: what it granted counts as allocated until `recover`.
 */
export interface Allocator {
  /** Adds an agent, or gives a known one another total; what is allocated on it stays allocated. */
  setAgent(agentId: AgentId, total: Resources): void
  setAgentActive(agentId: AgentId, state: 'active' | 'inactive'): void
  /** What is allocated there must be recovered first. */
  removeAgent(agentId: AgentId): void
  addFramework(frameworkId: FrameworkId, roles: readonly string[]): void
  setFrameworkActive(frameworkId: FrameworkId, state: 'active' | 'inactive'): void
  removeFramework(frameworkId: FrameworkId): void
  /** Enters what is in use without being granted here: tasks of an agent that came back. */
  allocated(grant: Grant): void
  /** Resources are free again. */
  recover(grant: Grant): void
  /** Keeps what is contained in the grant's resources from being offered to that framework until `untilMs` (monotonic). */
  refuse(grant: Grant, untilMs: number): void
  /** Drops a framework's refusals. */
  clearFilters(frameworkId: FrameworkId): void
  /** Drops everybody's refusals of an agent: it has something that it had not. */
  clearAgentFilters(agentId: AgentId): void
  /** Grants what is free on these agents: to each one everything, the neediest first. */
  allocate(agentIds: Iterable<AgentId>, nowMs: number): readonly Grant[]
  expireFilters(nowMs: number): ReadonlySet<AgentId>
  nextExpiryMs(): number | undefined
  /** What nobody has of an agent. */
  available(agentId: AgentId): Resources
  agents(): Iterable<AgentId>
  /** The dominant share of a role. */
  share(role: string): number
}

interface AgentEntry {
  total: Resources
  available: Resources
  active: boolean
}

interface Tables {
  readonly agents: Map<AgentId, AgentEntry>
  readonly frameworks: Map<FrameworkId, readonly string[]>
  readonly roles: Sorter<string>
  readonly inRole: Map<string, Sorter<FrameworkId>>
  readonly filters: Filters
  total: Resources
}

/** Opens an allocator without agents or frameworks. `random` (0 to 1) shuffles the agents. */
export function openAllocator(random: () => number): Allocator {
  const filters = openFilters()
  const tables: Tables = {
    agents: new Map(),
    frameworks: new Map(),
    roles: openSorter(),
    inRole: new Map(),
    filters,
    total: noResources,
  }
  const { agents } = tables
  return {
    setAgent: (agentId, total) => setAgent(tables, agentId, total),
    setAgentActive: (agentId, state) => {
      const agent = agents.get(agentId)
      if (agent !== undefined) agent.active = state === 'active'
    },
    removeAgent: (agentId) => removeAgent(tables, agentId),
    addFramework: (frameworkId, roles) => addFramework(tables, frameworkId, roles),
    setFrameworkActive: (frameworkId, state) => setFrameworkActive(tables, frameworkId, state),
    removeFramework: (frameworkId) => removeFramework(tables, frameworkId),
    allocated: (grant) => take(tables, grant),
    recover: (grant) => give(tables, grant),
    refuse: (grant, untilMs) => filters.add({ ...grant, untilMs }),
    clearFilters: (frameworkId) => filters.clear(frameworkId),
    clearAgentFilters: (agentId) => filters.removeAgent(agentId),
    allocate: (agentIds, nowMs) => allocate(tables, shuffled([...agentIds], random), nowMs),
    expireFilters: (nowMs) => filters.expire(nowMs),
    nextExpiryMs: () => filters.nextExpiryMs(),
    available: (agentId) => agents.get(agentId)?.available ?? noResources,
    agents: () => agents.keys(),
    share: (role) => tables.roles.share(role),
  }
}

function setAgent(tables: Tables, agentId: AgentId, total: Resources): void {
  const known = tables.agents.get(agentId)
  if (known === undefined) {
    tables.agents.set(agentId, { total, available: total, active: false })
  } else {
    const inUse = subtractResources(known.total, known.available)
    known.available = subtractResources(total, inUse)
    known.total = total
  }
  changeTotal(tables, addScalars(subtractScalars(tables.total, known?.total ?? noResources), total))
}

function removeAgent(tables: Tables, agentId: AgentId): void {
  const known = tables.agents.get(agentId)
  if (known === undefined) return
  tables.agents.delete(agentId)
  tables.filters.removeAgent(agentId)
  changeTotal(tables, subtractScalars(tables.total, known.total))
}

function changeTotal(tables: Tables, total: Resources): void {
  tables.total = total
  for (const sorter of [tables.roles, ...tables.inRole.values()]) sorter.setTotal(total)
}

function addFramework(tables: Tables, frameworkId: FrameworkId, roles: readonly string[]): void {
  tables.frameworks.set(frameworkId, roles)
  for (const role of roles) sorterOf(tables, role).add(frameworkId)
  setFrameworkActive(tables, frameworkId, 'active')
}

function sorterOf(tables: Tables, role: string): Sorter<FrameworkId> {
  const found = tables.inRole.get(role)
  if (found !== undefined) return found
  const made = openSorter<FrameworkId>()
  made.setTotal(tables.total)
  tables.inRole.set(role, made)
  tables.roles.add(role)
  tables.roles.setTotal(tables.total)
  return made
}

function setFrameworkActive(tables: Tables, frameworkId: FrameworkId, state: 'active' | 'inactive'): void {
  for (const role of tables.frameworks.get(frameworkId) ?? []) {
    const sorter = sorterOf(tables, role)
    sorter.setActive(frameworkId, state)
    tables.roles.setActive(role, sorter.find(() => true) === undefined ? 'inactive' : 'active')
  }
}

function removeFramework(tables: Tables, frameworkId: FrameworkId): void {
  setFrameworkActive(tables, frameworkId, 'inactive')
  for (const role of tables.frameworks.get(frameworkId) ?? []) tables.inRole.get(role)?.remove(frameworkId)
  tables.frameworks.delete(frameworkId)
  tables.filters.clear(frameworkId)
}

function take(tables: Tables, { agentId, frameworkId, role, resources }: Grant): void {
  const agent = tables.agents.get(agentId)
  if (agent !== undefined) agent.available = subtractResources(agent.available, resources)
  sorterOf(tables, role).allocate(frameworkId, resources)
  tables.roles.allocate(role, resources)
}

function give(tables: Tables, { agentId, frameworkId, role, resources }: Grant): void {
  const agent = tables.agents.get(agentId)
  if (agent !== undefined) agent.available = addResources(agent.available, resources)
  sorterOf(tables, role).recover(frameworkId, resources)
  tables.roles.recover(role, resources)
}

function allocate(tables: Tables, agentIds: readonly AgentId[], nowMs: number): readonly Grant[] {
  const grants: Grant[] = []
  for (const agentId of agentIds) {
    const agent = tables.agents.get(agentId)
    if (agent === undefined || !agent.active || !isOfferable(agent.available)) continue
    const grant = neediest(tables, { agentId, resources: agent.available }, nowMs)
    if (grant === undefined) continue
    take(tables, grant)
    grants.push(grant)
  }
  return grants
}

function neediest(tables: Tables, free: Pick<Grant, 'agentId' | 'resources'>, nowMs: number): Grant | undefined {
  let grant: Grant | undefined
  tables.roles.find((role) => {
    const willing = (frameworkId: FrameworkId) => !tables.filters.blocks({ ...free, role, frameworkId }, nowMs)
    const frameworkId = sorterOf(tables, role).find(willing)
    if (frameworkId !== undefined) grant = { ...free, role, frameworkId }
    return grant !== undefined
  })
  return grant
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

/** Cluster totals leave ports out: they don't count for shares, and joining the ranges of 10,000 agents is slow. */
function addScalars(a: Resources, b: Resources): Resources {
  return {
    cpuMillis: a.cpuMillis + b.cpuMillis,
    memMb: a.memMb + b.memMb,
    diskMb: a.diskMb + b.diskMb,
    ports: [],
  }
}

function subtractScalars(a: Resources, b: Resources): Resources {
  return {
    cpuMillis: a.cpuMillis - b.cpuMillis,
    memMb: a.memMb - b.memMb,
    diskMb: a.diskMb - b.diskMb,
    ports: [],
  }
}
