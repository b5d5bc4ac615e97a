import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { fastify, type FastifyPluginAsync } from 'fastify'
import { AppError, errorMessage } from '../../base/errors.ts'
import { type Ip } from '../../base/ip.ts'
import { type HttpListen } from '../options.ts'
import { withoutRouterPrefix } from './admin-router.ts'

/** By which socket a request came: our own address, or one that leads to any of the masters. */
export type Socket = 'own' | 'published'

/** Answers one request. */
export type HttpHandler = (request: IncomingMessage, response: ServerResponse, socket: Socket) => void

/** The master's HTTP port. */
export interface HttpServer {
  /** `address:port` under which others reach it. */
  readonly advertised: string
  /** New requests are answered by this from now on. */
  serve(handler: HttpHandler): void
  /** Ends open streams too. */
  close(): Promise<void>
}

/** Room for a large application definition. */
const bodyLimit = 4 * 1024 * 1024

/** Idle connections stay longer than those of a load balancer in front do. Source: fastify, keepAliveTimeout. */
const keepAliveMs = 72_000

/**
 * Listens, and answers by whatever `serve` was given last; `first` until then. `underlay` is told where a socket listens on
 * all addresses.
 * @throws ERR_MASTER_LISTEN
 */
export async function openHttpServer(
  first: HttpHandler,
  listen: readonly HttpListen[],
  { underlay }: { readonly underlay: Ip },
): Promise<HttpServer> {
  let handler = first
  const servers = listen.map((one) => {
    const socket = one.kind === 'fd' ? 'published' : 'own'
    return { one, server: openServer((request, response) => handler(request, response, socket)) }
  })
  const close = async () => {
    await Promise.all(servers.map(({ server }) => closeServer(server)))
  }
  try {
    for (const { one, server } of servers) await startListening(server, one)
  } catch (cause) {
    await close()
    throw new AppError('ERR_MASTER_LISTEN', `cannot serve HTTP: ${errorMessage(cause)}`, { cause })
  }
  const own = servers.find(({ one }) => one.kind === 'address') ?? servers[0]
  return {
    advertised: own === undefined ? underlay : addressOf(own.server, underlay),
    serve: (next) => {
      handler = next
    },
    close,
  }
}

/** The plugins as one handler, each with its own error handling. `close` ends what they keep open. */
export async function openHttpApp(
  plugins: readonly FastifyPluginAsync[],
): Promise<{ readonly handler: RequestListener; close(): Promise<void> }> {
  const app = fastify({ bodyLimit, logger: false })
  app.setNotFoundHandler((request, reply) => {
    void reply.code(404).send({ message: `there is no ${request.method} ${request.url}` })
  })
  for (const plugin of plugins) await app.register(plugin)
  await app.ready()
  return { handler: (request, response) => app.routing(request, response), close: () => app.close() }
}

function openServer(listener: RequestListener): Server {
  const routed: RequestListener = (request, response) => {
    request.url = withoutRouterPrefix(request.url ?? '/')
    listener(request, response)
  }
  return createServer({ keepAliveTimeout: keepAliveMs, requestTimeout: 0 }, routed)
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve())) // also when it never listened
  server.closeAllConnections()
  await closed
}

async function startListening(server: Server, listen: HttpListen): Promise<void> {
  const listening = once(server, 'listening') // rejects on 'error'
  if (listen.kind === 'fd') server.listen({ fd: listen.fd })
  else server.listen({ host: listen.host, port: listen.port })
  await listening
}

function addressOf(server: Server, underlay: Ip): string {
  const bound = server.address()
  if (bound === null || typeof bound === 'string') return underlay
  const everywhere = bound.address === '0.0.0.0' || bound.address === '::'
  const host = everywhere ? underlay : bound.address
  return `${host.includes(':') ? `[${host}]` : host}:${bound.port}`
}
