import { type AgentId, type TaskId } from '../model/ids.ts'
import { isTerminal, type TaskState, type TaskStatus } from '../model/task.ts'
import { type JobId, type RunId, type ScheduleId } from './ids.ts'
import { type FinishedRun, type JobDefinition } from './job.ts'

/** As Metronome tells it. INITIAL: waits for a place. STARTING: its task is launched. ACTIVE: its task runs. */
export type RunStatus = 'INITIAL' | 'STARTING' | 'ACTIVE' | 'SUCCESS' | 'FAILED'

/** The task of a run, from the decision to launch it to its end. Times are of the wall clock. */
export interface RunTask {
  readonly id: TaskId
  readonly agentId: AgentId
  readonly hostname: string
  readonly createdAtMs: number
  /** Once it was told to run: so it was launched for sure. */
  readonly startedAtMs?: number
  readonly state: TaskState
}

/** How a run ended. */
export interface Outcome {
  readonly kind: 'success' | 'failed'
  readonly atMs: number
  readonly message?: string
}

/** One execution of a job, from the decision to its end. It is kept in the store before anything is done for it. */
export interface Run {
  readonly id: RunId
  readonly jobId: JobId
  /** As the job was then: a change of the job does not change its runs. */
  readonly definition: JobDefinition
  /** Wall clock. */
  readonly createdAtMs: number
  /** The schedule that it comes from, and when it was due. */
  readonly schedule?: { readonly id: ScheduleId; readonly atMs: number; readonly startingDeadlineSeconds: number }
  readonly goal: 'run' | 'stop'
  /** Why it is stopped. */
  readonly stopReason?: string
  readonly failures: number
  /** Wall clock: not launched again before. */
  readonly retryAtMs?: number
  /** The task that it has now. */
  readonly task?: RunTask
  /** Ids of those before, the last ones. */
  readonly earlierTasks: readonly TaskId[]
  readonly outcome?: Outcome
}

/** What can happen to a run. `nowMs` is the wall clock, `ageMs` how long the run has existed by a clock that never jumps. */
export type RunEvent = { readonly nowMs: number; readonly ageMs: number } & (
  | { readonly kind: 'launch'; readonly task: RunTask }
  | { readonly kind: 'status'; readonly status: TaskStatus }
  /** Its task is given up: the agent is gone, or nobody knows the task. */
  | { readonly kind: 'give-up'; readonly message: string }
  | { readonly kind: 'stop'; readonly reason: string }
)

/** Delay of the first repetition; each further one waits twice as long. */
const firstRetryMs = 1_000
const longestRetryMs = 300_000
const keptTasks = 10

/** The next state. A run that is over stays so. */
export function stepRun(run: Run, event: RunEvent): Run {
  if (run.outcome !== undefined) return run
  switch (event.kind) {
    case 'launch': {
      const { retryAtMs, ...rest } = run
      return { ...rest, task: event.task }
    }
    case 'stop':
      return stop(run, event)
    case 'give-up':
      return giveUp(run, event)
    case 'status':
      return applyStatus(run, event)
  }
}

function stop(run: Run, { reason, nowMs }: RunEvent & { readonly kind: 'stop' }): Run {
  if (run.task === undefined) return finished(run, 'failed', { nowMs, message: reason })
  return run.goal === 'stop' ? run : { ...run, goal: 'stop', stopReason: reason }
}

/** A task that nobody ever saw was never launched: it is launched, which counts as no failure. */
function giveUp(run: Run, event: RunEvent & { readonly kind: 'give-up' }): Run {
  if (run.task === undefined) return run
  if (run.goal === 'run' && run.task.startedAtMs === undefined) return withoutTask(run)
  return failed(run, event.message, event)
}

function applyStatus(run: Run, event: RunEvent & { readonly kind: 'status' }): Run {
  const { task } = run
  const { status, nowMs } = event
  if (task === undefined || task.id !== status.taskId) return run
  if (status.state === 'TASK_FINISHED') return finished(run, 'success', { nowMs })
  // Never launched, whoever was to blame: the job is not.
  if (status.state === 'TASK_DROPPED' && run.goal === 'run') {
    return { ...withoutTask(run), retryAtMs: nowMs + firstRetryMs }
  }
  // The leader that wrote it ended before it launched it: the agent is there, and never heard of it.
  const wasLost = status.state === 'TASK_GONE' && status.reason === 'REASON_RECONCILIATION'
  if (wasLost && run.goal === 'run' && task.startedAtMs === undefined) return withoutTask(run)
  if (isTerminal(status.state)) return failed(run, failureText(status), event)
  if (status.state === 'TASK_UNKNOWN' && run.goal === 'stop') return failed(run, 'its task is gone', event)
  return withState(run, task, status)
}

/** An old STAGING or STARTING (told again by reconciliation) does not undo RUNNING. */
function withState(run: Run, task: RunTask, { state, timestampMs }: TaskStatus): Run {
  const isOld = (state === 'TASK_STAGING' || state === 'TASK_STARTING') && task.startedAtMs !== undefined
  const next = isOld ? 'TASK_RUNNING' : state
  const started = state === 'TASK_RUNNING' && task.startedAtMs === undefined ? { startedAtMs: timestampMs } : {}
  if (next === task.state && started.startedAtMs === undefined) return run
  return { ...run, task: { ...task, ...started, state: next } }
}

function failureText({ state, message, reason }: TaskStatus): string {
  const detail = message === undefined || message === '' ? reason : message
  return detail === undefined ? state : `${state}: ${detail}`
}

function failed(run: Run, message: string, { nowMs, ageMs }: Pick<RunEvent, 'nowMs' | 'ageMs'>): Run {
  if (run.goal === 'stop') return finished(run, 'failed', { nowMs, message: run.stopReason ?? message })
  const { policy, activeDeadlineSeconds } = run.definition.run.restart
  if (policy === 'NEVER') return finished(run, 'failed', { nowMs, message })
  const delayMs = Math.min(firstRetryMs * 2 ** Math.min(run.failures, 30), longestRetryMs)
  if (activeDeadlineSeconds !== undefined && ageMs + delayMs > activeDeadlineSeconds * 1000) {
    return finished(run, 'failed', { nowMs, message: `${message} (not repeated: activeDeadlineSeconds)` })
  }
  return { ...withoutTask(run), failures: run.failures + 1, retryAtMs: nowMs + delayMs }
}

function withoutTask(run: Run): Run {
  const { task, ...rest } = run
  return task === undefined ? rest : { ...rest, earlierTasks: [task.id, ...run.earlierTasks].slice(0, keptTasks) }
}

function finished(
  run: Run,
  kind: Outcome['kind'],
  { nowMs, message }: { readonly nowMs: number; readonly message?: string },
): Run {
  return { ...run, outcome: { kind, atMs: nowMs, ...(message === undefined ? {} : { message }) } }
}

/** The status to show. */
export function statusOf({ outcome, task }: Run): RunStatus {
  if (outcome !== undefined) return outcome.kind === 'success' ? 'SUCCESS' : 'FAILED'
  if (task === undefined) return 'INITIAL'
  return task.startedAtMs === undefined ? 'STARTING' : 'ACTIVE'
}

/** What the history keeps of a run that is over; undefined while it is not. */
export function finishedRunOf({ id, createdAtMs, task, earlierTasks, outcome }: Run): FinishedRun | undefined {
  if (outcome === undefined) return undefined
  const tasks = task === undefined ? earlierTasks : [task.id, ...earlierTasks]
  const message = outcome.message === undefined ? {} : { message: outcome.message }
  return { id, createdAtMs, finishedAtMs: outcome.atMs, tasks, ...message }
}
