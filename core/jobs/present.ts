import { countReasons, funnel } from '../scheduling/offers.ts'
import { type JsonObject } from '../scheduling/json.ts'
import { type FinishedRun, type JobRecord, type JobSchedule } from './job.ts'
import { type Waiting } from './memory.ts'
import { nextRunAtMs } from './plan.ts'
import { type Run, statusOf } from './run.ts'

/** What an answer on a job may have beside its definition. */
export const embeds = ['activeRuns', 'schedules', 'history', 'historySummary'] as const

/** One of {@link embeds}. */
export type Embed = (typeof embeds)[number]

/** `2016-07-15T13:02:59.735+0000`, as Metronome writes times. */
export function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '+0000')
}

function timeOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : formatTime(ms)
}

/** A job as the API tells it. */
export function jobJson(record: JobRecord, embed: ReadonlySet<Embed>, runs: readonly Run[]): JsonObject {
  return {
    ...record.definition,
    ...(embed.has('schedules') ? { schedules: record.schedules.map(scheduleJson) } : {}),
    ...(embed.has('activeRuns') ? { activeRuns: runs.map(runJson) } : {}),
    ...(embed.has('history') ? { history: historyJson(record, 'full') } : {}),
    ...(embed.has('historySummary') ? { historySummary: historyJson(record, 'summary') } : {}),
  }
}

function historyJson({ history }: JobRecord, extent: 'full' | 'summary'): JsonObject {
  const { successCount, failureCount, lastSuccessAtMs, lastFailureAtMs, successes, failures } = history
  const summary = {
    successCount,
    failureCount,
    lastSuccessAt: timeOrNull(lastSuccessAtMs),
    lastFailureAt: timeOrNull(lastFailureAtMs),
  }
  if (extent === 'summary') return summary
  return {
    ...summary,
    successfulFinishedRuns: successes.map(finishedJson),
    failedFinishedRuns: failures.map(finishedJson),
  }
}

/** `message` is ours: why it failed. */
function finishedJson({ id, createdAtMs, finishedAtMs, tasks, message }: FinishedRun): JsonObject {
  const times = { createdAt: formatTime(createdAtMs), finishedAt: formatTime(finishedAtMs) }
  return { id, ...times, tasks, ...(message === undefined ? {} : { message }) }
}

/** A schedule as the API tells it. */
export function scheduleJson(schedule: JobSchedule): JsonObject {
  return { ...schedule.spec, nextRunAt: timeOrNull(nextRunAtMs(schedule)) }
}

/** A run as the API tells it. */
export function runJson(run: Run): JsonObject {
  const { id, jobId, createdAtMs, outcome, task } = run
  return {
    id,
    jobId,
    status: statusOf(run),
    createdAt: formatTime(createdAtMs),
    completedAt: timeOrNull(outcome?.atMs),
    tasks:
      task === undefined
        ? []
        : [{ id: task.id, startedAt: timeOrNull(task.startedAtMs), status: task.state, host: task.hostname }],
    ...(outcome?.message === undefined ? {} : { message: outcome.message }),
  }
}

/** A run that is over, as {@link runJson} tells one; Metronome forgets those. */
export function pastRunJson(
  { definition }: JobRecord,
  { run, status }: { readonly run: FinishedRun; readonly status: 'SUCCESS' | 'FAILED' },
): JsonObject {
  const { id, createdAtMs, finishedAtMs, tasks, message } = run
  return {
    id,
    jobId: definition.id,
    status,
    createdAt: formatTime(createdAtMs),
    completedAt: formatTime(finishedAtMs),
    tasks: tasks.map((task) => ({ id: task })),
    ...(message === undefined ? {} : { message }),
  }
}

/** A run that waits for a place, and why: beside Metronome's `runId`, what Marathon's queue has. */
export function queuedJson({ id }: Run, waiting: Waiting): JsonObject {
  return {
    runId: id,
    since: formatTime(waiting.sinceMs),
    processedOffersSummary: {
      processedOffersCount: waiting.processedOffers,
      unusedOffersCount: waiting.unusedOffers,
      lastUnusedOfferAt: timeOrNull(waiting.lastUnusedAtMs),
      lastUsedOfferAt: timeOrNull(waiting.lastUsedAtMs),
      rejectSummaryLastOffers: funnel(countReasons(waiting.rejections.values())),
    },
  }
}
