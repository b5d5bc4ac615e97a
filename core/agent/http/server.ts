import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { AppError, errorMessage } from '../../base/errors.ts'

/** A listening server. */
export interface AgentHttp {
  readonly port: number
  /** New requests are answered by this from now on; until the first call by 503. */
  serve(listener: RequestListener): void
  close(): Promise<void>
}

/** Where to listen: an address, or the path of a unix socket. */
export type ListenAt = { readonly host: string; readonly port: number } | { readonly path: string }

/** Listens; `port` 0 takes any. @throws ERR_AGENT_LISTEN */
export async function openAgentHttp(at: ListenAt): Promise<AgentHttp> {
  let serve: RequestListener = (_, response) => response.writeHead(503).end('the agent is starting\n')
  const server = createServer((request, response) => serve(request, response))
  try {
    const listening = once(server, 'listening') // rejects on 'error'
    server.listen(at)
    await listening
  } catch (cause) {
    const where = 'path' in at ? at.path : `${at.host} port ${at.port}`
    const advice = 'path' in at ? 'is the path too long?' : 'is it in use? --http-port takes another one'
    throw new AppError('ERR_AGENT_LISTEN', `can't serve HTTP at ${where}: ${errorMessage(cause)}; ${advice}`, { cause })
  }
  const bound = server.address()
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : 0,
    serve: (next) => {
      serve = next
    },
    close: () => closeServer(server),
  }
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeAllConnections()
  await closed
}
