import { type IncomingMessage, type ServerResponse } from 'node:http'
import { type Clock } from '../../base/clock.ts'
import { AppError, errorMessage, hasCode } from '../../base/errors.ts'
import { type Socket } from '../http/server.ts'
import { type Candidate } from './candidate.ts'
import { forward, forwardedBy, readBody } from './forward.ts'
import { type Leaders } from './leaders.ts'
import { type Relay } from './relay.ts'
import { relayedView } from './views.ts'

/** What a standby's HTTP interface works with. */
export interface StandbyHttpOptions {
  readonly self: Candidate
  readonly leaders: Leaders
  readonly relay: Relay
  readonly clock: Clock
  /** Answers as the leader that we have become. */
  readonly answerOurselves: (request: IncomingMessage, response: ServerResponse, socket: Socket) => void
  /** How long a request waits for a leader, ms. */
  readonly holdMs?: number
}

/** Longer than a change of leader takes on a machine that has far more to do: a client notices nothing but the delay. */
const defaultHoldMs = 15_000

/** A request, and whether it came by the address that clients can not leave. */
interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly path: string
  readonly socket: Socket
  readonly signal: AbortSignal
}

/**
 * A standby's HTTP interface. What is asked of this process it answers itself; writes are redirected to the leader
 * (307, as Mesos does), reads are answered from the relayed snapshot or passed on. On the published socket, whose clients
 * can't reach the leader's address, everything is passed on. While nobody leads, requests wait, then get 503.
 */
export function standbyHttp(options: StandbyHttpOptions) {
  return (request: IncomingMessage, response: ServerResponse, socket: Socket): void => {
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    const path = pathOf(request.url)
    answer(options, { request, response, path, socket, signal: gone.signal }).catch((error: unknown) => {
      if (gone.signal.aborted) return
      send(response, statusOf(error), { message: errorMessage(error), code: Reflect.get(Object(error), 'code') })
    })
  }
}

async function answer(options: StandbyHttpOptions, exchange: Exchange): Promise<void> {
  const { leaders, relay, self } = options
  const { request, response, path, socket } = exchange
  const own = ownAnswer(options, path)
  if (own !== undefined) return send(response, 200, own)
  if (request.headers[forwardedBy] !== undefined) {
    const text = `${self.nodeName} does not lead (any more): try again`
    throw new AppError('ERR_MASTER_STANDBY', text)
  }
  const isRead = request.method === 'GET' || request.method === 'HEAD'
  if (path === '/redirect' || (!isRead && socket === 'own')) return redirect(options, exchange)
  const isLocal = isRead && (socket === 'own' || leaders.serving() === undefined)
  const view = isLocal && relay.view().version > 0 ? relayedView(path, relay.view()) : undefined
  if (view !== undefined) return send(response, 200, view, { 'weft-snapshot-version': String(relay.view().version) })
  await passOn(options, exchange)
}

function ownAnswer(options: StandbyHttpOptions, path: string): unknown {
  const { self, leaders, relay } = options
  switch (path) {
    case '/health':
      return { healthy: true }
    case '/version':
      return { version: self.version, name: 'weft', node: process.version }
    case '/leader':
      return { leader: leaders.serving()?.nodeName ?? leaders.named()?.nodeName, term: relay.term() }
    case '/metrics':
      return standbyMetrics(options)
    default:
      return undefined
  }
}

/** `Location` without a scheme, as Mesos has it: whoever came by TLS goes on by TLS. */
async function redirect(options: StandbyHttpOptions, { request, response, signal, ...rest }: Exchange): Promise<void> {
  const leader = await find(options, signal)
  if (leader.id === options.self.id) return options.answerOurselves(request, response, rest.socket)
  const url = rest.path === '/redirect' ? '/' : request.url
  response.writeHead(307, { location: `//${leader.http}${url}`, 'content-length': 0 }).end()
}

/** @throws ERR_MASTER_NO_LEADER when nobody leads for as long as a request waits; AbortError */
async function find({ leaders, holdMs }: StandbyHttpOptions, signal: AbortSignal): Promise<Candidate> {
  const leader = await leaders.wait({ timeoutMs: holdMs ?? defaultHoldMs, signal })
  if (leader !== undefined) return leader
  throw new AppError('ERR_MASTER_NO_LEADER', 'no master leads now: try again in a moment')
}

/** What may be sent a second time. Source: RFC 9110 section 9.2.2. */
const idempotentMethods = ['GET', 'HEAD', 'PUT', 'DELETE'] as const

/** A request that the leader can't have got, or that may be repeated, is tried again with the next leader. */
async function passOn(options: StandbyHttpOptions, exchange: Exchange): Promise<void> {
  const { request, response, socket, signal } = exchange
  const { clock, holdMs = defaultHoldMs, self } = options
  const deadlineMs = clock.monotonicMs() + holdMs
  let leader = await find(options, signal)
  if (leader.id === self.id) return options.answerOurselves(request, response, socket)
  const body = await readBody(request)
  for (;;) {
    try {
      return await forward({ request, body, response, to: leader.http, by: self.nodeName })
    } catch (error) {
      const sent = error instanceof AppError && error.details['sent'] === true
      const isSafe = !sent || idempotentMethods.some((method) => method === request.method)
      if (!isSafe || clock.monotonicMs() > deadlineMs) throw error
    }
    await clock.sleep(50, { signal }) // the store's word may be late: the dead leader is named until its lease is over
    leader = await find(options, signal)
  }
}

function statusOf(error: unknown): number {
  if (hasCode(error, 'ERR_MASTER_BODY')) return 413
  if (hasCode(error, 'ERR_MASTER_FORWARD')) return 502
  return 503
}

function send(response: ServerResponse, status: number, body: unknown, headers: Readonly<Record<string, string>> = {}) {
  if (response.headersSent) return void response.destroy()
  const isText = typeof body === 'string'
  const type = isText ? 'text/plain; version=0.0.4; charset=utf-8' : 'application/json; charset=utf-8'
  response.writeHead(status, { 'content-type': type, ...(status === 503 ? { 'retry-after': '1' } : {}), ...headers })
  response.end(isText ? body : JSON.stringify(body))
}

function pathOf(url = '/'): string {
  const end = url.indexOf('?')
  return end < 0 ? url : url.slice(0, end)
}

/** The metrics of a standby, in the text format of Prometheus. */
function standbyMetrics({ leaders, relay }: StandbyHttpOptions): string {
  const view = relay.view()
  return [
    metric('master_leading', 0, 'whether this master leads'),
    metric('master_term', relay.term(), 'term of the leader that is followed'),
    metric('master_snapshot_version', view.version, 'relayed version'),
    metric('master_snapshot_subscribers', relay.feed.subscribers(), 'node daemons that follow here'),
    metric('master_follows_leader', Number(leaders.serving() !== undefined), 'whether the leader is reached'),
    metric('master_memory_bytes', process.memoryUsage.rss(), 'resident memory of the process'),
  ].join('')
}

function metric(name: string, value: number, help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${name} ${value}\n`
}
