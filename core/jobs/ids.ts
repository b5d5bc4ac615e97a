import { AppError } from '../base/errors.ts'
import { parseTaskId, type TaskId } from '../model/ids.ts'

declare const brand: unique symbol
type Branded<Name extends string> = string & { readonly [brand]: Name }

/** Names with dots between: `prod.email.summary`. Only {@link parseJobId} makes one. */
export type JobId = Branded<'JobId'>
/** `20160715130259A34HX`: when it was made (UTC), and five characters at random. */
export type RunId = Branded<'RunId'>
/** Unique within its job. */
export type ScheduleId = Branded<'ScheduleId'>

const jobPattern = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*$/
const runPattern = /^\d{14}[A-Za-z0-9]{5}$/
const schedulePattern = /^[a-z0-9]+(-+[a-z0-9]+)*$/
/** A task id has at most 255 characters: room for a run's id and a UUID. */
const maxJobLength = 180
const maxScheduleLength = 63

/** Source: metronome, jobspec.schema.json. @throws ERR_JOBS_ID */
export function parseJobId(text: string): JobId {
  if (text.length > maxJobLength) throw new AppError('ERR_JOBS_ID', `a job id has at most ${maxJobLength} characters`)
  if (!jobPattern.test(text)) {
    throw new AppError(
      'ERR_JOBS_ID',
      `"${text}" is not a job id: lower-case letters, digits, inner "-", parts with "."`,
    )
  }
  return text as JobId
}

/** Source: metronome, JobRunId. @throws ERR_JOBS_ID */
export function parseRunId(text: string): RunId {
  if (!runPattern.test(text)) throw new AppError('ERR_JOBS_ID', `"${text}" is not the id of a run`)
  return text as RunId
}

/** Source: metronome, schedulespec.schema.json. @throws ERR_JOBS_ID */
export function parseScheduleId(text: string): ScheduleId {
  if (text.length > maxScheduleLength || !schedulePattern.test(text)) {
    const rule = `lower-case letters, digits, inner "-", at most ${maxScheduleLength}`
    throw new AppError('ERR_JOBS_ID', `"${text}" is not the id of a schedule: ${rule}`)
  }
  return text as ScheduleId
}

/** The id of a run made at `nowMs` (wall clock); `random` is a UUID, of which it takes a part. */
export function runIdOf(nowMs: number, random: string): RunId {
  const time = new Date(nowMs).toISOString().replaceAll(/\D/g, '').slice(0, 14)
  return parseRunId(`${time}${random.replaceAll('-', '').slice(0, 5)}`)
}

/** `prod_email_summary_20160715130259A34HX.<uuid>`. Job ids have no `_`, so {@link runOfTask} is exact. */
export function taskIdOf(job: JobId, run: RunId, uuid: string): TaskId {
  return parseTaskId(`${job.replaceAll('.', '_')}_${run}.${uuid}`)
}

const taskPattern = /^(.+)_(\d{14}[A-Za-z0-9]{5})\.[0-9a-f-]{36}$/

/** The job and run that a task was made for; undefined when jobs make no such task ids. */
export function runOfTask(task: TaskId): { readonly jobId: JobId; readonly runId: RunId } | undefined {
  const [, job = '', run = ''] = taskPattern.exec(task) ?? []
  const jobId = job.replaceAll('_', '.')
  if (!jobPattern.test(jobId) || !runPattern.test(run)) return undefined
  return { jobId: parseJobId(jobId), runId: parseRunId(run) }
}

/** Name for discovery: `prod.email.summary` → `summary.email.prod`, so `summary-email-prod.metronome.mesos`. */
export function taskNameOf(job: JobId): string {
  return job.split('.').toReversed().join('.')
}
