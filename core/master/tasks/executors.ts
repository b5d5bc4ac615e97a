import { type ExecutorInfo } from '../../model/executor.ts'
import { type AgentId, type ExecutorId, type FrameworkId } from '../../model/ids.ts'
import { noReservations } from '../../model/reservation.ts'
import { type Grant } from '../allocator/grant.ts'
import { type MasterTask } from './state.ts'

/** An executor: its id is its own within its framework on one agent. */
export interface ExecutorPlace {
  readonly agentId: AgentId
  readonly frameworkId: FrameworkId
  readonly executorId: ExecutorId
}

/**
 * The executors of the tasks that hold resources. What an executor takes itself counts while one of its tasks does. (A custom
 * one may outlive its tasks; what it takes while it is idle is not counted.)
 */
export interface ExecutorTable {
  /** The task holds resources from now on. @returns what its executor takes, when this is its first task */
  enter(task: MasterTask): Grant | undefined
  /** It holds none any more. @returns what its executor took, when this was the last task */
  leave(task: MasterTask): Grant | undefined
  /** As its first task said it. */
  find(place: ExecutorPlace): ExecutorInfo | undefined
  /** Agents on which the framework had an executor, and forgets them. */
  takeAgents(frameworkId: FrameworkId): readonly AgentId[]
}

interface Entry {
  readonly grant: Grant
  readonly info: ExecutorInfo
  tasks: number
}

/** Opens it empty. */
export function openExecutorTable(): ExecutorTable {
  const entries = new Map<string, Entry>()
  const agents = new Map<FrameworkId, Set<AgentId>>()
  return {
    enter: ({ info: { executor, agentId }, frameworkId, role }) => {
      if (executor === undefined) return undefined
      const key = keyOf({ agentId, frameworkId, executorId: executor.id })
      const known = entries.get(key)
      if (known !== undefined) {
        known.tasks++
        return undefined
      }
      const grant = { agentId, frameworkId, role, resources: executor.resources, reserved: noReservations }
      entries.set(key, { grant, info: executor, tasks: 1 })
      if (executor.kind === 'custom') agents.set(frameworkId, (agents.get(frameworkId) ?? new Set()).add(agentId))
      return grant
    },
    leave: ({ info: { executor, agentId }, frameworkId }) => {
      if (executor === undefined) return undefined
      const key = keyOf({ agentId, frameworkId, executorId: executor.id })
      const known = entries.get(key)
      if (known === undefined || --known.tasks > 0) return undefined
      entries.delete(key)
      return known.grant
    },
    find: (place) => entries.get(keyOf(place))?.info,
    takeAgents: (frameworkId) => {
      const known = [...(agents.get(frameworkId) ?? [])]
      agents.delete(frameworkId)
      return known
    },
  }
}

function keyOf({ agentId, frameworkId, executorId }: ExecutorPlace): string {
  return `${agentId} ${frameworkId} ${executorId}`
}
