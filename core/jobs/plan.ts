import { lastDueMs, nextDueMs } from './cron.ts'
import { type JobId, type RunId } from './ids.ts'
import { type JobRecord, type JobSchedule, type Schedule } from './job.ts'
import { type Run } from './run.ts'

/** A run that is to be. */
export interface Start {
  readonly schedule: Schedule
  /** When it was due, wall clock. */
  readonly atMs: number
}

/** What the schedules of a job ask for now. */
export interface SchedulePlan {
  readonly starts: readonly Start[]
  /** Due times that become no run, and why. */
  readonly skipped: readonly (Start & { readonly reason: 'deadline' | 'concurrency' })[]
  /** With what is decided now; the same array when nothing was due. */
  readonly schedules: readonly JobSchedule[]
}

/**
 * Decides what is due at `nowMs` (wall clock). However many due times passed since the last look (nobody led, the clock
 * jumped, the disk was full), only the last of them counts, and it becomes a run when its deadline has not passed. `active`:
 * runs of the job that are not over.
 */
export function planSchedules(record: JobRecord, { nowMs, active }: { nowMs: number; active: number }): SchedulePlan {
  const starts: Start[] = []
  const skipped: (Start & { readonly reason: 'deadline' | 'concurrency' })[] = []
  let isChanged = false
  const schedules = record.schedules.map((schedule) => {
    const { spec, decidedMs } = schedule
    if (!spec.enabled || decidedMs >= nowMs) return schedule
    const atMs = lastDueMs(spec, { afterMs: decidedMs, untilMs: nowMs })
    if (atMs === undefined) return schedule
    isChanged = true
    const isLate = nowMs - atMs > spec.startingDeadlineSeconds * 1000
    const isBusy = spec.concurrencyPolicy === 'FORBID' && active + starts.length > 0
    if (isLate) skipped.push({ schedule: spec, atMs, reason: 'deadline' })
    else if (isBusy) skipped.push({ schedule: spec, atMs, reason: 'concurrency' })
    else starts.push({ schedule: spec, atMs })
    return { spec, decidedMs: atMs }
  })
  return { starts, skipped, schedules: isChanged ? schedules : record.schedules }
}

/** When a schedule is due next, wall clock; undefined when it is disabled or never due again. */
export function nextRunAtMs({ spec, decidedMs }: JobSchedule): number | undefined {
  return spec.enabled ? nextDueMs(spec, decidedMs) : undefined
}

/** True when every job that this one depends on has succeeded since this one was last started for them. */
export function isTriggered(record: JobRecord, successesOf: (job: JobId) => number): boolean {
  const { dependencies } = record.definition
  return dependencies.length > 0 && dependencies.every(({ id }) => successesOf(id) > (record.seenSuccesses[id] ?? 0))
}

/** What is to be done with a run now. */
export type RunAction =
  | { readonly kind: 'wait'; readonly untilMs: number | undefined }
  | { readonly kind: 'place'; readonly untilMs: number | undefined }
  | { readonly kind: 'kill' }
  | { readonly kind: 'give-up'; readonly message: string }
  | { readonly kind: 'stop'; readonly reason: string }

/** Times of a run by a clock that never jumps, in milliseconds; of this process only. */
export interface RunTimes {
  /** When it was made: before this process began, for an older one. */
  readonly bornMs: number
  /** Since when its task is in the state it is in. */
  readonly stateSinceMs: number
  /** Not launched before. */
  readonly notBeforeMs: number
  /** When its task was last asked to end. */
  readonly killedAtMs?: number
}

/** Limits, in milliseconds. */
export interface RunLimits {
  /** A task that nobody knows may be on an agent that has not come back yet. */
  readonly unknownMs: number
  /** A task whose agent is out of reach may come back with it. */
  readonly unreachableMs: number
  /** Then a task that was asked to end is asked again, beside its own grace period. */
  readonly killAgainMs: number
}

/** Limits that suit a cluster: agents that were there before a master's end are back well within them. */
export const defaultRunLimits: RunLimits = { unknownMs: 90_000, unreachableMs: 60_000, killAgainMs: 10_000 }

/** What is to be done with a run that is not over, and until when nothing more. `nowMs` never jumps. */
export function planRun(run: Run, times: RunTimes, { nowMs, limits }: { nowMs: number; limits: RunLimits }): RunAction {
  const lostAtMs = lossMs(run, times, limits)
  if (lostAtMs !== undefined && nowMs >= lostAtMs) return { kind: 'give-up', message: lossText(run) }
  if (run.goal === 'stop') {
    const again = limits.killAgainMs + run.definition.run.taskKillGracePeriodSeconds * 1000
    const askAtMs = times.killedAtMs === undefined ? nowMs : times.killedAtMs + again
    return nowMs >= askAtMs ? { kind: 'kill' } : { kind: 'wait', untilMs: least(askAtMs, lostAtMs) }
  }
  const startBy = startByMs(run, times)
  if (startBy !== undefined && nowMs >= startBy.atMs) return { kind: 'stop', reason: startBy.reason }
  if (run.task !== undefined) return { kind: 'wait', untilMs: least(lostAtMs, startBy?.atMs) }
  if (nowMs < times.notBeforeMs) return { kind: 'wait', untilMs: least(times.notBeforeMs, startBy?.atMs) }
  return { kind: 'place', untilMs: startBy?.atMs }
}

/** When the task counts as lost. */
function lossMs({ task }: Run, { stateSinceMs }: RunTimes, limits: RunLimits): number | undefined {
  if (task?.state === 'TASK_UNKNOWN') return stateSinceMs + limits.unknownMs
  return task?.state === 'TASK_UNREACHABLE' ? stateSinceMs + limits.unreachableMs : undefined
}

function lossText({ task }: Run): string {
  return task?.state === 'TASK_UNREACHABLE' ? `its agent is out of reach (${task.hostname})` : 'nobody knows its task'
}

/** When the first task has to run, and what is said when it does not. A repetition has no such time. */
function startByMs(run: Run, { bornMs }: RunTimes): { readonly atMs: number; readonly reason: string } | undefined {
  if (run.failures > 0 || run.task?.startedAtMs !== undefined) return undefined
  const { maxLaunchDelay } = run.definition.run
  const launch = {
    atMs: bornMs + maxLaunchDelay * 1000,
    reason: `did not run within maxLaunchDelay (${maxLaunchDelay} s)`,
  }
  if (run.schedule === undefined) return launch
  const { atMs, startingDeadlineSeconds } = run.schedule
  const dueMs = bornMs - Math.max(0, run.createdAtMs - atMs)
  const deadline = dueMs + startingDeadlineSeconds * 1000
  if (deadline >= launch.atMs) return launch
  return { atMs: deadline, reason: `did not run within startingDeadlineSeconds (${startingDeadlineSeconds} s)` }
}

function least(...times: readonly (number | undefined)[]): number | undefined {
  return times.reduce((a, b) => (a === undefined ? b : b === undefined ? a : Math.min(a, b)), undefined)
}

/** Jobs that the given ones lead to, with themselves; used to find circles. */
export function isCircular(id: JobId, dependenciesOf: (job: JobId) => readonly JobId[]): boolean {
  const seen = new Set<JobId>()
  const open = [...dependenciesOf(id)]
  for (let job = open.pop(); job !== undefined; job = open.pop()) {
    if (job === id) return true
    if (seen.has(job)) continue
    seen.add(job)
    open.push(...dependenciesOf(job))
  }
  return false
}

/** A new run of a job. */
export function newRun(
  { definition }: JobRecord,
  { id, nowMs, start }: { readonly id: RunId; readonly nowMs: number; readonly start?: Start },
): Run {
  const { schedule } = start ?? {}
  return {
    id,
    jobId: definition.id,
    definition,
    createdAtMs: nowMs,
    ...(start === undefined || schedule === undefined
      ? {}
      : {
          schedule: {
            id: schedule.id,
            atMs: start.atMs,
            startingDeadlineSeconds: schedule.startingDeadlineSeconds,
          },
        }),
    goal: 'run',
    failures: 0,
    earlierTasks: [],
  }
}
