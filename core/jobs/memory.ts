import { type Clock } from '../base/clock.ts'
import { type Logger } from '../base/log.ts'
import { type AgentId, type OfferId } from '../model/ids.ts'
import { type Offer } from '../model/scheduler.ts'
import { type TaskState } from '../model/task.ts'
import { type RejectReason } from '../scheduling/offers.ts'
import { type JobId } from './ids.ts'
import { type JobSchedule } from './job.ts'
import { type RunLimits, type RunTimes } from './plan.ts'
import { runKey } from './records.ts'
import { type Run } from './run.ts'
import { type World } from './world.ts'

/** Why a run waits: what the last offers lacked. */
export interface Waiting {
  /** Wall clock. */
  readonly sinceMs: number
  /** The reason of each agent, by its last offer. */
  readonly rejections: ReadonlyMap<AgentId, RejectReason>
  readonly processedOffers: number
  readonly unusedOffers: number
  readonly lastUnusedAtMs?: number
  readonly lastUsedAtMs?: number
}

/** What of a run its times were made from: when it differs, they are made anew. */
interface Watched {
  readonly taskId: string | undefined
  readonly state: TaskState | undefined
  readonly retryAtMs: number | undefined
}

interface RunMemory {
  readonly times: RunTimes
  readonly watched: Watched
}

/** All that the scheduler remembers between turns, beside what is written. */
export interface Memory {
  readonly world: World
  readonly clock: Clock
  readonly log: Logger
  readonly limits: RunLimits
  readonly newId: () => string
  readonly runs: Map<string, RunMemory>
  /** Why runs wait, by the key of the run. */
  readonly waiting: Map<string, Waiting>
  /** When a job is due next (wall clock); good for as long as its schedules are these. */
  readonly dues: Map<JobId, { readonly schedules: readonly JobSchedule[]; readonly atMs: number | undefined }>
  readonly offers: Map<OfferId, Offer>
}

/** One reading of both clocks. */
export interface Moment {
  /** Wall clock. */
  readonly nowMs: number
  readonly monotonicMs: number
}

/** Reads both clocks. */
export function readMoment({ clock }: Pick<Memory, 'clock'>): Moment {
  return { nowMs: clock.nowMs(), monotonicMs: clock.monotonicMs() }
}

/** Times of a run by the clock that never jumps. Those of an older process are carried over by the wall clock. */
export function timesOf({ runs }: Memory, run: Run, moment: Moment): RunTimes {
  const key = runKey(run)
  const known = runs.get(key)
  const watched: Watched = { taskId: run.task?.id, state: run.task?.state, retryAtMs: run.retryAtMs }
  const isSameTask = known?.watched.taskId === watched.taskId && known?.watched.state === watched.state
  const isSame = known !== undefined && isSameTask && known.watched.retryAtMs === watched.retryAtMs
  if (isSame) return known.times
  const { nowMs, monotonicMs } = moment
  const times: RunTimes = {
    bornMs: known?.times.bornMs ?? monotonicMs - Math.max(0, nowMs - run.createdAtMs),
    stateSinceMs: known !== undefined && isSameTask ? known.times.stateSinceMs : monotonicMs,
    notBeforeMs: monotonicMs + Math.max(0, (run.retryAtMs ?? nowMs) - nowMs),
    ...(known?.times.killedAtMs === undefined || known.watched.taskId !== watched.taskId
      ? {}
      : { killedAtMs: known.times.killedAtMs }),
  }
  runs.set(key, { times, watched })
  return times
}

/** Notes that the task of a run was asked to end. */
export function noteKill(memory: Memory, run: Run, moment: Moment): void {
  const times = timesOf(memory, run, moment)
  const known = memory.runs.get(runKey(run))
  if (known === undefined) return
  memory.runs.set(runKey(run), { ...known, times: { ...times, killedAtMs: moment.monotonicMs } })
}

/** What {@link stepRun} needs to know of time. */
export function ageOf(memory: Memory, run: Run, moment: Moment): { readonly nowMs: number; readonly ageMs: number } {
  return { nowMs: moment.nowMs, ageMs: moment.monotonicMs - timesOf(memory, run, moment).bornMs }
}

/** Forgets runs that are over, and jobs that are gone. */
export function forgetOver(memory: Memory, isAlive: (key: string) => boolean): void {
  for (const id of memory.dues.keys()) if (memory.world.job(id) === undefined) memory.dues.delete(id)
  for (const key of memory.runs.keys()) if (!isAlive(key)) memory.runs.delete(key)
  for (const key of memory.waiting.keys()) if (!isAlive(key)) memory.waiting.delete(key)
}
