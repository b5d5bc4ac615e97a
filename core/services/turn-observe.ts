import { type Clock } from '../base/clock.ts'
import { type Logger } from '../base/log.ts'
import { type AgentId, type OfferId, type TaskId } from '../model/ids.ts'
import { type Offer, type SchedulerCall, type SchedulerEvent } from '../model/scheduler.ts'
import { type TaskStatus } from '../model/task.ts'
import { backoffAfterFailure } from './backoff.ts'
import { type EventHub } from './events.ts'
import { type AppId } from './ids.ts'
import { type Instance, tasksOf } from './instance.ts'
import { type Observed, observeStatus } from './observe.ts'
import { instanceEvents } from './present-instance.ts'
import { statusEvent } from './present.ts'
import { frameworkKey } from './records.ts'
import { type Runtimes } from './runtime.ts'
import { type Change, type World, writeOf } from './world.ts'

/** All that a scheduler remembers between turns. */
export interface Memory {
  readonly world: World
  readonly runtimes: Runtimes
  readonly hub: EventHub
  readonly clock: Clock
  readonly log: Logger
  /** Observed, but not written yet: key to value. */
  readonly dirty: Map<string, string | undefined>
  /** Apps that wait until every node has a version of the snapshot. */
  readonly unconverged: Map<AppId, number>
  /** Apps to plan in the next turn. */
  readonly touched: Set<AppId>
  readonly offers: Map<OfferId, Offer>
  readonly hostnames: Map<AgentId, string>
  /** Calls to make when `dirty` is written. */
  readonly owed: SchedulerCall[]
}

/** What the events of a turn ask of the subscription. */
export interface Heard {
  readonly subscribed: boolean
  readonly error?: string
}

/** Takes events into memory, in order. What they change of the records is dirty until the turn's write. */
export function observeEvents(memory: Memory, events: readonly SchedulerEvent[]): Heard {
  let heard: Heard = { subscribed: false }
  for (const event of events) {
    switch (event.kind) {
      case 'subscribed':
        memory.dirty.set(frameworkKey, event.frameworkId)
        heard = { subscribed: true }
        break
      case 'offers':
        for (const offer of event.offers) rememberOffer(memory, offer)
        break
      case 'rescind':
        memory.offers.delete(event.offerId)
        break
      case 'update':
        observeUpdate(memory, event.status, event.agentId)
        break
      case 'failure':
        // The fate of its tasks comes as an update for each.
        for (const [id, offer] of memory.offers) if (offer.agentId === event.agentId) memory.offers.delete(id)
        break
      case 'error':
        heard = { subscribed: false, error: event.message }
        break
    }
  }
  return heard
}

function rememberOffer({ offers, hostnames }: Memory, offer: Offer): void {
  offers.set(offer.id, offer)
  hostnames.set(offer.agentId, offer.hostname)
}

function observeUpdate(memory: Memory, status: TaskStatus, agentId: AgentId | undefined): void {
  const hostname = agentId === undefined ? undefined : memory.hostnames.get(agentId)
  const nowMs = memory.clock.monotonicMs()
  const observed = observeStatus(memory.world, { status, agentId, hostname, nowMs })
  applyObserved(memory, observed, status)
  if (agentId !== undefined && status.uuid !== undefined) {
    memory.owed.push({ kind: 'acknowledge', agentId, taskId: status.taskId, uuid: status.uuid })
  }
}

function applyObserved(memory: Memory, observed: Observed, status: TaskStatus): void {
  switch (observed.kind) {
    case 'ignored':
      return
    case 'orphan':
      memory.log.info({ taskId: status.taskId, app: observed.app }, 'stopping a task whose app is gone')
      memory.owed.push({ kind: 'kill', taskId: status.taskId })
      return
    case 'adopted':
      memory.log.warn({ taskId: status.taskId, state: status.state }, 'taking on a task that no record knows')
      change(memory, { kind: 'instance.put', instance: observed.after })
      break
    case 'stepped':
      if (observed.after === observed.before) return
      // Nothing of it is in the record: what a task does is asked of the master after a restart.
      memory.world.apply({ kind: 'instance.put', instance: observed.after })
      break
    case 'ended':
      change(memory, { kind: 'instance.remove', instance: observed.before })
      dropClaim(memory, observed.before, status)
      noteFailure(memory, observed, status)
  }
  memory.touched.add(observed.after.appId)
  memory.hub.emit('status_update_event', statusEvent(observed.after, status))
  const before = observed.kind === 'adopted' ? undefined : observed.before
  for (const { type, fields } of instanceEvents(before, observed.after)) memory.hub.emit(type, fields)
}

/** What a node had that is gone for good is gone with it. */
function dropClaim(memory: Memory, { appId, claim: id }: Instance, { state, reason }: TaskStatus): void {
  // The agent is there, and never heard of the task: what is reserved on it stays.
  if (state === 'TASK_GONE' && reason === 'REASON_RECONCILIATION') return
  if (id === undefined || (state !== 'TASK_GONE' && state !== 'TASK_GONE_BY_OPERATOR')) return
  const claim = memory.world.claimsOf(appId).find((one) => one.id === id)
  if (claim !== undefined) change(memory, { kind: 'claim.remove', claim })
}

function change({ world, dirty }: Memory, what: Change): void {
  const { key, value } = writeOf(what)
  dirty.set(key, value)
  world.apply(what)
}

function noteFailure(memory: Memory, observed: Observed & { readonly kind: 'ended' }, status: TaskStatus): void {
  const { runtimes, world, clock, log } = memory
  const { before, after, failure } = observed
  if (failure === undefined) return
  runtimes.set(before.appId, { lastFailure: failure })
  const { taskId, state } = status
  log.info({ taskId, state, reason: status.reason, message: status.message }, 'an instance ended unasked')
  const record = world.app(before.appId)
  const isApps = after.phase.kind === 'ended' && after.phase.outcome === 'failed'
  if (record === undefined || !isApps || before.configVersion !== record.configVersion) return
  const nowMs = clock.monotonicMs()
  const { backoff } = runtimes.get(before.appId)
  const ran = { ranMs: ranMs(before, nowMs), nowMs }
  runtimes.set(before.appId, { backoff: backoffAfterFailure(backoff, record.definition, ran) })
}

function ranMs({ phase }: Instance, nowMs: number): number {
  return phase.kind === 'running' ? nowMs - phase.sinceMs : 0
}

/**
 * Calls that ask the master for the state of every instance, and for tasks that are not known here. Agents are named: so a
 * task that an earlier leader wrote down and never launched is told to be gone as soon as its agent is there.
 */
export function reconcileCalls(world: World): readonly SchedulerCall[] {
  const agentOf = new Map<TaskId, AgentId>()
  for (const { definition } of world.apps())
    for (const one of world.instancesOf(definition.id)) for (const id of tasksOf(one)) agentOf.set(id, one.agentId)
  const taskIds = [...agentOf.keys()]
  const known: readonly SchedulerCall[] = taskIds.length === 0 ? [] : [{ kind: 'reconcile', taskIds, agentOf }]
  return [...known, { kind: 'reconcile', taskIds: [] }]
}
