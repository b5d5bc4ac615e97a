import { type Clock, systemClock } from '../../core/base/clock.ts'
import { hasCode } from '../../core/base/errors.ts'
import { type Ip } from '../../core/base/ip.ts'
import { makeResponder, type Responder, type ResponderOptions } from './respond.ts'
import { defaultTcpLimits, openTcpListener, type TcpLimits } from './tcp.ts'
import { type Transfer } from './transfer.ts'
import { makeRateLimiter, type RateLimit } from './rate-limit.ts'
import { type Listener, openUdpListener, type UdpLimit } from './udp.ts'

/** A DNS server over some zones. */
export interface DnsServerOptions extends ResponderOptions {
  /** Each is bound for UDP and TCP; they must be on the machine (in the namespace) already. */
  readonly addresses: readonly Ip[]
  /** 0: any port that is free for both; for tests. */
  readonly port: number
  readonly clock?: Clock
  readonly tcp?: Partial<TcpLimits>
  /** `tcp`: something else answers UDP on the same port. */
  readonly transports?: 'both' | 'tcp'
  /** What answers; absent: made from the other options. */
  readonly respond?: Responder
  /** How often a client is answered over UDP; absent: as often as it asks. */
  readonly rateLimit?: RateLimit
  /** Zone transfers over TCP; absent: refused. */
  readonly transfer?: Transfer
}

/** A running DNS server. */
export interface DnsServer {
  readonly endpoints: readonly { readonly address: Ip; readonly port: number }[]
  /** Stops answering and closes every connection. */
  close(): Promise<void>
}

/** How often a free pair of ports is looked for. */
const portAttempts = 20

/**
 * Starts to answer on all addresses.
 * @throws ERR_DNS_LISTEN when one can't be bound; nothing stays open then
 */
export async function openDnsServer(options: DnsServerOptions): Promise<DnsServer> {
  const respond = options.respond ?? makeResponder(options)
  const opened: Listener[] = []
  const limit = openLimit(options)
  const endpoints: { readonly address: Ip; readonly port: number }[] = []
  try {
    for (const address of options.addresses) {
      const listeners = await openListeners({ ...options, ...limit, address, respond })
      opened.push(...listeners)
      endpoints.push({ address, port: listeners[0].port })
    }
  } catch (error) {
    await Promise.all(opened.map((listener) => listener.close()))
    throw error
  }
  options.log.info({ endpoints }, 'DNS server answers')
  return {
    endpoints,
    close: async () => {
      await Promise.all(opened.map((listener) => listener.close()))
    },
  }
}

/** One for all addresses: a client is one client, wherever it asks. */
function openLimit({ rateLimit, clock = systemClock }: DnsServerOptions): { readonly limit?: UdpLimit } {
  if (rateLimit === undefined) return {}
  const limiter = makeRateLimiter(rateLimit)
  return { limit: (client) => limiter(client, clock.monotonicMs()) }
}

async function openListeners(
  options: DnsServerOptions & { readonly address: Ip; readonly respond: Responder; readonly limit?: UdpLimit },
): Promise<readonly [Listener, ...Listener[]]> {
  const limits = { ...defaultTcpLimits, ...options.tcp }
  const clock = options.clock ?? systemClock
  if (options.transports === 'tcp') return [await openTcpListener({ ...options, clock, limits })]
  for (let attempt = 1; ; attempt++) {
    const udp = await openUdpListener(options)
    try {
      return [udp, await openTcpListener({ ...options, port: udp.port, clock, limits })]
    } catch (error) {
      await udp.close()
      const taken = error instanceof Error && hasCode(error.cause, 'EADDRINUSE')
      if (options.port !== 0 || !taken || attempt === portAttempts) throw error
    }
  }
}
