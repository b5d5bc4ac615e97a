import { type SchedulerCall } from '../model/scheduler.ts'
import { type JobRecord } from './job.ts'
import { ageOf, type Memory, type Moment, timesOf } from './memory.ts'
import { nextRunAtMs, planRun, planSchedules } from './plan.ts'
import { makeRun, recordRun } from './record.ts'
import { type Run, stepRun } from './run.ts'
import { type Draft } from './world.ts'

/** Jobs decided in one turn: what one batch of the store has to hold. */
const jobsPerTurn = 100

/** Makes runs of what is due. That a schedule was decided up to a time and the run that it became are in one batch. */
export function startDue(memory: Memory, draft: Draft, moment: Moment): void {
  let decided = 0
  for (const record of draft.jobs()) {
    const atMs = dueOf(memory, record)
    if (atMs === undefined || atMs > moment.nowMs) continue
    decide(memory, draft, { record, moment })
    if (++decided === jobsPerTurn) return
  }
}

/** The next due time of any job, wall clock; it is over when {@link startDue} had too many at once. */
export function nextDueMs(memory: Memory, draft: Draft): number | undefined {
  let nextMs: number | undefined
  for (const record of draft.jobs()) {
    const atMs = dueOf(memory, record)
    if (atMs !== undefined && (nextMs === undefined || atMs < nextMs)) nextMs = atMs
  }
  return nextMs
}

function dueOf({ dues }: Memory, { definition, schedules }: JobRecord): number | undefined {
  if (schedules.length === 0) return undefined
  const known = dues.get(definition.id)
  if (known?.schedules === schedules) return known.atMs
  const times = schedules.flatMap((schedule) => nextRunAtMs(schedule) ?? [])
  const atMs = times.length === 0 ? undefined : Math.min(...times)
  dues.set(definition.id, { schedules, atMs })
  return atMs
}

function decide(
  memory: Memory,
  draft: Draft,
  { record, moment }: { readonly record: JobRecord; readonly moment: Moment },
): void {
  const { nowMs } = moment
  const { id } = record.definition
  const { starts, skipped, schedules } = planSchedules(record, { nowMs, active: draft.runsOf(id).length })
  draft.putJob({ ...record, schedules })
  for (const { schedule, atMs, reason } of skipped) {
    const due = new Date(atMs).toISOString()
    memory.log.info({ jobId: id, scheduleId: schedule.id, due, reason }, 'a scheduled run is left out')
  }
  for (const start of starts) makeRun(draft, id, { nowMs, newId: memory.newId, start })
}

/** What runs ask for now. */
export interface RunsPlan {
  readonly calls: readonly SchedulerCall[]
  /** Runs whose task is asked to end by those calls. */
  readonly killed: readonly Run[]
  /** Runs that want a place, the oldest first. */
  readonly waiting: readonly Run[]
  /** Monotonic time of the next look. */
  readonly wakeAtMs: number | undefined
}

/** Looks at every run that is not over. */
export function planRuns(memory: Memory, draft: Draft, moment: Moment): RunsPlan {
  const calls: SchedulerCall[] = []
  const killed: Run[] = []
  const waiting: Run[] = []
  let wakeAtMs = Number.POSITIVE_INFINITY
  for (const run of draft.runs()) {
    const { next, kill, untilMs } = settleRun(memory, draft, { run, moment })
    if (kill !== undefined) {
      calls.push({ kind: 'kill', taskId: kill.id, agentId: kill.agentId })
      if (next.outcome === undefined && next.task?.id === kill.id) killed.push(next)
    }
    if (next.outcome === undefined && next.task === undefined && untilMs.place) waiting.push(next)
    wakeAtMs = Math.min(wakeAtMs, untilMs.atMs ?? wakeAtMs)
  }
  return { calls, killed, waiting, wakeAtMs: wakeAtMs === Number.POSITIVE_INFINITY ? undefined : wakeAtMs }
}

interface Settled {
  readonly next: Run
  /** The task to kill. */
  readonly kill: Run['task']
  readonly untilMs: { readonly atMs: number | undefined; readonly place: boolean }
}

/** A step may ask for another at once: given up, then launched again, or stopped, then killed. */
function settleRun(memory: Memory, draft: Draft, { run, moment }: { run: Run; moment: Moment }): Settled {
  const { limits, log, newId } = memory
  let next = run
  let kill: Run['task']
  for (let step = 0; step < 4 && next.outcome === undefined; step++) {
    const action = planRun(next, timesOf(memory, next, moment), { nowMs: moment.monotonicMs, limits })
    if (action.kind === 'wait') return { next, kill, untilMs: { atMs: action.untilMs, place: false } }
    if (action.kind === 'place') return { next, kill, untilMs: { atMs: action.untilMs, place: true } }
    kill = next.task
    if (action.kind === 'kill')
      return { next, kill, untilMs: { atMs: killAgainAtMs(memory, next, moment), place: false } }
    const why = { jobId: next.jobId, runId: next.id }
    if (action.kind === 'give-up') {
      log.warn({ ...why, taskId: next.task?.id, reason: action.message }, 'the task of a run is given up')
      next = stepRun(next, { kind: 'give-up', message: action.message, ...ageOf(memory, next, moment) })
    } else {
      log.info({ ...why, reason: action.reason }, 'a run is stopped')
      next = stepRun(next, { kind: 'stop', reason: action.reason, ...ageOf(memory, next, moment) })
      kill = undefined // by the next step
    }
    recordRun(draft, next, { nowMs: moment.nowMs, newId })
  }
  return { next, kill, untilMs: { atMs: undefined, place: false } }
}

function killAgainAtMs({ limits }: Memory, run: Run, { monotonicMs }: Moment): number {
  return monotonicMs + limits.killAgainMs + run.definition.run.taskKillGracePeriodSeconds * 1000
}
