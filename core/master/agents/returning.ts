import { type AgentTask } from '../../api/messages.ts'
import { type MasterTask, stepTask } from '../tasks/state.ts'
import { isTerminal, type TaskState } from '../../model/task.ts'

/** What a registration's list of tasks means for one task. */
export type Finding =
  /** The master takes it over as its agent has it. `back`: it was unreachable, its framework learns that it is not. */
  | { readonly kind: 'enter'; readonly agentTask: AgentTask; readonly back: 'back' | 'as-before' }
  /** Its agent does not have it: it never arrived, or died with the machine. */
  | { readonly kind: 'missing'; readonly task: MasterTask; readonly state: TaskState }

/**
 * Compares what a returning agent has with what the master thinks it has. Tasks whose end only waits for its
 * acknowledgement are left alone. Source: reference/mesos-core.md, Agent liveness and Reasons.
 */
export function findReturned(known: readonly MasterTask[], reported: readonly AgentTask[]): readonly Finding[] {
  const byId = new Map(known.map((task) => [task.info.taskId, task]))
  const found = reported.map((agentTask): Finding => {
    const before = byId.get(agentTask.info.taskId)
    byId.delete(agentTask.info.taskId)
    return { kind: 'enter', agentTask, back: before?.status.state === 'TASK_UNREACHABLE' ? 'back' : 'as-before' }
  })
  for (const task of byId.values()) {
    if (isTerminal(task.status.state) && task.unacknowledged !== undefined) continue
    found.push({ kind: 'missing', task, state: task.status.state === 'TASK_STAGING' ? 'TASK_DROPPED' : 'TASK_GONE' })
  }
  return found
}

/** The master's task after its agent told of it. */
export function mergeReturned(before: MasterTask | undefined, { info, frameworkId, latest }: AgentTask, role: string) {
  const base: MasterTask = before ?? { info, frameworkId, role, status: { ...latest, networks: [] } }
  // A task that was unreachable is whatever its agent says: the guard for ended tasks must not hold it back.
  const { uuid: _, ...status } = latest
  return stepTask({ ...base, status: before?.status ?? status }, { kind: 'update', status })
}
