// The thread that holds the zones: it answers TCP, and over UDP all that has no ready response; it makes the ready ones.
import { randomBytes } from 'node:crypto'
import { flushCompileCache } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../../core/base/clock.ts'
import { errorMessage, hasCode } from '../../../core/base/errors.ts'
import { type LogFields, type Logger } from '../../../core/base/log.ts'
import { type Cached, openCache } from '../../proxy/cache.ts'
import { type ProxyConfig } from '../../proxy/config.ts'
import { openExchange } from '../../proxy/exchange.ts'
import { hotEntryOf } from '../../proxy/hot.ts'
import { openProxy } from '../../proxy/proxy.ts'
import { forgetChanged } from '../../server/hot-change.ts'
import { hotMemoryOf } from '../../server/hot-memory.ts'
import { type HotResponses, openHotResponses } from '../../server/hot-responses.ts'
import { logQueries } from '../../server/query-log.ts'
import {
  type Forward,
  makeResponder,
  monotonicSeconds,
  type Responder,
  type ServerObserver,
} from '../../server/respond.ts'
import { rateLimit } from '../../server/rate-limit.ts'
import { openDnsServer } from '../../server/server.ts'
import { makeTransfer } from '../../server/transfer.ts'
import { openNamesZones } from '../../zones.ts'
import { type GeneralThreadData, type Order, type Report } from '../messages.ts'
import { openUdpCalls } from '../native-udp.ts'
import { proxyStatsObserver } from '../proxy-stats.ts'
import { proxyPart, statsObserver } from '../stats.ts'
import { makeMissAnswerer, takeMisses } from './answer-misses.ts'
import { openOwnUdp } from './own-udp.ts'

const data = workerData as GeneralThreadData // what open.ts gave

function report(message: Report): void {
  parentPort?.postMessage(message)
}

/** Lines go out where the daemon's do. */
function remoteLog(more: LogFields): Logger {
  const line = (level: 'error' | 'warn' | 'info' | 'debug') => (fields: LogFields, text: string) =>
    report({ kind: 'log', level, fields: { ...more, ...fields }, text })
  return {
    error: line('error'),
    warn: line('warn'),
    info: line('info'),
    debug: line('debug'),
    child: (fields) => remoteLog({ ...more, ...fields }),
  }
}

/** What the proxy may keep. Source: dnsmasq and unbound keep 10,000 entries and 8 MB by default. */
const cacheBytes = 16 << 20

function proxy(config: ProxyConfig, hot: HotResponses, signal: AbortSignal): Forward {
  const exchange = openExchange()
  signal.addEventListener('abort', () => exchange.close(), { once: true })
  const makeReady = (cached: Cached) => {
    const entry = signal.aborted ? undefined : hotEntryOf(cached)
    if (entry !== undefined) hot.keep(entry)
  }
  // After the answer, which somebody waits for.
  const kept = (cached: Cached) => {
    setImmediate(makeReady, cached)
  }
  const cache = openCache(cacheBytes)
  const id = randomBytes(8)
  const observer = proxyStatsObserver(proxyPart(new Float64Array(data.stats)))
  const means = { exchange, cache, clock: systemClock, id, nowSeconds: monotonicSeconds }
  return openProxy({ ...means, config, kept, observer, signal })
}

interface UdpOptions {
  readonly respond: Responder
  readonly observer: ServerObserver
  readonly signal: AbortSignal
}

/** Answers what the other threads hand over, or all where there are none. @returns what ends it */
function answerUdp({ respond, observer, signal }: UdpOptions): () => void {
  const udp = openUdpCalls()
  const memory = hotMemoryOf(data.buffers)
  const answerMisses = makeMissAnswerer({ respond, observer, send: udp.sendTo, signal })
  for (const port of data.misses) port.on('message', takeMisses(memory, answerMisses))
  const endOwn = openOwnUdp({ udp, fds: data.fds, memory, observer, answerMisses })
  return () => {
    endOwn()
    for (const port of data.misses) port.close()
  }
}

async function run(): Promise<void> {
  const log = remoteLog({})
  const zones = openNamesZones(data.config)
  const hot = openHotResponses(data.buffers, monotonicSeconds)
  const observer = statsObserver(new Float64Array(data.stats))
  const closing = new AbortController()
  const forward = data.proxy === undefined ? {} : { forward: proxy(data.proxy, hot, closing.signal) }
  const { versionText, queryLog, transfersTo, tcpConnections, tcpIdleSeconds } = data.config
  const options = { zones, log, observer, hot, ...forward, ...(versionText === undefined ? {} : { versionText }) }
  const responder = makeResponder(options)
  const respond = queryLog === 'on' ? logQueries(responder, log, () => performance.now()) : responder
  const { addresses, port } = data
  const transports = data.udp === 'hot' ? 'tcp' : 'both'
  const server = await openDnsServer({
    ...options,
    respond,
    addresses,
    port,
    transports,
    transfer: makeTransfer(zones, transfersTo),
    tcp: { maxConnections: tcpConnections, idleMs: tcpIdleSeconds * 1000 },
    ...(data.config.rateLimit === undefined ? {} : { rateLimit: rateLimit(data.config.rateLimit) }),
  })
  const endUdp = data.udp === 'hot' ? answerUdp({ respond, observer, signal: closing.signal }) : () => undefined
  parentPort?.on('message', (order: Order) => {
    if (order.kind === 'change') {
      zones.applyPacked(order.change)
      forgetChanged(hot.store, order.change)
      report({ kind: 'applied', id: order.id })
      return
    }
    closing.abort()
    endUdp()
    void server.close().finally(() => parentPort?.close())
  })
  report({ kind: 'ready', endpoints: server.endpoints })
  // Where compiled code is kept: a thread that is killed later would keep nothing.
  flushCompileCache()
}

try {
  await run()
} catch (error) {
  const taken = error instanceof Error && hasCode(error.cause, 'EADDRINUSE')
  const code = hasCode(error, 'ERR_DNS_LISTEN') ? 'ERR_DNS_LISTEN' : 'ERR_DNS_THREAD'
  report({ kind: 'failed', code, message: errorMessage(error), taken })
  for (const misses of data.misses) misses.close()
  parentPort?.close()
}
