import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { type Clock } from '../../core/base/clock.ts'
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { type Ip, ipFamily, parseIp } from '../../core/base/ip.ts'
import { frame, makeFrameSplitter } from './frames.ts'
import { type Responder, type ResponderOptions } from './respond.ts'
import { type Transfer } from './transfer.ts'
import { type Listener } from './udp.ts'

/** What bounds TCP clients. */
export interface TcpLimits {
  /** From the last whole query: a connection without one is closed. Source: reference/dns-proxy.md. */
  readonly idleMs: number
  /** One more closes the connection that was idle longest. */
  readonly maxConnections: number
  /** Responses that a client leaves unread. */
  readonly maxUnsentBytes: number
  /** Forwarded queries of one connection that wait at once. */
  readonly maxWaiting: number
}

/** Queries of a connection that are answered before everything else gets its turn: one chunk may hold a thousand. */
const queriesPerTurn = 32

/** Limits of design.md. */
export const defaultTcpLimits: TcpLimits = {
  idleMs: 10_000,
  maxConnections: 12_000,
  maxUnsentBytes: 512 * 1024,
  maxWaiting: 100,
}

interface TcpOptions extends ResponderOptions {
  readonly address: Ip
  readonly port: number
  readonly respond: Responder
  readonly clock: Clock
  readonly limits: TcpLimits
  readonly transfer?: Transfer
}

/** Connections, the one that was quiet longest first. */
type Connections = Map<Socket, () => void>

/** Answers on one address over TCP, with pipelining (RFC 7766). @throws ERR_DNS_LISTEN when it can't be bound */
export async function openTcpListener(options: TcpOptions): Promise<Listener> {
  const { address, limits, observer, log } = options
  const connections: Connections = new Map()
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    if (connections.size >= limits.maxConnections) {
      evictOldest(connections)
      observer?.dropped({ transport: 'tcp', reason: 'too-many-connections' })
    }
    serve(socket, connections, options)
  })
  await listen(server, address, options.port)
  server.on('error', (error) => log.warn({ address, error: errorMessage(error) }, 'DNS socket reported an error'))
  const bound = server.address()
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : options.port,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const socket of connections.keys()) socket.destroy()
      await closed
    },
  }
}

function evictOldest(connections: Connections): void {
  const [oldest] = connections
  if (oldest === undefined) return
  const [socket, cancelTimer] = oldest
  cancelTimer()
  connections.delete(socket)
  socket.destroy()
}

function serve(socket: Socket, connections: Connections, options: TcpOptions): void {
  const { limits, observer } = options
  const splitter = makeFrameSplitter()
  const gone = new AbortController()
  let waiting = 0
  let ended = false
  let unread: readonly Uint8Array[] = []
  const drop = () => {
    observer?.dropped({ transport: 'tcp', reason: 'slow-client' })
    socket.destroy()
  }
  const wake = () => {
    connections.get(socket)?.()
    connections.delete(socket)
    // Only whole queries count: a client that sends an octet now and then is idle.
    connections.set(
      socket,
      options.clock.after(limits.idleMs, () => (splitter.partial() ? drop() : socket.destroy())),
    )
  }
  const send = (bytes: Uint8Array | undefined) => {
    if (bytes === undefined || socket.destroyed) return
    socket.write(frame(bytes))
    if (socket.writableLength > limits.maxUnsentBytes) drop()
  }
  const settle = () => {
    if (unread.length > 0) return
    if (ended && waiting === 0) socket.end()
    else if (socket.isPaused() && waiting < limits.maxWaiting) socket.resume()
  }
  const handle = (packet: Uint8Array) => {
    const parts = options.transfer?.(packet, clientOf(socket))
    if (parts !== undefined) {
      waiting++
      return void sendParts(socket, parts, { signal: gone.signal }).finally(() => {
        waiting--
        settle()
      })
    }
    const response = options.respond(packet, { transport: 'tcp', signal: gone.signal })
    if (!(response instanceof Promise)) return send(response)
    waiting++
    void response.then(send).finally(() => {
      waiting--
      settle()
    })
  }
  const handleSome = () => {
    const some = unread.slice(0, queriesPerTurn)
    unread = unread.slice(queriesPerTurn)
    for (const packet of some) if (!socket.destroyed) handle(packet)
    if (unread.length > 0 || waiting >= limits.maxWaiting) socket.pause()
    if (unread.length > 0) setImmediate(handleSome)
    else settle()
  }
  wake()
  socket.on('data', (chunk) => {
    const packets = splitter.push(chunk)
    if (packets.length > 0) wake()
    unread = unread.length === 0 ? packets : [...unread, ...packets]
    handleSome()
  })
  socket.on('end', () => {
    ended = true
    settle()
  })
  // A connection that breaks concerns its client only; `close` follows.
  socket.on('error', () => undefined)
  socket.on('close', () => {
    gone.abort()
    connections.get(socket)?.()
    connections.delete(socket)
  })
}

/** IPv4 clients of an IPv6 socket come as `::ffff:a.b.c.d`. RFC 4291 §2.5.5.2. */
function clientOf({ remoteAddress = '' }: Socket): Ip {
  return parseIp(remoteAddress.replace(/^::ffff:(?=\d+\.)/, '').replace(/%.*/, '') || '::')
}

/** As fast as the client reads. */
async function sendParts(
  socket: Socket,
  parts: Iterable<Uint8Array>,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  try {
    for (const part of parts) if (!socket.write(frame(part))) await once(socket, 'drain', { signal })
  } catch {
    socket.destroy() // ABORT_ERR: the client left in the middle
  }
}

async function listen(server: Server, address: Ip, port: number): Promise<void> {
  const listening = once(server, 'listening')
  server.listen({ host: address, port, exclusive: true, ipv6Only: ipFamily(address) === 6 })
  try {
    await listening
  } catch (cause) {
    throw new AppError('ERR_DNS_LISTEN', `can't answer DNS on ${address} TCP port ${port}: ${errorMessage(cause)}`, {
      cause,
    })
  }
}
