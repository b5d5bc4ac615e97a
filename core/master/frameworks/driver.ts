import { errorMessage } from '../../base/errors.ts'
import {
  type FrameworkInfo,
  type SchedulerCall,
  type SchedulerConnection,
  type SchedulerDriver,
  type SchedulerEvent,
} from '../../model/scheduler.ts'
import { type FrameworkEntry, type MasterContext } from '../context.ts'
import { forward } from '../tasks/tasks.ts'
import { handleCall } from './calls.ts'
import { decideFramework, disconnectFramework, enterFramework } from './lifecycle.ts'

/** A subscription's own state. */
interface Connection {
  readonly emit: (event: SchedulerEvent) => void
  /** Undefined until `subscribed` was sent: calls wait in `early`. */
  framework: FrameworkEntry | undefined
  early: SchedulerCall[]
  closed: boolean
}

/** The master's driver for schedulers in its own process. */
export function openDriver(context: MasterContext): SchedulerDriver {
  return { subscribe: (info, onEvent) => subscribe(context, info, onEvent) }
}

function subscribe(
  context: MasterContext,
  info: FrameworkInfo,
  onEvent: (event: SchedulerEvent) => void,
): SchedulerConnection {
  const connection: Connection = {
    // In a microtask: an event never interrupts the call that caused it, and events keep their order.
    emit: (event) => queueMicrotask(() => (connection.closed ? undefined : onEvent(event))),
    framework: undefined,
    early: [],
    closed: false,
  }
  void admit(context, info, connection)
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
    return
  }
  try {
    await context.registrar.apply(decideFramework({ id, info: { ...info, id }, removed: false }))
  } catch (error) {
    context.counters.storeFailures++
    connection.emit({ kind: 'error', message: `the framework could not be registered: ${errorMessage(error)}` })
    return
  }
  if (connection.closed) return
  const entry = context.frameworks.get(id) ?? enterFramework(context, id, info)
  entry.deliver?.({ kind: 'error', message: 'Framework failed over' })
  entry.cancelFailover()
  context.offers.dropOfFramework(id)
  entry.info = { ...info, id }
  entry.state = 'connected'
  entry.deliver = connection.emit
  connection.framework = entry
  context.allocator.addFramework(id, info.roles)
  connection.emit({ kind: 'subscribed', frameworkId: id })
  for (const task of context.tasks.ofFramework(id)) {
    if (task.unacknowledged !== undefined) forward(context, id, task.unacknowledged, task.info.agentId)
  }
  context.log.info({ frameworkId: id, framework: info.name }, 'framework subscribed')
  context.offers.schedule()
  for (const call of connection.early.splice(0)) handleCall(context, entry, call)
}
