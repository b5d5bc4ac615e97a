import { type ServerResponse } from 'node:http'
import { type FastifyInstance } from 'fastify'
import { type ServiceEvent } from '../events.ts'
import { isObject } from '../../scheduling/json.ts'
import { type ServicesApi } from '../services.ts'
import { readList, readTexts } from './request.ts'

/** Octets that may wait for a subscriber who does not read; then it is dropped, and may come again. */
const maxPendingBytes = 1_048_576
/** marathon-lb gives up after 300 s without traffic. */
const heartbeatMs = 15_000

/** /v2/events: server-sent events, those of `event_type` only when given; with `plan-format=light` short plans. */
export function eventRoutes(
  app: FastifyInstance,
  api: ServicesApi,
  { signal }: { readonly signal: AbortSignal },
): void {
  const closing = new AbortController()
  const over = AbortSignal.any([signal, closing.signal])
  // A server waits for its connections before it is closed: these would never end.
  app.addHook('preClose', async () => closing.abort())
  app.get('/v2/events', (request, reply) => {
    const types = new Set(readList(request.query, 'event_type'))
    reply.hijack()
    const stream = reply.raw
    stream.writeHead(200, {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-cache',
      Connection: 'keep-alive',
    })
    stream.flushHeaders()
    const format = readTexts(request.query, 'plan-format').includes('light') ? formatLight : formatEvent
    const end = serve(api, stream, { types, format })
    over.addEventListener('abort', end, { once: true })
    stream.once('close', () => {
      over.removeEventListener('abort', end)
      end()
      api.hub.emit('event_stream_detached', { remoteAddress: request.ip })
    })
    api.hub.emit('event_stream_attached', { remoteAddress: request.ip })
  })
}

/** What a subscriber wants, and how. */
interface Subscription {
  readonly types: ReadonlySet<string>
  readonly format: (event: ServiceEvent) => string
}

function serve(api: ServicesApi, stream: ServerResponse, { types, format }: Subscription): () => void {
  let cancelHeartbeat: () => void = () => undefined
  const write = (text: string): void => {
    if (stream.writableLength > maxPendingBytes) end()
    else stream.write(text)
  }
  const beat = (): void => {
    cancelHeartbeat = api.clock.after(heartbeatMs, () => {
      write('\r\n')
      beat()
    })
  }
  const unsubscribe = api.hub.subscribe((event) => {
    if (types.size === 0 || types.has(event.type)) write(format(event))
  })
  const end = (): void => {
    unsubscribe()
    cancelHeartbeat()
    stream.destroy()
  }
  beat()
  return end
}

/** Plans without what they start from and lead to: those can be as large as all apps together. */
function formatLight({ type, body }: ServiceEvent): string {
  const { plan } = body
  if (!isObject(plan)) return formatEvent({ type, body })
  const { original, target, steps, ...light } = plan
  return formatEvent({ type, body: { ...body, plan: light } })
}

function formatEvent({ type, body }: ServiceEvent): string {
  return `event: ${type}\r\ndata: ${JSON.stringify(body)}\r\n\r\n`
}
