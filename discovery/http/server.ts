import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { type Ip } from '../../core/base/ip.ts'
import { type Logger } from '../../core/base/log.ts'
import { type AsyncRoute, type Reply } from './reply.ts'

/** A running HTTP interface. */
export interface HttpServer {
  readonly port: number
  close(): Promise<void>
}

/** Longest that a client may take for its request, and be idle. */
const requestTimeoutMs = 5_000

/**
 * Answers GET requests by `route`. Node's own server: the node daemon has no memory for more.
 * @throws ERR_DNS_HTTP_LISTEN when it can't be bound
 */
export async function openHttpServer(options: {
  readonly address: Ip
  /** 0: any free one. */
  readonly port: number
  readonly route: AsyncRoute
  readonly log: Logger
}): Promise<HttpServer> {
  const { address, port, route, log } = options
  const server = createServer(
    { requestTimeout: requestTimeoutMs, keepAliveTimeout: requestTimeoutMs },
    (request, to) => {
      void respond(request, to, { route, log }).catch((error: unknown) => {
        log.debug({ error: errorMessage(error) }, 'a client of the names API left')
      })
    },
  )
  const listening = once(server, 'listening')
  server.listen({ host: address, port, exclusive: true })
  try {
    await listening
  } catch (cause) {
    const where = `${address} port ${port}`
    throw new AppError('ERR_DNS_HTTP_LISTEN', `can't serve HTTP on ${where}: ${errorMessage(cause)}`, { cause })
  }
  const bound = server.address()
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : port,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

interface Answering {
  readonly route: AsyncRoute
  readonly log: Logger
}

async function respond(request: IncomingMessage, to: ServerResponse, answering: Answering): Promise<void> {
  await send(request, to, await answer(request, answering))
}

async function answer({ method, url = '/', headers }: IncomingMessage, { route, log }: Answering): Promise<Reply> {
  if (method !== 'GET' && method !== 'HEAD') {
    return { status: 405, body: 'only GET is answered\n', headers: { allow: 'GET, HEAD' } }
  }
  try {
    const { pathname, searchParams } = new URL(url, 'http://localhost')
    const path = pathname.split('/').slice(1).map(decodeURIComponent)
    const reply = await route({ path, query: searchParams, header: (name) => firstOf(headers[name]) })
    return reply ?? { status: 404, body: 'no such path\n' }
  } catch (error) {
    if (error instanceof URIError || error instanceof TypeError) return { status: 400, body: 'malformed path\n' }
    if (error instanceof AppError) return { status: 400, body: `${error.message}\n` }
    log.warn({ url, error: errorMessage(error) }, 'a request to the names API failed')
    return { status: 500, body: 'internal error\n' }
  }
}

function firstOf(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : value?.[0]
}

async function send(request: IncomingMessage, to: ServerResponse, reply: Reply): Promise<void> {
  to.writeHead(reply.status, { 'content-type': reply.type ?? 'text/plain; charset=utf-8', ...reply.headers })
  if (request.method === 'HEAD' || reply.status === 304) to.end()
  else if (typeof reply.body === 'string') to.end(reply.body)
  else await pipeline(Readable.from(reply.body, { objectMode: false, highWaterMark: 1 << 16 }), to)
}
