import { type OfferId } from '../model/ids.ts'
import { type SchedulerCall } from '../model/scheduler.ts'
import { type TaskInfo } from '../model/task.ts'
import { type OfferPool, poolOffers } from '../scheduling/offers.ts'
import { taskIdOf } from './ids.ts'
import { ageOf, type Memory, type Moment, type Waiting } from './memory.ts'
import { placeRuns, type Placing } from './place.ts'
import { runKey } from './records.ts'
import { type Run, stepRun } from './run.ts'
import { taskInfoOf } from './task.ts'
import { type Draft } from './world.ts'

/** While something waits, what is left of an offer may come again after this: the least that a filter lasts. */
const refuseShortMs = 5_000
/** While nothing waits. A revive ends it. */
const refuseLongMs = 120_000
/** Launches of one turn: what one batch of the store has to hold. */
const launchesPerTurn = 100

/** Uses the offers in hand for runs that wait. @returns the calls that answer every offer, once the draft is written */
export function placeWaiting(
  memory: Memory,
  draft: Draft,
  { waiting, moment }: { readonly waiting: readonly Run[]; readonly moment: Moment },
): readonly SchedulerCall[] {
  noteWaiting(memory, waiting, moment)
  if (memory.offers.size === 0) return []
  const pools = poolOffers(memory.offers.values())
  const placing = placeRuns(waiting, pools)
  const launches = new Map<OfferPool, TaskInfo[]>()
  for (const { run, pool } of placing.placements.slice(0, launchesPerTurn)) {
    const task = launch(memory, draft, { run, pool, moment })
    launches.set(pool, [...(launches.get(pool) ?? []), task])
  }
  noteOffers(memory, { waiting, placing, offered: pools.length, nowMs: moment.nowMs })
  const isDone = placing.placements.length === waiting.length && waiting.length <= launchesPerTurn
  return answers(pools, launches, isDone ? refuseLongMs : refuseShortMs)
}

function launch(
  memory: Memory,
  draft: Draft,
  { run, pool, moment }: { readonly run: Run; readonly pool: OfferPool; readonly moment: Moment },
): TaskInfo {
  const info = taskInfoOf(run, { taskId: taskIdOf(run.jobId, run.id, memory.newId()), pool })
  const task = {
    id: info.taskId,
    agentId: pool.agentId,
    hostname: pool.place.hostname,
    createdAtMs: moment.nowMs,
    state: 'TASK_STAGING',
  } as const
  draft.putRun(stepRun(run, { kind: 'launch', task, ...ageOf(memory, run, moment) }))
  return info
}

function noteWaiting({ waiting: known }: Memory, waiting: readonly Run[], { nowMs }: Moment): void {
  const keys = new Set(waiting.map(runKey))
  for (const key of known.keys()) if (!keys.has(key)) known.delete(key)
  for (const key of keys) {
    if (!known.has(key)) known.set(key, { sinceMs: nowMs, rejections: new Map(), processedOffers: 0, unusedOffers: 0 })
  }
}

interface Offered {
  readonly waiting: readonly Run[]
  readonly placing: Placing
  readonly offered: number
  readonly nowMs: number
}

function noteOffers(memory: Memory, { waiting, placing, offered, nowMs }: Offered): void {
  for (const run of waiting) {
    const known = memory.waiting.get(runKey(run))
    const rejections = placing.rejections.get(run.id) ?? new Map()
    if (known === undefined) continue
    const next: Waiting = {
      ...known,
      rejections: new Map([...known.rejections, ...rejections]),
      processedOffers: known.processedOffers + offered,
      unusedOffers: known.unusedOffers + rejections.size,
      ...(rejections.size > 0 ? { lastUnusedAtMs: nowMs } : { lastUsedAtMs: nowMs }),
    }
    memory.waiting.set(runKey(run), next)
  }
}

function answers(
  pools: readonly OfferPool[],
  launches: ReadonlyMap<OfferPool, readonly TaskInfo[]>,
  refuseMs: number,
): readonly SchedulerCall[] {
  const unused: OfferId[] = []
  const calls: SchedulerCall[] = []
  for (const pool of pools) {
    const tasks = launches.get(pool)
    if (tasks === undefined) unused.push(...pool.offerIds)
    else calls.push({ kind: 'accept', offerIds: pool.offerIds, launches: tasks, refuseMs })
  }
  return unused.length === 0 ? calls : [...calls, { kind: 'decline', offerIds: unused, refuseMs }]
}
