import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { type Ip, ipFamily, parseIp } from '../../core/base/ip.ts'
import { type RateVerdict, truncatedReply } from './rate-limit.ts'
import { type Responder, type ResponderOptions } from './respond.ts'

/** A bound listener. */
export interface Listener {
  readonly port: number
  close(): Promise<void>
}

/** How many forwarded queries may wait at once; more are dropped, and clients ask again. */
const maxWaiting = 10_000

/** Room for a burst while the thread is busy; the kernel gives less where `net.core.rmem_max` is lower. */
const recvBufferSize = 1 << 20

/** Whether a client is answered now. */
export type UdpLimit = (client: Ip) => RateVerdict

/** Answers datagrams on one address. @throws ERR_DNS_LISTEN when the address can't be bound */
export async function openUdpListener(
  options: ResponderOptions & {
    readonly address: Ip
    readonly port: number
    readonly respond: Responder
    readonly limit?: UdpLimit
  },
): Promise<Listener> {
  const { address, respond, log, observer } = options
  const socket = createSocket(
    ipFamily(address) === 4 ? { type: 'udp4', recvBufferSize } : { type: 'udp6', ipv6Only: true, recvBufferSize },
  )
  const closing = new AbortController()
  let waiting = 0
  const send = (bytes: Uint8Array | undefined, port: number, host: string) => {
    if (bytes === undefined || closing.signal.aborted) return
    socket.send(bytes, port, host, (error) => {
      if (error !== null) observer?.dropped({ transport: 'udp', reason: 'send-failed' })
    })
  }
  socket.on('message', (packet, from) => {
    // Port 0 can't be answered, and sending to it throws.
    if (from.port === 0 || waiting >= maxWaiting) return
    const verdict = options.limit?.(parseIp(from.address.replace(/%.*/, ''))) ?? 'answer'
    if (verdict !== 'answer') {
      observer?.dropped({ transport: 'udp', reason: verdict === 'drop' ? 'rate-limited' : 'rate-truncated' })
      if (verdict === 'truncate') send(truncatedReply(packet), from.port, from.address)
      return
    }
    const response = respond(packet, { transport: 'udp', signal: closing.signal })
    if (!(response instanceof Promise)) return send(response, from.port, from.address)
    waiting++
    void response.then((bytes) => send(bytes, from.port, from.address)).finally(() => waiting--)
  })
  await bind(socket, address, options.port)
  socket.on('error', (error) => log.warn({ address, error: errorMessage(error) }, 'DNS socket reported an error'))
  return {
    port: socket.address().port,
    close: async () => {
      closing.abort()
      const closed = once(socket, 'close')
      socket.close()
      await closed
    },
  }
}

async function bind(socket: Socket, address: Ip, port: number): Promise<void> {
  const listening = once(socket, 'listening')
  socket.bind({ address, port, exclusive: true })
  try {
    await listening
  } catch (cause) {
    socket.close()
    throw new AppError('ERR_DNS_LISTEN', `can't answer DNS on ${address} UDP port ${port}: ${errorMessage(cause)}`, {
      cause,
    })
  }
}
