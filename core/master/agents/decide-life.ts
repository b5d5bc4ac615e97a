import { AppError } from '../../base/errors.ts'
import { type AgentId } from '../../model/ids.ts'
import { type TaskStatus } from '../../model/task.ts'
import { type AgentRecord, type Decide, type DrainRecord } from '../registry/state.ts'
import { type MasterTask } from '../tasks/state.ts'

/** What an operator wants of an agent. Only an `active` one is offered. */
export type AgentLife = 'active' | 'deactivated' | 'draining' | 'drained'

/** What the registry says of it. */
export function lifeOf({ deactivated, drain }: Pick<AgentRecord, 'deactivated' | 'drain'>): AgentLife {
  if (drain !== undefined) return drain.drained ? 'drained' : 'draining'
  return deactivated ? 'deactivated' : 'active'
}

/** Begins to empty an agent; asked again, it goes by the newer wish. @throws ERR_MASTER_AGENT_UNKNOWN, ERR_MASTER_AGENT_GONE */
export function decideDrain(id: AgentId, drain: DrainRecord): Decide {
  return changeAgent(id, (record) => ({ ...record, deactivated: true, drain }))
}

/** It is empty. Nothing changes when it is not draining any more. */
export function decideDrained(id: AgentId): Decide {
  return ({ agents }) => {
    const record = agents.get(id)
    if (record?.drain === undefined || record.drain.drained) return {}
    return { agents: new Map([[id, { ...record, drain: { ...record.drain, drained: true } }]]) }
  }
}

/** Nothing is offered there any more. @throws ERR_MASTER_AGENT_UNKNOWN, ERR_MASTER_AGENT_GONE */
export function decideDeactivate(id: AgentId): Decide {
  return changeAgent(id, (record) => ({ ...record, deactivated: true }))
}

/**
 * It works again. @throws ERR_MASTER_AGENT_DRAINING while its tasks are being ended, which can't be taken back;
 * ERR_MASTER_AGENT_UNKNOWN, ERR_MASTER_AGENT_GONE
 */
export function decideReactivate(id: AgentId): Decide {
  return changeAgent(id, (record) => {
    if (lifeOf(record) === 'draining') {
      const advice = 'wait until it is drained, then reactivate it'
      throw new AppError('ERR_MASTER_AGENT_DRAINING', `agent ${id} is still draining: ${advice}`)
    }
    const { deactivated: _, drain: __, ...active } = record
    return active
  })
}

/** Gives an agent up for ever; its node stays. Once more changes nothing. @throws ERR_MASTER_AGENT_UNKNOWN */
export function decideGone(id: AgentId, sinceMs: number): Decide {
  return ({ agents, nodes, gone }) => {
    if (gone.has(id)) return {}
    const record = agents.get(id)
    if (record === undefined) throw unknownAgent(id)
    const { nodeName } = record
    const change = { agents: new Map([[id, undefined]]), gone: new Map([[id, { id, nodeName, sinceMs }]]) }
    const node = nodes.get(nodeName)
    if (node?.agentId !== id) return change
    const { agentId: _, ...left } = node
    return { ...change, nodes: new Map([[nodeName, left]]) }
  }
}

/** No agent has the id, nor had one that was given up. */
export function unknownAgent(id: string): AppError {
  return new AppError('ERR_MASTER_AGENT_UNKNOWN', `there is no agent ${id}: weft node list tells their ids`)
}

/** Its id is refused for ever. */
export function goneAgent(id: string): AppError {
  const advice = "its machine may come back with a new id: remove the agent's state folder there"
  return new AppError('ERR_MASTER_AGENT_GONE', `agent ${id} was marked as gone: ${advice}`)
}

function changeAgent(id: AgentId, change: (record: AgentRecord) => AgentRecord): Decide {
  return ({ agents, gone }) => {
    const record = agents.get(id)
    if (record === undefined) throw gone.has(id) ? goneAgent(id) : unknownAgent(id)
    return { agents: new Map([[id, change(record)]]) }
  }
}

/**
 * An update of a task that ends because its agent is emptied says so; one that will not come back says that too, to those who
 * know the word. Source: mesos, src/slave/slave.cpp, statusUpdate.
 */
export function drainedStatus(
  agent: AgentRecord | undefined,
  task: MasterTask | undefined,
  status: TaskStatus,
): TaskStatus {
  if (agent === undefined || lifeOf(agent) !== 'draining' || task?.killing === undefined) return status
  if (status.state !== 'TASK_KILLING' && status.state !== 'TASK_KILLED') return status
  const isGone = status.state === 'TASK_KILLED' && agent.drain?.afterwards === 'gone'
  return { ...status, state: isGone ? 'TASK_GONE_BY_OPERATOR' : status.state, reason: 'REASON_AGENT_DRAINING' }
}
