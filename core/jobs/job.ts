import { type TaskId } from '../model/ids.ts'
import { type JobId, type RunId, type ScheduleId } from './ids.ts'
import { type JobFields, type ScheduleFields } from './schema.ts'

/** A job that may run: every default filled in, checked across fields. Only `parseJob` makes one. */
export interface JobDefinition extends Omit<JobFields, 'id' | 'dependencies'> {
  readonly id: JobId
  readonly dependencies: readonly { readonly id: JobId }[]
}

/** A schedule that may be followed. Only `parseSchedule` makes one. */
export interface Schedule extends Omit<ScheduleFields, 'id'> {
  readonly id: ScheduleId
}

/** A schedule of a job, and how far it was followed. */
export interface JobSchedule {
  readonly spec: Schedule
  /**
   * Wall clock. What was due up to then is decided, whatever became of it: it never becomes a run again, also when the
   * clock goes back.
   */
  readonly decidedMs: number
}

/** A run that is over. */
export interface FinishedRun {
  readonly id: RunId
  readonly createdAtMs: number
  readonly finishedAtMs: number
  readonly tasks: readonly TaskId[]
  /** Why it failed. */
  readonly message?: string
}

/** What became of a job's runs; the lists have the last ones, the newest first. */
export interface History {
  readonly successCount: number
  readonly failureCount: number
  readonly lastSuccessAtMs?: number
  readonly lastFailureAtMs?: number
  readonly successes: readonly FinishedRun[]
  readonly failures: readonly FinishedRun[]
}

/** A job as it is kept. */
export interface JobRecord {
  readonly definition: JobDefinition
  readonly schedules: readonly JobSchedule[]
  readonly history: History
  /** Of each job that it depends on: how many successes it had when this one was last started for them. */
  readonly seenSuccesses: Readonly<Record<string, number>>
}

/** No run yet. */
export const noHistory: History = { successCount: 0, failureCount: 0, successes: [], failures: [] }

/** Finished runs of each kind that are kept for a job. */
export const keptRuns = 20

/** The history with one more run. */
export function withFinished(history: History, kind: 'success' | 'failed', run: FinishedRun): History {
  const last = (runs: readonly FinishedRun[]) => [run, ...runs].slice(0, keptRuns)
  return kind === 'success'
    ? {
        ...history,
        successCount: history.successCount + 1,
        lastSuccessAtMs: run.finishedAtMs,
        successes: last(history.successes),
      }
    : {
        ...history,
        failureCount: history.failureCount + 1,
        lastFailureAtMs: run.finishedAtMs,
        failures: last(history.failures),
      }
}
