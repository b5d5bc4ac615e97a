import { type AgentId } from '../../model/ids.ts'
import { type MasterContext } from '../context.ts'
import { lifeOf } from './decide-life.ts'

/** The agents that are being emptied now, for schedulers that move their tasks by themselves. */
export interface DrainingAgents {
  agents(): ReadonlySet<AgentId>
  /** Calls `listener` when one begins or ends. @returns ends that */
  watch(listener: () => void): () => void
}

/** Follows them from now on, one look for each change of an agent. */
export function followDraining({ agents, changes }: Pick<MasterContext, 'agents' | 'changes'>): DrainingAgents {
  const isDraining = (id: AgentId) => {
    const entry = agents.get(id)
    return entry !== undefined && lifeOf(entry.record) === 'draining'
  }
  const draining = new Set([...agents.keys()].filter(isDraining))
  const listeners = new Set<() => void>()
  changes.watch((told) => {
    if (told.kind !== 'agent' || isDraining(told.agentId) === draining.has(told.agentId)) return
    if (!draining.delete(told.agentId)) draining.add(told.agentId)
    for (const listener of listeners) listener()
  })
  return {
    agents: () => draining,
    watch: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}
