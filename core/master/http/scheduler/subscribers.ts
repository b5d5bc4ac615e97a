import { defaultAgentPort } from '../state/format-agent.ts'
import { type ServerResponse } from 'node:http'
import { type Ip, parseIp } from '../../../base/ip.ts'
import { type AgentId, type FrameworkId } from '../../../model/ids.ts'
import {
  type FrameworkInfo,
  type SchedulerConnection,
  type SchedulerDriver,
  type SchedulerEvent,
} from '../../../model/scheduler.ts'
import { type MasterContext } from '../../context.ts'
import { updateProblem } from '../../frameworks/update.ts'
import { type EventFor, formatEvent } from './format-event.ts'
import { formatMasterInfo } from './master-info.ts'
import { type Refusal } from '../../../api/mesos/media.ts'
import { type SchedulerRequest } from './parse-call.ts'
import { openRecordStream, type RecordStream } from '../../../api/mesos/record-stream.ts'

/** What the scheduler API needs beside the master. */
export interface SchedulerRoutesOptions {
  readonly context: MasterContext
  readonly driver: SchedulerDriver
  readonly version: string
  /** `address:port` under which frameworks reach this master. */
  readonly advertised: () => string
  /** A new UUID. */
  readonly newId: () => string
  /** Octets that may wait for one subscriber; 16 MiB when absent. */
  readonly maxQueuedBytes?: number
}

/** Frameworks that are subscribed over HTTP, each with the stream that counts. */
export interface Subscribers {
  subscribe(response: ServerResponse, request: Extract<SchedulerRequest, { readonly kind: 'subscribe' }>): void
  /** Who a call comes from, or Mesos's answer to one that comes from nobody. */
  find(
    frameworkId: FrameworkId,
    streamId: string | undefined,
  ): { readonly kind: 'found'; readonly connection: SchedulerConnection } | ({ readonly kind: 'refused' } & Refusal)
  /** Why the framework can't become this one. */
  updateProblem(frameworkId: FrameworkId, info: FrameworkInfo): string | undefined
}

interface Subscription {
  readonly streamId: string
  readonly connection: SchedulerConnection
}

/** Opens it with no subscriber. */
export function openSubscribers(options: SchedulerRoutesOptions): Subscribers {
  const current = new Map<FrameworkId, Subscription>()
  return {
    subscribe: (response, request) => subscribe({ options, current }, response, request),
    find: (frameworkId, streamId) => {
      const framework = options.context.frameworks.get(frameworkId)
      if (framework === undefined || framework.state === 'removed') return refused(400, 'Framework cannot be found')
      if (framework.state !== 'connected') return refused(403, 'Framework is not subscribed')
      const subscription = current.get(frameworkId)
      if (subscription === undefined) return refused(403, 'Framework is not connected via HTTP')
      if (streamId === undefined) {
        return refused(400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header")
      }
      if (streamId === subscription.streamId) return { kind: 'found', connection: subscription.connection }
      const text = `The stream ID '${streamId}' included in this request didn't match the stream ID currently associated`
      return refused(400, `${text} with framework ID ${frameworkId}`)
    },
    updateProblem: (frameworkId, info) => {
      const framework = options.context.frameworks.get(frameworkId)
      return framework && updateProblem(framework.info, info)
    },
  }
}

function refused(status: number, text: string): { readonly kind: 'refused' } & Refusal {
  return { kind: 'refused', status, text }
}

interface State {
  readonly options: SchedulerRoutesOptions
  readonly current: Map<FrameworkId, Subscription>
}

function subscribe(
  state: State,
  response: ServerResponse,
  { framework, suppressed, problem }: Extract<SchedulerRequest, { readonly kind: 'subscribe' }>,
): void {
  const { context, driver, newId, maxQueuedBytes: maxQueued } = state.options
  const streamId = newId()
  let frameworkId = framework.id
  let connection: SchedulerConnection | undefined
  const onClose = (why: 'closed' | 'too-slow') => {
    if (why === 'too-slow') context.log.warn({ frameworkId }, 'framework reads too slowly, its subscription was ended')
    if (frameworkId && state.current.get(frameworkId)?.streamId === streamId) state.current.delete(frameworkId)
    connection?.close()
  }
  const { clock } = context
  const stream = openRecordStream(
    response,
    { 'Mesos-Stream-Id': streamId },
    { clock, onClose, ...(maxQueued && { maxQueued }) },
  )
  if (problem !== undefined) {
    end(stream, problem)
    return
  }
  const about = eventFor(state.options)
  const onEvent = (event: SchedulerEvent) => {
    if (event.kind === 'subscribed' && connection !== undefined) {
      frameworkId = event.frameworkId
      state.current.set(frameworkId, { streamId, connection })
    }
    const now = frameworkId && context.frameworks.get(frameworkId)?.info
    stream.send(formatEvent(event, { ...about, capabilities: (now ?? framework).capabilities }))
  }
  connection = driver.subscribe(framework, onEvent, {
    suppressed,
    ...clientOf(response),
    onEnd: () => stream.end(),
  })
}

/** IPv4 clients of an IPv6 socket come as `::ffff:a.b.c.d`. RFC 4291 §2.5.5.2. */
function clientOf({ socket }: ServerResponse): { readonly from?: Ip } {
  const text = socket?.remoteAddress?.replace(/^::ffff:(?=\d+\.)/, '').replace(/%.*/, '')
  return text === undefined ? {} : { from: parseIp(text) }
}

function end(stream: RecordStream, message: string): void {
  stream.send({ type: 'ERROR', error: { message } })
  stream.end()
}

function eventFor({ context, version, advertised }: SchedulerRoutesOptions): Omit<EventFor, 'capabilities'> {
  const { ids, self, agents } = context
  const facts = { id: ids.masterId, hostname: self, version, advertised: advertised() }
  const addressOf = (agentId: AgentId) => {
    const record = agents.get(agentId)?.record
    return record && { ip: record.underlay, port: record.httpPort ?? defaultAgentPort }
  }
  return { masterInfo: formatMasterInfo(facts), addressOf }
}
