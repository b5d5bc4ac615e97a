import { once } from 'node:events'
import { fastify, type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import { AppError, errorMessage } from '../../base/errors.ts'
import { type Ip } from '../../base/ip.ts'
import { type HttpListen } from '../options.ts'

/** The master's HTTP port. */
export interface HttpServer {
  /** `address:port` under which others reach it. */
  readonly advertised: string
  /** Ends open streams too. */
  close(): Promise<void>
}

/** Room for a large application definition. */
const bodyLimit = 4 * 1024 * 1024

/**
 * Serves the plugins, each with its own error handling. `underlay` is told where the socket listens on all addresses.
 * @throws ERR_MASTER_LISTEN
 */
export async function openHttpServer(
  listen: HttpListen,
  underlay: Ip,
  plugins: readonly FastifyPluginAsync[],
): Promise<HttpServer> {
  const app = fastify({ bodyLimit, forceCloseConnections: true, logger: false })
  app.setNotFoundHandler((request, reply) => {
    void reply.code(404).send({ message: `there is no ${request.method} ${request.url}` })
  })
  for (const plugin of plugins) await app.register(plugin)
  await app.ready()
  try {
    await startListening(app, listen)
  } catch (cause) {
    await app.close()
    throw new AppError('ERR_MASTER_LISTEN', `cannot serve HTTP: ${errorMessage(cause)}`, { cause })
  }
  return { advertised: addressOf(app, underlay), close: () => app.close() }
}

async function startListening({ server }: FastifyInstance, listen: HttpListen): Promise<void> {
  const listening = once(server, 'listening') // rejects on 'error'
  if (listen.kind === 'fd') server.listen({ fd: listen.fd })
  else server.listen({ host: listen.host, port: listen.port })
  await listening
}

function addressOf({ server }: FastifyInstance, underlay: Ip): string {
  const bound = server.address()
  if (bound === null || typeof bound === 'string') return underlay
  const everywhere = bound.address === '0.0.0.0' || bound.address === '::'
  const host = everywhere ? underlay : bound.address
  return `${host.includes(':') ? `[${host}]` : host}:${bound.port}`
}
