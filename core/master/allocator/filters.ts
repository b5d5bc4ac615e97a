import { type AgentId, type FrameworkId } from '../../model/ids.ts'
import { containsShare, type ResourceShare } from '../../model/reservation.ts'

/** A framework in one of its roles, as one string: see {@link clientKey}. */
export type ClientKey = string

/** The key of a framework in a role. Neither has blanks. */
export function clientKey(frameworkId: FrameworkId, role: string): ClientKey {
  return `${frameworkId} ${role}`
}

/** Who does not want what for how long. */
export interface Refusal {
  readonly client: ClientKey
  readonly agentId: AgentId
  readonly share: ResourceShare
  /** Monotonic, milliseconds. */
  readonly untilMs: number
}

/**
 * Refusals of offers: one blocks every offer of the same agent to the same framework and role that is contained in what was
 * refused. Source: reference/mesos-core.md, Offers.
 */
export interface Filters {
  add(refusal: Refusal): void
  blocks(offer: Omit<Refusal, 'untilMs'>, nowMs: number): boolean
  clear(client: ClientKey): void
  removeAgent(agentId: AgentId): void
  /** Forgets what is over; the agents that are affected. */
  expire(nowMs: number): ReadonlySet<AgentId>
  /** When the first refusal ends; undefined when there is none. */
  nextExpiryMs(): number | undefined
}

/** Refusals end in steps of this length, so that few wake-ups serve many. */
const stepMs = 250

type OfAgent = Map<ClientKey, Refusal[]>

/** Opens an empty set of filters. */
export function openFilters(): Filters {
  const byAgent = new Map<AgentId, OfAgent>()
  const agentsOf = new Map<ClientKey, Set<AgentId>>()
  const ends = new Map<number, Set<AgentId>>()
  const add = (refusal: Refusal) => {
    const { agentId, client } = refusal
    const untilMs = Math.ceil(refusal.untilMs / stepMs) * stepMs
    const ofAgent = getOrMake(byAgent, agentId, () => new Map<ClientKey, Refusal[]>())
    // What the new one covers is not needed any more: a framework that declines again and again makes no long list.
    const others = (ofAgent.get(client) ?? []).filter(
      (other) => other.untilMs > untilMs || !containsShare(refusal.share, other.share),
    )
    ofAgent.set(client, [...others, { ...refusal, untilMs }])
    getOrMake(agentsOf, client, () => new Set<AgentId>()).add(agentId)
    getOrMake(ends, untilMs, () => new Set<AgentId>()).add(agentId)
  }
  const forget = (agentId: AgentId, client: ClientKey) => {
    const agents = agentsOf.get(client)
    agents?.delete(agentId)
    if (agents?.size === 0) agentsOf.delete(client)
  }
  const expireAgent = (agentId: AgentId, nowMs: number) => {
    const ofAgent = byAgent.get(agentId)
    if (ofAgent === undefined) return
    for (const [client, refusals] of ofAgent) {
      const valid = refusals.filter(({ untilMs }) => nowMs < untilMs)
      if (valid.length > 0) ofAgent.set(client, valid)
      else {
        ofAgent.delete(client)
        forget(agentId, client)
      }
    }
    if (ofAgent.size === 0) byAgent.delete(agentId)
  }
  return {
    add,
    blocks: ({ client, agentId, share }, nowMs) => {
      const found = byAgent.get(agentId)?.get(client)
      if (found === undefined) return false
      return found.some((refusal) => nowMs < refusal.untilMs && containsShare(refusal.share, share))
    },
    clear: (client) => {
      for (const agentId of agentsOf.get(client) ?? []) byAgent.get(agentId)?.delete(client)
      agentsOf.delete(client)
    },
    removeAgent: (agentId) => {
      for (const client of byAgent.get(agentId)?.keys() ?? []) forget(agentId, client)
      byAgent.delete(agentId)
    },
    expire: (nowMs) => {
      const touched = new Set<AgentId>()
      for (const [endMs, agents] of ends) {
        if (endMs > nowMs) continue
        ends.delete(endMs)
        for (const agentId of agents) touched.add(agentId)
      }
      for (const agentId of touched) expireAgent(agentId, nowMs)
      return touched
    },
    nextExpiryMs: () => {
      let first: number | undefined
      for (const endMs of ends.keys()) if (first === undefined || endMs < first) first = endMs
      return first
    },
  }
}

function getOrMake<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const found = map.get(key)
  if (found !== undefined) return found
  const made = make()
  map.set(key, made)
  return made
}
