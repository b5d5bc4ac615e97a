import { type AgentId } from '../model/ids.ts'
import { type AppId } from './ids.ts'
import { type World } from './world.ts'

/** Agents that an operator empties: their instances are replaced elsewhere first, then stopped. */
export interface Draining {
  agents(): ReadonlySet<AgentId>
  /** Calls `listener` when the set has changed. @returns ends that */
  watch(listener: () => void): () => void
}

/** Of a cluster that does not tell: none is ever emptied. */
export const nothingDrains: Draining = { agents: () => new Set(), watch: () => () => undefined }

/**
 * How long the master leaves instances on such an agent to the services. What has found no other place by then is killed like
 * the tasks of everybody else: an operator's wish comes before an app's.
 */
export const movesWithinMs = 60_000

/** Apps that have instances there. Looks at every instance: only for when the set has changed. */
export function appsOn(world: World, agents: ReadonlySet<AgentId>): readonly AppId[] {
  if (agents.size === 0) return []
  return [...world.apps()]
    .map(({ definition: { id } }) => id)
    .filter((id) => world.instancesOf(id).some(({ agentId }) => agents.has(agentId)))
}
