import { closeSync, writeSync } from 'node:fs'
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { type Ip } from '../../core/base/ip.ts'
import { type Logger } from '../../core/base/log.ts'
import { type ProxyConfig } from '../proxy/config.ts'
import { type NamesConfig } from '../records/config.ts'
import { type ZoneChange } from '../records/zone-change.ts'
import { type PackedChange } from '../server/packed.ts'
import { control, type HotBuffers, type HotSize, makeHotBuffers } from '../server/hot-memory.ts'
import { type GeneralThreadData, type HotThreadData } from './messages.ts'
import { openUdpCalls, type UdpCalls } from './native-udp.ts'
import { makeStatsBuffer, type ThreadStats } from './stats.ts'
import { supervise } from './supervise.ts'

/** A DNS server in threads of its own. */
export interface DnsThreadsOptions {
  readonly config: NamesConfig
  /** Each is answered on over UDP and TCP; they must be on the machine (in the namespace) already. */
  readonly addresses: readonly Ip[]
  /** 0: any port that is free for both; for tests, with one address. */
  readonly port: number
  readonly log: Logger
  /** Threads that answer UDP; 0: the general one does. Default: 0 below 4 cores, else one for each second, at most 4. */
  readonly threads?: number
  /** `dgram`: no system calls of ours. Default: what the machine has. */
  readonly udp?: 'hot' | 'dgram'
  readonly memory?: HotSize
  /** Counters of thread `i`, maybe of a server before this one; absent: new ones. */
  readonly counters?: (i: number) => SharedArrayBuffer
  /** Absent: names of no zone of ours are refused. */
  readonly proxy?: ProxyConfig
  /** A thread ended that should not have; the server answers no more, or not all. */
  readonly onFailure: (error: unknown) => void
}

/** A running server. */
export interface DnsThreads {
  readonly endpoints: readonly { readonly address: Ip; readonly port: number }[]
  /** Counters of each thread: {@link ThreadStats}. */
  readonly stats: readonly ThreadStats[]
  /** Resolves when every answer is made from the zones with the change. */
  apply(change: ZoneChange): Promise<void>
  /** The same for one that is packed. */
  applyPacked(change: PackedChange): Promise<void>
  /** Changes that are not applied yet: many at once keep the server busy. */
  applying(): number
  close(): Promise<void>
}

/** How often a free pair of ports is looked for. */
const portAttempts = 20

/**
 * Starts the threads. Sockets are opened here, in the namespace of the calling thread.
 * @throws ERR_DNS_LISTEN when an address can't be bound; ERR_DNS_THREAD when a thread does not start; nothing stays then
 */
export async function openDnsThreads(options: DnsThreadsOptions): Promise<DnsThreads> {
  // The fast way tells nobody what was asked, and counts no clients.
  const { queryLog, rateLimit } = options.config
  const plain = options.udp === 'dgram' || queryLog === 'on' || rateLimit !== undefined
  const udp = plain ? undefined : udpCalls(options)
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(options, udp)
    } catch (error) {
      const taken = error instanceof AppError && error.details['taken'] === true
      if (options.port !== 0 || !taken || attempt === portAttempts) throw error
    }
  }
}

function udpCalls({ log, udp }: DnsThreadsOptions): UdpCalls | undefined {
  try {
    return openUdpCalls()
  } catch (error) {
    if (udp === 'hot') throw error
    log.warn({ reason: errorMessage(error) }, 'DNS answers over UDP one by one: no fast way here')
    return undefined
  }
}

/** What is closed when a start fails, and at the end. */
interface Opened {
  readonly fds: number[][]
  readonly endpoints: { readonly address: Ip; readonly port: number }[]
  readonly wakeFd: number | undefined
}

async function start(options: DnsThreadsOptions, udp: UdpCalls | undefined): Promise<DnsThreads> {
  const threads = udp === undefined ? 0 : (options.threads ?? defaultThreads())
  const buffers = makeHotBuffers(options.memory)
  const opened: Opened = { fds: [], endpoints: [], wakeFd: udp?.eventfd() }
  let open = true
  // Once only: the numbers may be something else's by the second time.
  const close = () => {
    if (!open) return
    open = false
    for (const fd of opened.fds.flat()) udp?.close(fd)
    if (opened.wakeFd !== undefined) closeSync(opened.wakeFd)
  }
  try {
    for (let i = 0; i < Math.max(threads, udp === undefined ? 0 : 1); i++) openSockets(options, opened, udp)
    return await startThreads(options, { opened, buffers, threads, close })
  } catch (error) {
    close()
    throw error
  }
}

function defaultThreads(): number {
  const cores = navigator.hardwareConcurrency
  return cores < 4 ? 0 : Math.min(4, cores >> 1)
}

/** One more socket for each address, on the same port. */
function openSockets({ addresses, port, threads }: DnsThreadsOptions, opened: Opened, udp?: UdpCalls): void {
  if (udp === undefined) return
  const shared = (threads ?? defaultThreads()) > 1
  const sockets: number[] = []
  opened.fds.push(sockets)
  for (const [i, address] of addresses.entries()) {
    const socket = udp.open({ address, port: opened.endpoints[i]?.port ?? port, shared })
    if (opened.endpoints[i] === undefined) opened.endpoints.push({ address, port: socket.port })
    sockets.push(socket.fd)
  }
}

interface Ground {
  readonly opened: Opened
  readonly buffers: HotBuffers
  readonly threads: number
  readonly close: () => void
}

async function startThreads(options: DnsThreadsOptions, ground: Ground): Promise<DnsThreads> {
  const { opened, buffers } = ground
  const handed = opened.fds.slice(0, ground.threads)
  const counters = options.counters ?? makeStatsBuffer
  const stats = [counters(0), ...handed.map((_, i) => counters(i + 1))]
  const channels = handed.map(() => new MessageChannel())
  const general: GeneralThreadData = {
    config: options.config,
    addresses: options.addresses,
    port: opened.endpoints[0]?.port ?? options.port,
    udp: opened.fds.length === 0 ? 'dgram' : 'hot',
    buffers,
    stats: stats[0] ?? makeStatsBuffer(),
    misses: channels.map(({ port1 }) => port1),
    fds: opened.fds.slice(ground.threads).flat(),
    ...(options.proxy === undefined ? {} : { proxy: options.proxy }),
  }
  const thread = openWorker('general', general, general.misses)
  const hot = handed.map((fds, i) => {
    const misses = channels[i]?.port2
    if (misses === undefined) throw new AppError('ERR_DNS_THREAD', 'a thread has no channel')
    const own = stats[i + 1] ?? makeStatsBuffer()
    const data: HotThreadData = { fds, wakeFd: opened.wakeFd ?? -1, buffers, stats: own, misses }
    return openWorker('hot', data, [misses])
  })
  const stop = () => {
    Atomics.store(new Int32Array(buffers.control), control.stop, 1)
    if (opened.wakeFd !== undefined) writeSync(opened.wakeFd, new Uint8Array(BigUint64Array.of(1n).buffer))
  }
  const threads = { general: thread, hot, stop, release: ground.close }
  return supervise(threads, { ...options, stats: stats.map((buffer) => new Float64Array(buffer)) })
}

function openWorker(kind: 'general' | 'hot', data: unknown, ports: readonly MessagePort[]): Worker {
  const url = new URL(`./${kind}/main.ts`, import.meta.url)
  // Small young generations: one thread makes no garbage, the other little.
  const resourceLimits = { maxYoungGenerationSizeMb: kind === 'hot' ? 2 : 4 }
  return new Worker(url, { workerData: data, transferList: [...ports], name: `dns-${kind}`, resourceLimits })
}
