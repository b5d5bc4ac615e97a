import { AppError } from '../base/errors.ts'
import { isObject } from '../scheduling/json.ts'
import { type CheckContext } from './check.ts'
import { type JobId, parseJobId, parseRunId, parseScheduleId, type RunId } from './ids.ts'
import { type JobDefinition, type JobRecord, type JobSchedule, noHistory, type Schedule } from './job.ts'
import { parseJob, parseSchedule } from './parse-job.ts'
import { invalidJob } from './problem.ts'
import { makeRun, recordRun } from './record.ts'
import { type Run, stepRun } from './run.ts'
import { type CommandContext } from './scheduler.ts'
import { type WorldView } from './world.ts'

/** Schedules of one job. Metronome has one at most. */
const maxSchedules = 20

/** A command's context, with the networks there are. */
export interface JobsContext extends CommandContext {
  readonly networkNames: ReadonlySet<string>
}

/** @throws ERR_JOBS_INVALID ERR_JOBS_EXISTS */
export function createJob(context: JobsContext, body: unknown, schedules: readonly unknown[] = []): JobRecord {
  const definition = parseJob(body, checkContext(context))
  const { draft, nowMs } = context
  if (draft.job(definition.id) !== undefined) throw new AppError('ERR_JOBS_EXISTS', 'Job with this id already exists')
  const seenSuccesses = successesOf(draft, definition)
  const parsed = parseSchedules(schedules, nowMs)
  const record: JobRecord = { definition, schedules: parsed, history: noHistory, seenSuccesses }
  draft.putJob(record)
  return record
}

/** `schedules`: those that take the place of all it had. @throws ERR_JOBS_INVALID ERR_JOBS_UNKNOWN */
export function updateJob(
  context: JobsContext,
  id: string,
  { body, schedules }: { readonly body: unknown; readonly schedules?: readonly unknown[] },
): JobRecord {
  const record = requireJob(context.draft, id)
  if (!isObject(body)) throw invalidJob([{ path: '/', error: 'must be a JSON object' }])
  const definition = parseJob({ ...body, id }, checkContext(context))
  // What a job that it depended on already did counts on; of a new one, what it does from now on.
  const seenSuccesses = { ...successesOf(context.draft, definition), ...known(record, definition) }
  const parsed = schedules === undefined ? record.schedules : parseSchedules(schedules, context.nowMs)
  const next = { ...record, definition, seenSuccesses, schedules: parsed }
  context.draft.putJob(next)
  return next
}

function known({ seenSuccesses }: JobRecord, { dependencies }: JobDefinition): Readonly<Record<string, number>> {
  return Object.fromEntries(
    dependencies.flatMap(({ id }) => (seenSuccesses[id] === undefined ? [] : [[id, seenSuccesses[id]]])),
  )
}

/** `runs`: what becomes of those that are not over. @throws ERR_JOBS_UNKNOWN ERR_JOBS_ACTIVE ERR_JOBS_NEEDED */
export function deleteJob(context: JobsContext, id: string, { runs }: { readonly runs: 'refuse' | 'stop' }): JobRecord {
  const { draft } = context
  const record = requireJob(draft, id)
  const dependents = draft.dependentsOf(record.definition.id).map(({ definition }) => definition.id)
  if (dependents.length > 0) {
    throw new AppError('ERR_JOBS_NEEDED', `Job '${id}' is a dependency of ${dependents.join(', ')}: change them first`)
  }
  const active = draft.runsOf(record.definition.id)
  if (active.length > 0 && runs === 'refuse') {
    throw new AppError('ERR_JOBS_ACTIVE', 'There are active job runs. Override with stopCurrentJobRuns=true')
  }
  draft.removeJob(record.definition.id)
  for (const run of active) stop(context, run, 'its job was removed')
  return record
}

/** @throws ERR_JOBS_INVALID ERR_JOBS_UNKNOWN ERR_JOBS_EXISTS */
export function addSchedule(context: JobsContext, id: string, body: unknown): JobSchedule {
  const record = requireJob(context.draft, id)
  const spec = parseSchedule(body)
  if (record.schedules.some((other) => other.spec.id === spec.id)) {
    throw new AppError('ERR_JOBS_EXISTS', 'Can only create a non existing schedule')
  }
  if (record.schedules.length === maxSchedules) {
    throw new AppError('ERR_JOBS_EXISTS', `a job has at most ${maxSchedules} schedules: remove one first`)
  }
  const schedule = { spec, decidedMs: context.nowMs }
  context.draft.putJob({ ...record, schedules: [...record.schedules, schedule] })
  return schedule
}

/** It counts from now: what was due before is not decided again. @throws ERR_JOBS_INVALID ERR_JOBS_UNKNOWN */
export function updateSchedule(
  context: JobsContext,
  { id, schedule, body }: { readonly id: string; readonly schedule: string; readonly body: unknown },
): JobSchedule {
  const record = requireJob(context.draft, id)
  requireSchedule(record, schedule)
  if (!isObject(body)) throw invalidJob([{ path: '/', error: 'must be a JSON object' }])
  const next = { spec: parseSchedule({ ...body, id: schedule }), decidedMs: context.nowMs }
  const schedules = record.schedules.map((other) => (other.spec.id === schedule ? next : other))
  context.draft.putJob({ ...record, schedules })
  return next
}

/** @throws ERR_JOBS_UNKNOWN */
export function deleteSchedule(
  context: JobsContext,
  { id, schedule }: { readonly id: string; readonly schedule: string },
): void {
  const record = requireJob(context.draft, id)
  requireSchedule(record, schedule)
  context.draft.putJob({ ...record, schedules: record.schedules.filter(({ spec }) => spec.id !== schedule) })
}

/** @throws ERR_JOBS_UNKNOWN */
export function startRun(context: JobsContext, id: string): Run {
  const { definition } = requireJob(context.draft, id)
  const run = makeRun(context.draft, definition.id, context)
  if (run === undefined) throw unknownJob(id)
  return run
}

/** @throws ERR_JOBS_UNKNOWN */
export function stopRun(context: JobsContext, { id, run }: { readonly id: string; readonly run: string }): Run {
  return stop(context, requireRun(context.draft, id, run), 'stopped by request')
}

function stop(context: JobsContext, run: Run, reason: string): Run {
  const next = stepRun(run, { kind: 'stop', reason, nowMs: context.nowMs, ageMs: 0 })
  if (next !== run) recordRun(context.draft, next, context)
  return next
}

function parseSchedules(bodies: readonly unknown[], nowMs: number): readonly JobSchedule[] {
  const schedules = bodies.map((body): Schedule => parseSchedule(body))
  const twice = schedules.findIndex(({ id }, i) => schedules.slice(0, i).some((other) => other.id === id))
  if (twice >= 0) throw invalidJob([{ path: `/schedules(${twice})/id`, error: 'is given twice' }])
  if (schedules.length > maxSchedules) throw invalidJob([{ path: '/schedules', error: `at most ${maxSchedules}` }])
  return schedules.map((spec) => ({ spec, decidedMs: nowMs }))
}

function checkContext({ draft, networkNames }: JobsContext): CheckContext {
  return {
    networkNames,
    dependenciesOf: (job) => draft.job(job)?.definition.dependencies.map(({ id }) => id),
  }
}

function successesOf(draft: WorldView, { dependencies }: JobDefinition): Readonly<Record<string, number>> {
  return Object.fromEntries(dependencies.map(({ id }) => [id, draft.job(id)?.history.successCount ?? 0]))
}

/** @throws ERR_JOBS_UNKNOWN */
export function requireJob(world: WorldView, text: string): JobRecord {
  const record = world.job(parsed(() => parseJobId(text), unknownJob(text)))
  if (record === undefined) throw unknownJob(text)
  return record
}

/** @throws ERR_JOBS_UNKNOWN */
export function requireSchedule({ schedules }: JobRecord, text: string): JobSchedule {
  const unknown = new AppError('ERR_JOBS_UNKNOWN', `Schedule '${text}' does not exist`)
  const id = parsed(() => parseScheduleId(text), unknown)
  const schedule = schedules.find(({ spec }) => spec.id === id)
  if (schedule === undefined) throw unknown
  return schedule
}

function requireRun(world: WorldView, job: string, text: string): Run {
  const { definition } = requireJob(world, job)
  const run = world.run(definition.id, parseKnownRun(text))
  if (run === undefined) throw unknownRun(text)
  return run
}

/** @throws ERR_JOBS_UNKNOWN when no run could have that id */
export function parseKnownRun(text: string): RunId {
  return parsed(() => parseRunId(text), unknownRun(text))
}

/** An id that can't be one names nothing. */
function parsed<Id>(parse: () => Id, unknown: AppError): Id {
  try {
    return parse()
  } catch {
    throw unknown // ERR_JOBS_ID
  }
}

function unknownJob(id: JobId | string): AppError {
  return new AppError('ERR_JOBS_UNKNOWN', `Job '${id}' does not exist`)
}

/** The error for a run that does not exist. */
export function unknownRun(id: string): AppError {
  return new AppError('ERR_JOBS_UNKNOWN', `JobRun '${id}' does not exist`)
}
