import { type OfferId } from '../model/ids.ts'
import { type OfferOperation, type SchedulerCall } from '../model/scheduler.ts'
import { type TaskInfo } from '../model/task.ts'
import { presentRecord } from './app.ts'
import { type AppId, taskIdOf } from './ids.ts'
import { type Instance } from './instance.ts'
import { type OfferPool, poolOffers } from '../scheduling/offers.ts'
import { type Demand, type Placement, placeDemands } from './place.ts'
import { type Member } from './pods-member.ts'
import { podGroup } from './pods-task.ts'
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
  const launches = new Map<OfferPool, Launches>()
  const placed = new Map<AppId, number>()
  for (const placement of placing.placements) {
    const { pool, record } = placement
    const ordered = launches.get(pool) ?? { tasks: [], groups: [] }
    launches.set(pool, ordered)
    launch(memory, draft, { placement, uuid: newId(), ordered })
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

/** What is launched on one agent: tasks, and the groups of pods. */
interface Launches {
  readonly tasks: TaskInfo[]
  readonly groups: OfferOperation[]
}

interface Launch {
  readonly placement: Placement
  readonly uuid: string
  readonly ordered: Launches
}

function launch({ clock }: Memory, draft: Draft, { placement, uuid, ordered }: Launch): void {
  const { record, pool, hostPorts } = placement
  const { id: appId, healthChecks, pod } = record.definition
  const id = taskIdOf(appId, uuid)
  if (pod === undefined) ordered.tasks.push(taskInfoOf(placement, id))
  else ordered.groups.push(podGroup(placement, pod, id))
  const members = pod?.containers.map(
    ({ name, healthCheck }): Member => ({
      ...{ name, state: 'TASK_STAGING', sinceMs: clock.nowMs(), networks: [], checked: healthCheck !== undefined },
    }),
  )
  const isChecked = healthChecks.length > 0 || members?.some(({ checked }) => checked) === true
  const instance: Instance = {
    ...{ id, appId, configVersion: record.configVersion, agentId: pool.agentId, place: pool.place },
    hostPorts: hostPorts.filter((port) => port !== undefined),
    createdAtMs: clock.nowMs(),
    health: isChecked ? 'checked' : 'unchecked',
    networks: [],
    goal: { kind: 'run' },
    phase: { kind: 'staged', sinceMs: clock.monotonicMs(), state: 'TASK_STAGING' },
    ...(members === undefined ? {} : { members }),
  }
  draft.put({ kind: 'instance.put', instance })
}

function answers(
  pools: readonly OfferPool[],
  launches: ReadonlyMap<OfferPool, Launches>,
  refuseMs: number,
): readonly SchedulerCall[] {
  const unused: OfferId[] = []
  const calls: SchedulerCall[] = []
  for (const pool of pools) {
    const { offerIds } = pool
    const ordered = launches.get(pool)
    if (ordered === undefined) unused.push(...offerIds)
    else {
      const operations = ordered.groups.length === 0 ? {} : { operations: ordered.groups }
      calls.push({ kind: 'accept', offerIds, launches: ordered.tasks, ...operations, refuseMs })
    }
  }
  if (unused.length > 0) calls.push({ kind: 'decline', offerIds: unused, refuseMs })
  return calls
}

/** Calls that give back the offers in hand: they could not be used. */
export function declineAll(calls: readonly SchedulerCall[]): readonly SchedulerCall[] {
  const offerIds = calls.flatMap((call) => (call.kind === 'accept' || call.kind === 'decline' ? call.offerIds : []))
  return offerIds.length === 0 ? [] : [{ kind: 'decline', offerIds, refuseMs: refuseShortMs }]
}
