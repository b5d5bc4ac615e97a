import { type FrameworkId, type OfferId, type TaskId } from '../model/ids.ts'
import { type OfferOperation, type SchedulerCall } from '../model/scheduler.ts'
import { type TaskInfo } from '../model/task.ts'
import { presentRecord } from './app.ts'
import { type Claim } from './claim.ts'
import { type AppId, taskIdOf } from './ids.ts'
import { type Instance } from './instance.ts'
import { type OfferPool, poolOffers } from '../scheduling/offers.ts'
import { type Demand, type Placement, placeDemands } from './place.ts'
import { type Member } from './pods-member.ts'
import { podGroup } from './pods-task.ts'
import { afterOffers } from './runtime.ts'
import { claimOperations, giveBack, newClaim } from './turn-claims.ts'
import { taskInfoOf } from './task.ts'
import { type Memory } from './turn-observe.ts'
import { type Draft } from './draft.ts'

/** While something waits, what is left of an offer may come again after this: the least that a filter lasts. */
const refuseShortMs = 5_000
/** While nothing waits. A revive ends it. Source: marathon, decline_offer_duration. */
const refuseLongMs = 120_000

/** Who places. */
export interface PlacingOptions {
  readonly newId: () => string
  /** Known as soon as there are offers. */
  readonly frameworkId: FrameworkId | undefined
}

/** Uses the offers in hand for what waits. @returns the calls that answer every offer, once the draft is written */
export function placeWaiting(
  memory: Memory,
  draft: Draft,
  { newId, frameworkId }: PlacingOptions,
): readonly SchedulerCall[] {
  const { offers, runtimes, clock } = memory
  if (offers.size === 0 || frameworkId === undefined) return []
  const pools = poolOffers(offers.values())
  offers.clear()
  const demands = runtimes.waiting().flatMap((id) => demandOf(memory, draft, id))
  const placing = placeDemands(demands, pools, Math.floor(clock.monotonicMs()))
  const launches = new Map<OfferPool, Launches>()
  const placed = new Map<AppId, number>()
  for (const placement of placing.placements) {
    const { pool, record } = placement
    launch(memory, draft, { placement, uuid: newId(), frameworkId, ordered: orderedOn(launches, pool) })
    placed.set(record.definition.id, (placed.get(record.definition.id) ?? 0) + 1)
  }
  for (const pool of pools) {
    const operations = giveBack(draft, pool, frameworkId)
    if (operations.length > 0) orderedOn(launches, pool).operations.push(...operations)
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
  const isWaiting = runtimes.waiting().length > 0 || memory.world.leaving() > 0
  return answers(pools, launches, isWaiting ? refuseShortMs : refuseLongMs)
}

function orderedOn(launches: Map<OfferPool, Launches>, pool: OfferPool): Launches {
  const known = launches.get(pool) ?? { tasks: [], operations: [] }
  launches.set(pool, known)
  return known
}

function demandOf({ runtimes }: Memory, draft: Draft, id: AppId): readonly Demand[] {
  const record = draft.app(id)
  const { waiting } = runtimes.get(id)
  if (record === undefined || waiting === undefined) return []
  return [
    {
      record: presentRecord(record),
      count: waiting.count,
      instances: draft.instancesOf(id),
      claims: draft.claimsOf(id),
    },
  ]
}

/** What is done on one agent: tasks, and what comes before them: reservations, the groups of pods. */
interface Launches {
  readonly tasks: TaskInfo[]
  readonly operations: OfferOperation[]
}

interface Launch {
  readonly placement: Placement
  readonly uuid: string
  readonly frameworkId: FrameworkId
  readonly ordered: Launches
}

function launch({ clock }: Memory, draft: Draft, { placement: found, uuid, frameworkId, ordered }: Launch): void {
  const { record, pool, hostPorts } = found
  const { id: appId, healthChecks, pod } = record.definition
  const id = taskIdOf(appId, uuid)
  const { placement, claim } = claimed(draft, found, { id, uuid, frameworkId, ordered })
  if (pod === undefined) ordered.tasks.push(taskInfoOf(placement, id))
  else ordered.operations.push(podGroup(placement, pod, id))
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
    ...(claim === undefined ? {} : { claim: claim.id }),
  }
  draft.put({ kind: 'instance.put', instance })
}

interface Claiming extends Pick<Launch, 'uuid' | 'frameworkId' | 'ordered'> {
  readonly id: TaskId
}

/** What an instance has to itself; new ones are made before the task. */
function claimed(
  draft: Draft,
  placement: Placement,
  { ordered, ...naming }: Claiming,
): { readonly placement: Placement; readonly claim?: Claim } {
  if (placement.claim === undefined) return { placement }
  if (placement.claim !== 'new') return { placement, claim: placement.claim }
  const claim = newClaim(placement, naming)
  draft.put({ kind: 'claim.put', claim })
  ordered.operations.push(...claimOperations(claim))
  return { placement: { ...placement, reserved: [claim.reservation] }, claim }
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
      const operations = ordered.operations.length === 0 ? {} : { operations: ordered.operations }
      calls.push({ kind: 'accept', offerIds, launches: ordered.tasks, ...operations, refuseMs })
    }
  }
  if (unused.length > 0) calls.push({ kind: 'decline', offerIds: unused, refuseMs })
  return calls
}

/** Offers are wanted for what waits, and for claims that are to be given back. */
export function wantedOffers(
  { runtimes, world }: Memory,
  draft: Draft,
): { readonly waiting: boolean; readonly moreLeaving: boolean } {
  const moreLeaving = draft.changes().some((it) => it.kind === 'claim.put' && it.claim.state === 'leaving')
  return { waiting: runtimes.waiting().length > 0 || moreLeaving || world.leaving() > 0, moreLeaving }
}

/** Calls that give back the offers in hand: they could not be used. */
export function declineAll(calls: readonly SchedulerCall[]): readonly SchedulerCall[] {
  const offerIds = calls.flatMap((call) => (call.kind === 'accept' || call.kind === 'decline' ? call.offerIds : []))
  return offerIds.length === 0 ? [] : [{ kind: 'decline', offerIds, refuseMs: refuseShortMs }]
}
