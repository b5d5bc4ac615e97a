import { errorMessage } from '../../base/errors.ts'
import { type FrameworkId } from '../../model/ids.ts'
import { type FrameworkInfo } from '../../model/scheduler.ts'
import { type FrameworkEntry, type MasterContext } from '../context.ts'
import { type Decide, type FrameworkRecord } from '../registry/state.ts'
import { killTask } from '../tasks/tasks.ts'
import { shutdownExecutors } from './executors.ts'
import { publishPlace } from './place.ts'
import { offerInRoles } from './roles.ts'

/** A framework of which no end is known gets this long to come back to a new master, whatever its failover timeout. */
const recoveryGraceMs = 60_000
const day = 24 * 3_600_000

/** Writes a framework's record. */
export function decideFramework(record: FrameworkRecord): Decide {
  return () => ({ frameworks: new Map([[record.id, record]]) })
}

/** Enters a framework that an earlier master knew; it has until its deadline to come back. */
export function recoverFramework(context: MasterContext, record: FrameworkRecord): void {
  const { id, info, disconnectedAtMs, removed } = record
  const entry = enterFramework(context, id, info)
  if (removed) {
    entry.state = 'removed'
    return
  }
  publishPlace(context, entry)
  const goneForMs = disconnectedAtMs === undefined ? 0 : context.clock.nowMs() - disconnectedAtMs
  // It was connected when the master went: its time runs from now on, over any number of masters.
  if (disconnectedAtMs === undefined) save(context, { ...record, disconnectedAtMs: context.clock.nowMs() })
  awaitReturn(context, entry, Math.max(info.failoverTimeoutMs - goneForMs, recoveryGraceMs))
}

/** Enters a framework that is not connected (yet). */
export function enterFramework(context: MasterContext, id: FrameworkId, info: FrameworkInfo): FrameworkEntry {
  const entry: FrameworkEntry = {
    id,
    info,
    state: 'recovered',
    deliver: undefined,
    end: undefined,
    suppressed: new Set(),
    cancelFailover: () => undefined,
    unanswered: new Map(),
  }
  context.frameworks.set(id, entry)
  context.allocator.addFramework(id, info.roles)
  context.allocator.setFrameworkActive(id, 'inactive')
  return entry
}

/** A framework that only its tasks tell of: the registry that had it is lost. It may subscribe with its id. */
export function frameworkOfTask(context: MasterContext, id: FrameworkId): FrameworkEntry {
  const known = context.frameworks.get(id)
  if (known !== undefined) return known
  const info = { name: id, user: '', roles: ['*'], failoverTimeoutMs: day, capabilities: [], hostname: '' }
  return enterFramework(context, id, info)
}

/** The subscription ended: its offers go, its tasks stay until its failover timeout is over. */
export function disconnectFramework(context: MasterContext, entry: FrameworkEntry): void {
  if (entry.state !== 'connected') return
  entry.state = 'disconnected'
  entry.deliver = undefined
  entry.end = undefined
  context.allocator.setFrameworkActive(entry.id, 'inactive')
  context.offers.dropOfFramework(entry.id)
  const { id, info } = entry
  save(context, { id, info, disconnectedAtMs: context.clock.nowMs(), removed: false })
  context.changes.tell({ kind: 'framework', frameworkId: id, what: 'updated' })
  awaitReturn(context, entry, info.failoverTimeoutMs)
}

/** Ends a framework for good: its id is refused from now on, its tasks are killed. */
export function teardown(context: MasterContext, entry: FrameworkEntry): void {
  entry.cancelFailover()
  entry.state = 'removed'
  publishPlace(context, entry)
  entry.deliver = undefined
  entry.end?.()
  entry.end = undefined
  const { id, info } = entry
  context.offers.dropOfFramework(id)
  offerInRoles(context, entry, [])
  context.allocator.removeFramework(id)
  save(context, { id, info, removed: true })
  for (const task of context.tasks.ofFramework(id)) killTask(context, task, task.info.killGraceMs)
  shutdownExecutors(context, entry)
  context.changes.tell({ kind: 'framework', frameworkId: id, what: 'removed' })
  context.log.info({ frameworkId: id, framework: info.name }, 'framework removed')
}

function awaitReturn(context: MasterContext, entry: FrameworkEntry, timeoutMs: number): void {
  // setTimeout holds 31 bits (24 days); a longer wait goes on afterwards.
  const stepMs = Math.min(timeoutMs, 20 * day)
  entry.cancelFailover = context.clock.after(stepMs, () => {
    if (timeoutMs > stepMs) awaitReturn(context, entry, timeoutMs - stepMs)
    else teardown(context, entry)
  })
}

/** Losing this write loses no task: at worst the next master waits for the framework a little longer. */
function save({ registrar, log, counters }: MasterContext, record: FrameworkRecord): void {
  registrar.apply(decideFramework(record)).catch((error: unknown) => {
    counters.storeFailures++
    log.warn({ frameworkId: record.id, reason: errorMessage(error) }, 'framework could not be written to the registry')
  })
}
