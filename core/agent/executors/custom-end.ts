import { type ContainerExit, type ContainerFinding } from '../containerizer/containerizer.ts'
import { type TaskEnd } from '../end-status.ts'
import { interrupted, rebooted } from '../recovery.ts'
import { type ExecutorRecord } from './record.ts'

type ExecutorExitStatus = Pick<ContainerExit, 'status' | 'outOfMemory'>

/** How the tasks of an executor end that has ended. Source: mesos, Slave::sendExecutorTerminatedStatusUpdate. */
export function endOfExecutor(exit: ExecutorExitStatus): TaskEnd {
  if (exit.outOfMemory) {
    const message = 'its executor was killed by the kernel: it needed more memory than it and its tasks have'
    return { state: 'TASK_FAILED', reason: 'REASON_CONTAINER_LIMITATION_MEMORY', message }
  }
  const how = exit.status === undefined ? 'vanished' : `ended with status ${exit.status}`
  return { state: 'TASK_FAILED', reason: 'REASON_EXECUTOR_TERMINATED', message: `its executor ${how}` }
}

/** The executor could not be started. */
export function endOfExecutorLaunch(problem: string): TaskEnd {
  return {
    state: 'TASK_FAILED',
    reason: 'REASON_CONTAINER_LAUNCH_FAILED',
    message: `its executor can't start: ${problem}`,
  }
}

/** The executor did not subscribe in time; `again`: after the agent's restart. */
export function endOfSilence(when: 'first' | 'again', waitMs: number): TaskEnd {
  const reason = when === 'first' ? 'REASON_EXECUTOR_REGISTRATION_TIMEOUT' : 'REASON_EXECUTOR_REREGISTRATION_TIMEOUT'
  const after = when === 'first' ? 'its launch' : "the agent's restart"
  return {
    state: 'TASK_FAILED',
    reason,
    message: `its executor did not subscribe within ${waitMs / 1000} s of ${after}`,
  }
}

/** Killed before its executor was told of it. */
export const killedBeforeDelivery: TaskEnd = {
  state: 'TASK_KILLED',
  reason: 'REASON_TASK_KILLED_DURING_LAUNCH',
  message: 'killed before its executor was told of it',
}

/** Sent on a stream that had broken: the executor says that it does not know it. Source: mesos, Slave::subscribe. */
export const undelivered: TaskEnd = {
  state: 'TASK_DROPPED',
  reason: 'REASON_AGENT_RESTARTED',
  message: 'its executor was not told of it: the connection had broken',
}

/** What a restarted agent does about an executor that an earlier one had. */
export type ExecutorRecovery =
  /** Undo what is left; its tasks end so. `status`: of its process, where it is known. */
  | { readonly kind: 'finish'; readonly end: TaskEnd; readonly status?: number; readonly report: 'yes' | 'no' }
  /** It runs, and shall subscribe. */
  | { readonly kind: 'await'; readonly when: 'first' | 'again' }
  /** It runs, but the tasks' addresses are not known. */
  | { readonly kind: 'kill'; readonly end: TaskEnd }

/** Decides by the executor's journal, by what is found of its container, and by whether the machine was restarted. */
export function recoverExecutor(record: ExecutorRecord, finding: ContainerFinding, bootId: string): ExecutorRecovery {
  const exit: ExecutorExitStatus = finding.kind === 'exited' ? finding.exit : { outOfMemory: false }
  const status = exit.status === undefined ? {} : { status: exit.status }
  if (record.ended === true) return { kind: 'finish', end: endOfExecutor(exit), report: 'no' }
  if (record.bootId !== bootId) return { kind: 'finish', end: rebooted, ...status, report: 'yes' }
  if (finding.kind === 'running') {
    if (record.networks === undefined) return { kind: 'kill', end: interrupted }
    return { kind: 'await', when: record.subscribed === true ? 'again' : 'first' }
  }
  const began = finding.kind === 'exited' || record.pid !== undefined
  return { kind: 'finish', end: began ? endOfExecutor(exit) : interrupted, ...status, report: 'yes' }
}
