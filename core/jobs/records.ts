import { z } from 'zod'
import { AppError } from '../base/errors.ts'
import { parseAgentId, parseTaskId } from '../model/ids.ts'
import { type TaskState } from '../model/task.ts'
import { type JobId, parseJobId, parseRunId, parseScheduleId } from './ids.ts'
import { type FinishedRun, type History, type JobDefinition, type JobRecord } from './job.ts'
import { type Run, type RunTask } from './run.ts'
import { type JobFields, jobSchema, scheduleSchema } from './schema.ts'

/** Everything that jobs keep is below this key. */
export const storePrefix = 'jobs/'
/** The framework's id, so that a new leader is the same framework. */
export const frameworkKey = `${storePrefix}framework`
const jobPrefix = `${storePrefix}jobs/`
const runPrefix = `${storePrefix}runs/`

/** `jobs/jobs/prod.email`. */
export function jobKey(id: JobId): string {
  return `${jobPrefix}${id}`
}

/** `jobs/runs/prod.email/20160715130259A34HX`. */
export function runKey({ jobId, id }: Pick<Run, 'jobId' | 'id'>): string {
  return `${runPrefix}${jobId}/${id}`
}

/** True for keys of jobs. */
export const isJobKey = (key: string): boolean => key.startsWith(jobPrefix)
/** True for keys of runs. */
export const isRunKey = (key: string): boolean => key.startsWith(runPrefix)

const finishedRun = z.object({
  id: z.string(),
  createdAtMs: z.number(),
  finishedAtMs: z.number(),
  tasks: z.array(z.string()),
  message: z.string().optional(),
})

const storedJob = z.object({
  definition: jobSchema,
  schedules: z.array(z.object({ spec: scheduleSchema, decidedMs: z.number() })),
  history: z.object({
    successCount: z.int(),
    failureCount: z.int(),
    lastSuccessAtMs: z.number().optional(),
    lastFailureAtMs: z.number().optional(),
    successes: z.array(finishedRun),
    failures: z.array(finishedRun),
  }),
  seenSuccesses: z.record(z.string(), z.int()),
})

const storedRun = z.object({
  id: z.string(),
  jobId: z.string(),
  definition: jobSchema,
  createdAtMs: z.number(),
  schedule: z.object({ id: z.string(), atMs: z.number(), startingDeadlineSeconds: z.int() }).optional(),
  goal: z.enum(['run', 'stop']),
  stopReason: z.string().optional(),
  failures: z.int(),
  retryAtMs: z.number().optional(),
  task: z
    .object({
      id: z.string(),
      agentId: z.string(),
      hostname: z.string(),
      createdAtMs: z.number(),
      startedAtMs: z.number().optional(),
    })
    .optional(),
  earlierTasks: z.array(z.string()),
})

/** A job's value in the store. */
export function formatJob(record: JobRecord): string {
  return JSON.stringify(record)
}

/** A run's value in the store: what its task does is not in it, but that it ran. */
export function formatRun(run: Run): string {
  if (run.task === undefined) return JSON.stringify(run)
  const { state, ...task } = run.task
  return JSON.stringify({ ...run, task })
}

/** @throws ERR_JOBS_STORED when it is not what {@link formatJob} wrote */
export function parseJobRecord(key: string, text: string): JobRecord {
  const { definition, schedules, history, seenSuccesses } = parseStored(key, text, storedJob)
  return {
    definition: definitionOf(definition),
    schedules: schedules.map(({ spec, decidedMs }) => ({ spec: { ...spec, id: parseScheduleId(spec.id) }, decidedMs })),
    history: historyOf(history),
    seenSuccesses,
  }
}

/**
 * The run; what its task does meanwhile is not known, and asked of the master.
 * @throws ERR_JOBS_STORED when it is not what {@link formatRun} wrote
 */
export function parseRun(key: string, text: string): Run {
  const { schedule, stopReason, retryAtMs, task, ...stored } = parseStored(key, text, storedRun)
  return {
    ...stored,
    id: parseRunId(stored.id),
    jobId: parseJobId(stored.jobId),
    definition: definitionOf(stored.definition),
    earlierTasks: stored.earlierTasks.map(parseTaskId),
    ...(schedule === undefined ? {} : { schedule: { ...schedule, id: parseScheduleId(schedule.id) } }),
    ...(stopReason === undefined ? {} : { stopReason }),
    ...(retryAtMs === undefined ? {} : { retryAtMs }),
    ...(task === undefined ? {} : { task: taskOf(task) }),
  }
}

function taskOf({ startedAtMs, ...task }: NonNullable<z.output<typeof storedRun>['task']>): RunTask {
  const state: TaskState = 'TASK_UNKNOWN'
  const started = startedAtMs === undefined ? {} : { startedAtMs }
  return { ...task, id: parseTaskId(task.id), agentId: parseAgentId(task.agentId), ...started, state }
}

function definitionOf(fields: JobFields): JobDefinition {
  const dependencies = fields.dependencies.map(({ id }) => ({ id: parseJobId(id) }))
  return { ...fields, id: parseJobId(fields.id), dependencies }
}

function historyOf(stored: z.output<typeof storedJob>['history']): History {
  const { lastSuccessAtMs, lastFailureAtMs, successes, failures, ...counts } = stored
  return {
    ...counts,
    ...(lastSuccessAtMs === undefined ? {} : { lastSuccessAtMs }),
    ...(lastFailureAtMs === undefined ? {} : { lastFailureAtMs }),
    successes: successes.map(finishedOf),
    failures: failures.map(finishedOf),
  }
}

function finishedOf({ message, ...run }: z.output<typeof finishedRun>): FinishedRun {
  const text = message === undefined ? {} : { message }
  return { ...run, id: parseRunId(run.id), tasks: run.tasks.map(parseTaskId), ...text }
}

function parseStored<Schema extends z.ZodType>(key: string, text: string, schema: Schema): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(text))
  } catch (cause) {
    throw new AppError('ERR_JOBS_STORED', `the store's value at ${key} is not ours: restore it or delete the key`, {
      cause,
    })
  }
}
