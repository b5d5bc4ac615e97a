import { errorMessage } from '../../base/errors.ts'
import { type Ip } from '../../base/ip.ts'
import {
  type FrameworkInfo,
  type SchedulerCall,
  type SchedulerConnection,
  type SchedulerDriver,
  type SchedulerEvent,
  type SubscribeOptions,
} from '../../model/scheduler.ts'
import { type FrameworkEntry, type MasterContext } from '../context.ts'
import { forward } from '../tasks/tasks.ts'
import { handleCall } from './calls.ts'
import { decideFramework, disconnectFramework, enterFramework } from './lifecycle.ts'
import { publishPlace } from './place.ts'
import { offerInRoles } from './roles.ts'

/** A subscription's own state. */
interface Connection {
  readonly emit: (event: SchedulerEvent) => void
  readonly end: () => void
  readonly suppressed: readonly string[]
  readonly from: Ip | undefined
  readonly movesWithinMs: number | undefined
  /** Undefined until `subscribed` was sent: calls wait in `early`. */
  framework: FrameworkEntry | undefined
  early: SchedulerCall[]
  closed: boolean
}

/** The master's driver: for schedulers in its own process, and for those that come over HTTP. */
export function openDriver(context: MasterContext): SchedulerDriver {
  return {
    subscribe: (info, onEvent, options) => {
      const connection = openConnection(onEvent, options)
      void admit(context, info, connection)
      return callsOf(context, connection)
    },
  }
}

function openConnection(onEvent: (event: SchedulerEvent) => void, options: SubscribeOptions = {}): Connection {
  const connection: Connection = {
    // In a microtask: an event never interrupts the call that caused it, and events keep their order.
    emit: (event) => queueMicrotask(() => (connection.closed ? undefined : onEvent(event))),
    end: () =>
      queueMicrotask(() => {
        if (connection.closed) return
        connection.closed = true
        options.onEnd?.()
      }),
    suppressed: options.suppressed ?? [],
    from: options.from,
    movesWithinMs: options.movesWithinMs,
    framework: undefined,
    early: [],
    closed: false,
  }
  return connection
}

function callsOf(context: MasterContext, connection: Connection): SchedulerConnection {
  const call = (request: SchedulerCall) => {
    if (connection.closed) return
    if (connection.framework === undefined) connection.early.push(request)
    else if (connection.framework.deliver === connection.emit) handleCall(context, connection.framework, request)
  }
  const close = () => {
    connection.closed = true
    const { framework } = connection
    if (framework?.deliver === connection.emit) disconnectFramework(context, framework)
  }
  return { call, close }
}

/** Registers the framework, durably, then lets it in. */
async function admit(context: MasterContext, info: FrameworkInfo, connection: Connection): Promise<void> {
  const id = info.id ?? context.ids.nextFramework()
  if (context.frameworks.get(id)?.state === 'removed') {
    connection.emit({ kind: 'error', message: 'Framework has been removed' })
    connection.end()
    return
  }
  try {
    await context.registrar.apply(decideFramework({ id, info: { ...info, id }, removed: false }))
  } catch (error) {
    context.counters.storeFailures++
    connection.emit({ kind: 'error', message: `the framework could not be registered: ${errorMessage(error)}` })
    connection.end()
    return
  }
  if (connection.closed) return
  const known = context.frameworks.get(id)
  const isNew = known === undefined
  enter(context, known ?? enterFramework(context, id, info), { info: { ...info, id }, connection, isNew })
}

interface Admitted {
  readonly info: FrameworkInfo
  readonly connection: Connection
  readonly isNew: boolean
}

function enter(context: MasterContext, entry: FrameworkEntry, { info, connection, isNew }: Admitted): void {
  const { id } = entry
  entry.deliver?.({ kind: 'error', message: 'Framework failed over' })
  entry.end?.()
  entry.cancelFailover()
  context.offers.dropOfFramework(id)
  entry.info = info
  entry.state = 'connected'
  entry.deliver = connection.emit
  entry.end = connection.end
  entry.from = connection.from
  entry.movesWithinMs = connection.movesWithinMs
  publishPlace(context, entry)
  connection.framework = entry
  offerInRoles(context, entry, connection.suppressed)
  connection.emit({ kind: 'subscribed', frameworkId: id })
  for (const task of context.tasks.ofFramework(id)) {
    if (task.unacknowledged !== undefined) forward(context, id, task.unacknowledged, task.info.agentId)
  }
  context.changes.tell({ kind: 'framework', frameworkId: id, what: isNew ? 'added' : 'updated' })
  context.log.info({ frameworkId: id, framework: info.name }, 'framework subscribed')
  context.offers.schedule()
  for (const call of connection.early.splice(0)) handleCall(context, entry, call)
}
