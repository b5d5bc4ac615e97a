import { type AgentId } from '../../model/ids.ts'
import {
  addReservations,
  noReservations,
  type ResourceShare,
  subtractReservations,
  subtractShares,
  wholeOfShare,
} from '../../model/reservation.ts'
import { addResources, noResources, type Resources, subtractResources } from '../../model/resources.ts'
import { type Grant } from './grant.ts'
import { type Quotas } from './quota.ts'
import { type ClusterTotal, type Scalars } from './sorter.ts'

/** An agent as the allocator sees it. */
export interface AgentEntry {
  total: ResourceShare
  available: ResourceShare
  active: boolean
  /** Nobody wanted what is available, as of this count of changes; undefined: that is not known. */
  futileAt: number | undefined
}

/** Agents: what they have, and what of it nobody has. */
export interface AgentTable {
  get(agentId: AgentId): AgentEntry | undefined
  ids(): Iterable<AgentId>
  set(agentId: AgentId, total: ResourceShare): void
  setActive(agentId: AgentId, state: 'active' | 'inactive'): void
  remove(agentId: AgentId): void
  tally(grant: Grant, sign: 1 | -1): void
  /** Somebody may want it who did not. */
  touch(agentId: AgentId): void
  available(agentId: AgentId): Resources
  total(agentId: AgentId): ResourceShare
  /** Roles for which something is reserved anywhere. */
  reservedRoles(): ReadonlySet<string>
}

const nothing: ResourceShare = { unreserved: noResources, reserved: noReservations }

/** Opens an empty table that keeps `cluster` and what reservations consume of `quotas`. */
export function openAgentTable(cluster: ClusterTotal, quotas: Quotas): AgentTable {
  const agents = new Map<AgentId, AgentEntry>()
  const count = ({ unreserved, reserved }: ResourceShare, sign: 1 | -1) => {
    for (const amount of [unreserved, ...reserved.map(({ resources }) => resources)]) grow(cluster, amount, sign)
    for (const { role, resources } of reserved) quotas.tally(role, resources, sign)
  }
  const touch = (agentId: AgentId) => {
    const agent = agents.get(agentId)
    if (agent !== undefined) agent.futileAt = undefined
  }
  return {
    get: (agentId) => agents.get(agentId),
    ids: () => agents.keys(),
    touch,
    set: (agentId, total) => {
      const known = agents.get(agentId)
      if (known === undefined) agents.set(agentId, { total, available: total, active: false, futileAt: undefined })
      else {
        count(known.total, -1)
        known.available = subtractShares(total, subtractShares(known.total, known.available))
        known.total = total
        known.futileAt = undefined
      }
      count(total, 1)
      cluster.epoch++
    },
    setActive: (agentId, state) => {
      const agent = agents.get(agentId)
      if (agent !== undefined) agent.active = state === 'active'
    },
    remove: (agentId) => {
      const known = agents.get(agentId)
      if (known === undefined) return
      agents.delete(agentId)
      count(known.total, -1)
      cluster.epoch++
    },
    tally: ({ agentId, role, resources, reserved = noReservations }, sign) => {
      quotas.tally(role, resources, sign)
      const agent = agents.get(agentId)
      if (agent === undefined) return
      const { available } = agent
      agent.available =
        sign > 0
          ? {
              unreserved: subtractResources(available.unreserved, resources),
              reserved: subtractReservations(available.reserved, reserved),
            }
          : {
              unreserved: addResources(available.unreserved, resources),
              reserved: addReservations(available.reserved, reserved),
            }
      if (sign < 0) agent.futileAt = undefined
    },
    available: (agentId) => wholeOfShare(agents.get(agentId)?.available ?? nothing),
    total: (agentId) => agents.get(agentId)?.total ?? nothing,
    reservedRoles: () => new Set([...agents.values()].flatMap(({ total }) => total.reserved.map(({ role }) => role))),
  }
}

function grow(total: ClusterTotal, amount: Scalars, sign: 1 | -1): void {
  total.cpuMillis += sign * amount.cpuMillis
  total.memMb += sign * amount.memMb
  total.diskMb += sign * amount.diskMb
}
