import { type ServerResponse } from 'node:http'
import { type FastifyInstance } from 'fastify'
import { type ServiceEvent } from '../events.ts'
import { type ServicesApi } from '../services.ts'
import { readList } from './request.ts'

/** Octets that may wait for a subscriber who does not read; then it is dropped, and may come again. */
const maxPendingBytes = 1_048_576
/** marathon-lb gives up after 300 s without traffic. */
const heartbeatMs = 15_000

/** /v2/events: server-sent events, those of `event_type` only when given. */
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
    const end = serve(api, stream, types)
    over.addEventListener('abort', end, { once: true })
    stream.once('close', () => {
      over.removeEventListener('abort', end)
      end()
    })
    api.hub.emit('event_stream_attached', { remoteAddress: request.ip })
  })
}

function serve(api: ServicesApi, stream: ServerResponse, types: ReadonlySet<string>): () => void {
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
    if (types.size === 0 || types.has(event.type)) write(formatEvent(event))
  })
  const end = (): void => {
    unsubscribe()
    cancelHeartbeat()
    stream.destroy()
  }
  beat()
  return end
}

function formatEvent({ type, body }: ServiceEvent): string {
  return `event: ${type}\r\ndata: ${JSON.stringify(body)}\r\n\r\n`
}
