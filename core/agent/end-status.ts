import { type TaskState } from '../model/task.ts'
import { type ContainerExit } from './containerizer/containerizer.ts'
import { type KillCause, type TaskRecord } from './record.ts'

/** How a task ends, as its last status tells it. Reasons: reference/mesos-core.md. */
export interface TaskEnd {
  readonly state: TaskState
  readonly reason?: string
  readonly message: string
  readonly healthy?: boolean
}

/** The end of a container that ran. */
export function endOfContainer(record: TaskRecord, exit: ContainerExit): TaskEnd {
  if (record.killing !== undefined) return endOfKill(record.killing.cause)
  if (exit.outOfMemory) {
    const reason = 'REASON_CONTAINER_LIMITATION_MEMORY'
    const message = `killed by the kernel: it needed more than its ${record.info.resources.memMb} MB of memory`
    return { state: 'TASK_FAILED', reason, message }
  }
  if (exit.status === undefined) {
    return { state: 'TASK_FAILED', reason: 'REASON_EXECUTOR_TERMINATED', message: 'the container vanished' }
  }
  const message = exitMessage(exit.status)
  return { state: exit.status === 0 ? 'TASK_FINISHED' : 'TASK_FAILED', message }
}

/** The end of a task that was killed before it ran, or whose launch failed. */
export function endOfLaunch(record: TaskRecord, message: string): TaskEnd {
  if (record.killing === undefined) {
    return { state: 'TASK_FAILED', reason: 'REASON_CONTAINER_LAUNCH_FAILED', message }
  }
  const reason = 'REASON_TASK_KILLED_DURING_LAUNCH'
  const { cause } = record.killing
  return {
    state: 'TASK_KILLED',
    reason,
    message: cause.kind === 'group' ? cause.message : 'killed before it had started',
  }
}

function endOfKill(cause: KillCause): TaskEnd {
  switch (cause.kind) {
    case 'asked':
      return { state: 'TASK_KILLED', message: 'killed as asked' }
    case 'group':
      return { state: 'TASK_KILLED', message: cause.message }
    case 'limit':
      return { state: 'TASK_FAILED', reason: cause.reason, message: cause.message }
    case 'unhealthy':
      return { state: 'TASK_FAILED', message: cause.message, healthy: false }
  }
}

/** As a shell tells a status: above 128 it was a signal. */
function exitMessage(status: number): string {
  return status > 128 ? `terminated by signal ${status - 128}` : `exited with status ${status}`
}
