import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'

/** A Mesos master that a test plays. */
export interface MesosStub {
  readonly host: string
  /** Answers of `/master/state`; absent: 404 there, as at every other path. */
  state: unknown
  /** Sends every request on to this `host:port`, without a scheme, as Mesos does. */
  leaderElsewhere: string | undefined
  /** Whether `POST /api/v1` opens a stream. */
  stream: 'none' | 'open'
  readonly requests: string[]
  /** Sends an event to all streams. */
  event(event: unknown): void
  /** Ends all streams. */
  endStreams(): void
  close(): Promise<void>
}

/** Starts one on 127.0.0.1. */
export async function openMesosStub(): Promise<MesosStub> {
  const streams = new Set<ServerResponse>()
  const server = createServer((request, response) => answer(request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const host = `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
  const stub: MesosStub = {
    host,
    state: undefined,
    leaderElsewhere: undefined,
    stream: 'none',
    requests: [],
    event: (event) => {
      const text = JSON.stringify(event)
      const bytes = Buffer.from(`${Buffer.byteLength(text)}\n${text}`)
      // In two pieces: a record may come in any.
      for (const stream of streams) {
        stream.write(bytes.subarray(0, 7))
        stream.write(bytes.subarray(7))
      }
    },
    endStreams: () => {
      for (const stream of streams) stream.end()
      streams.clear()
    },
    close: async () => {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
  const answer = ({ method, url = '' }: IncomingMessage, response: ServerResponse) => {
    stub.requests.push(`${method} ${url}`)
    if (stub.leaderElsewhere !== undefined) {
      response.writeHead(307, { location: `//${stub.leaderElsewhere}${url}` }).end()
    } else if (url === '/api/v1' && stub.stream === 'open') {
      response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders()
      streams.add(response)
      response.on('close', () => streams.delete(response))
      stub.event({ type: 'SUBSCRIBED', subscribed: { get_state: stub.state, heartbeat_interval_seconds: 15 } })
    } else if (url === '/master/state' && stub.state !== undefined) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(stub.state))
    } else {
      response.writeHead(404).end()
    }
  }
  return stub
}
