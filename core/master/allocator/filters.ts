import { type AgentId, type FrameworkId } from '../../model/ids.ts'
import { containsResources, type Resources } from '../../model/resources.ts'

/** Who does not want what for how long. */
export interface Refusal {
  readonly frameworkId: FrameworkId
  readonly role: string
  readonly agentId: AgentId
  readonly resources: Resources
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
  clear(frameworkId: FrameworkId): void
  removeAgent(agentId: AgentId): void
  /** Forgets what is over; the agents that are affected. */
  expire(nowMs: number): ReadonlySet<AgentId>
  /** When the first refusal ends; undefined when there is none. */
  nextExpiryMs(): number | undefined
}

/** Refusals end in steps of this length, so that few wake-ups serve many. */
const stepMs = 250

/** Opens an empty set of filters. */
export function openFilters(): Filters {
  const byAgent = new Map<AgentId, Map<string, Refusal[]>>()
  const ends = new Map<number, Set<AgentId>>()
  const keyOf = (frameworkId: FrameworkId, role: string) => `${frameworkId} ${role}`
  const add = (refusal: Refusal) => {
    const untilMs = Math.ceil(refusal.untilMs / stepMs) * stepMs
    const ofAgent = getOrMake(byAgent, refusal.agentId, () => new Map<string, Refusal[]>())
    getOrMake(ofAgent, keyOf(refusal.frameworkId, refusal.role), () => []).push({ ...refusal, untilMs })
    getOrMake(ends, untilMs, () => new Set<AgentId>()).add(refusal.agentId)
  }
  const blocks: Filters['blocks'] = ({ frameworkId, role, agentId, resources }, nowMs) => {
    const found = byAgent.get(agentId)?.get(keyOf(frameworkId, role)) ?? []
    return found.some((refusal) => nowMs < refusal.untilMs && containsResources(refusal.resources, resources))
  }
  const expire = (nowMs: number) => {
    const touched = new Set<AgentId>()
    for (const [endMs, agents] of ends) {
      if (endMs > nowMs) continue
      ends.delete(endMs)
      for (const agentId of agents) touched.add(agentId)
    }
    for (const agentId of touched) {
      const left = stillValid(byAgent.get(agentId), nowMs)
      if (left.size > 0) byAgent.set(agentId, left)
      else byAgent.delete(agentId)
    }
    return touched
  }
  const clear = (frameworkId: FrameworkId) => {
    for (const [agentId, ofAgent] of byAgent) {
      for (const key of ofAgent.keys()) if (key.startsWith(`${frameworkId} `)) ofAgent.delete(key)
      if (ofAgent.size === 0) byAgent.delete(agentId)
    }
  }
  return {
    add,
    blocks,
    clear,
    removeAgent: (agentId) => byAgent.delete(agentId),
    expire,
    nextExpiryMs: () => (ends.size === 0 ? undefined : Math.min(...ends.keys())),
  }
}

function stillValid(ofAgent: ReadonlyMap<string, Refusal[]> | undefined, nowMs: number): Map<string, Refusal[]> {
  const left = new Map<string, Refusal[]>()
  for (const [key, refusals] of ofAgent ?? []) {
    const valid = refusals.filter(({ untilMs }) => nowMs < untilMs)
    if (valid.length > 0) left.set(key, valid)
  }
  return left
}

function getOrMake<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const found = map.get(key)
  if (found !== undefined) return found
  const made = make()
  map.set(key, made)
  return made
}
