import { type OfferId } from '../model/ids.ts'
import { type SchedulerCall } from '../model/scheduler.ts'
import { type TaskInfo } from '../model/task.ts'
import { presentRecord } from './app.ts'
import { type AppId, taskIdOf } from './ids.ts'
import { type Instance } from './instance.ts'
import { type OfferPool, poolOffers } from '../scheduling/offers.ts'
import { type Demand, type Placement, placeDemands } from './place.ts'
import { afterOffers } from './runtime.ts'
import { taskInfoOf } from './task.ts'
import { type Memory } from './turn-observe.ts'
import { type Draft } from './draft.ts'

/** While something waits, what is left of an offer may come again after this: the least that a filter lasts. */
const refuseShortMs = 5_000
/** While nothing waits. A revive ends it. Source: marathon, decline_offer_duration. */
const refuseLongMs = 120_000

/** Uses the offers in hand for what waits. @returns the calls that answer every offer, once the draft is written */
export function placeWaiting(memory: Memory, draft: Draft, newId: () => string): readonly SchedulerCall[] {
  const { offers, runtimes, clock } = memory
  if (offers.size === 0) return []
  const pools = poolOffers(offers.values())
  offers.clear()
  const demands = runtimes.waiting().flatMap((id) => demandOf(memory, draft, id))
  const placing = placeDemands(demands, pools, Math.floor(clock.monotonicMs()))
  const launches = new Map<OfferPool, TaskInfo[]>()
  const placed = new Map<AppId, number>()
  for (const placement of placing.placements) {
    const { pool, record } = placement
    const task = launch(memory, draft, { placement, uuid: newId() })
    const tasks = launches.get(pool)
    if (tasks === undefined) launches.set(pool, [task])
    else tasks.push(task)
    placed.set(record.definition.id, (placed.get(record.definition.id) ?? 0) + 1)
  }
  for (const { record } of demands) {
    const { id } = record.definition
    const { waiting } = runtimes.get(id)
    if (waiting === undefined) continue
    const rejections = placing.rejections.get(id) ?? new Map()
    const outcome = { placed: placed.get(id) ?? 0, pools, rejections, nowMs: clock.nowMs() }
    const next = afterOffers(waiting, outcome)
    runtimes.set(id, { waiting: next })
    runtimes.setWaiting(id, next, clock.nowMs())
  }
  return answers(pools, launches, runtimes.waiting().length > 0 ? refuseShortMs : refuseLongMs)
}

function demandOf({ runtimes }: Memory, draft: Draft, id: AppId): readonly Demand[] {
  const record = draft.app(id)
  const { waiting } = runtimes.get(id)
  if (record === undefined || waiting === undefined) return []
  return [{ record: presentRecord(record), count: waiting.count, instances: draft.instancesOf(id) }]
}

function launch(
  { clock }: Memory,
  draft: Draft,
  { placement, uuid }: { readonly placement: Placement; readonly uuid: string },
): TaskInfo {
  const { record, pool, hostPorts } = placement
  const { id: appId, healthChecks } = record.definition
  const task = taskInfoOf(placement, taskIdOf(appId, uuid))
  const instance: Instance = {
    id: task.taskId,
    appId,
    configVersion: record.configVersion,
    agentId: pool.agentId,
    place: pool.place,
    hostPorts: hostPorts.filter((port) => port !== undefined),
    createdAtMs: clock.nowMs(),
    health: healthChecks.length > 0 ? 'checked' : 'unchecked',
    networks: [],
    goal: { kind: 'run' },
    phase: { kind: 'staged', sinceMs: clock.monotonicMs(), state: 'TASK_STAGING' },
  }
  draft.put({ kind: 'instance.put', instance })
  return task
}

function answers(
  pools: readonly OfferPool[],
  launches: ReadonlyMap<OfferPool, readonly TaskInfo[]>,
  refuseMs: number,
): readonly SchedulerCall[] {
  const unused: OfferId[] = []
  const calls: SchedulerCall[] = []
  for (const pool of pools) {
    const { offerIds } = pool
    const tasks = launches.get(pool)
    if (tasks === undefined) unused.push(...offerIds)
    else calls.push({ kind: 'accept', offerIds, launches: tasks, refuseMs })
  }
  if (unused.length > 0) calls.push({ kind: 'decline', offerIds: unused, refuseMs })
  return calls
}

/** Calls that give back the offers in hand: they could not be used. */
export function declineAll(calls: readonly SchedulerCall[]): readonly SchedulerCall[] {
  const offerIds = calls.flatMap((call) => (call.kind === 'accept' || call.kind === 'decline' ? call.offerIds : []))
  return offerIds.length === 0 ? [] : [{ kind: 'decline', offerIds, refuseMs: refuseShortMs }]
}
