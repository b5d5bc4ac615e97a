/**
 * A DNS server that is asked by ourselves: a port that is bound and does not answer is the worst of states, as clients wait
 * for it instead of asking another. The question goes the whole way, through the socket; counters tell that it came.
 */
import { createSocket } from 'node:dgram'
import { type Clock } from '../../core/base/clock.ts'
import { AppError, errorMessage, hasCode } from '../../core/base/errors.ts'
import { ipFamily } from '../../core/base/ip.ts'
import { type PackedChange, packChange } from '../server/packed.ts'
import { type DnsThreads, type DnsThreadsOptions, openDnsThreads } from './open.ts'
import { makeStatsBuffer, signsOfLife } from './stats.ts'
import { newlyStarted, watchStep } from './watch-state.ts'

/** A server that is started anew when it hangs. */
export interface GuardOptions extends DnsThreadsOptions {
  /** All that a new server has to know: what was applied, and what was about to be. */
  readonly whole: () => PackedChange
  readonly clock: Clock
  /** Tests start other servers. */
  readonly start?: (options: DnsThreadsOptions) => Promise<DnsThreads>
}

/** Between two looks. */
const lookEveryMs = 1_000

/** A server that does not start is started so often. */
const startAttempts = 3

/** Opcode STATUS (RFC 1035 §4.1.1), which nobody serves: the thread that holds the zones says NOTIMP. */
const question = Uint8Array.of(0, 0, 2 << 3, 0, 0, 0, 0, 0, 0, 0, 0, 0)

/**
 * Starts the threads, and again when they answer nothing for 3 s. `onFailure`: also when that fails.
 * @throws ERR_DNS_LISTEN, ERR_DNS_THREAD as {@link openDnsThreads}
 */
export async function openGuardedDns(options: GuardOptions): Promise<DnsThreads> {
  const { clock, log, whole } = options
  const buffers: SharedArrayBuffer[] = []
  const counters = (i: number) => {
    buffers[i] ??= makeStatsBuffer()
    return buffers[i]
  }
  const start = (port: number) => startPatiently({ ...options, port, counters })
  let server = await start(options.port)
  const { endpoints, stats } = server
  let closed = false
  let restarting: Promise<void> | undefined
  const restart = async () => {
    log.error({ endpoints }, 'the DNS server answered nothing for 3 s: starting it anew')
    await server.close()
    server = await start(endpoints[0]?.port ?? options.port)
    await server.applyPacked(whole())
    log.warn({ endpoints }, 'the DNS server was started anew')
  }
  const onHang = () => {
    if (closed) return
    restarting ??= restart()
      .catch(options.onFailure)
      .finally(() => {
        restarting = undefined
      })
  }
  const applying = () => server.applying()
  const unwatch = watch({ endpoints, stats, clock, applying, resting: () => restarting !== undefined, onHang })
  const applyPacked = async (change: PackedChange) => {
    await restarting
    const asked = server
    try {
      await asked.applyPacked(change)
    } catch (error) {
      // It was in the way of the restart, and so is in what the new one began with.
      if (restarting === undefined && asked === server) throw error
      await restarting
    }
  }
  return {
    ...{ endpoints, stats, applying, applyPacked },
    apply: (change) => applyPacked(packChange(change)),
    close: async () => {
      closed = true
      unwatch()
      await restarting
      await server.close()
    },
  }
}

/** A start that takes too long is given up and made again. */
async function startPatiently(options: GuardOptions): Promise<DnsThreads> {
  const start = options.start ?? openDnsThreads
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(options)
    } catch (error) {
      const late = hasCode(error, 'ERR_DNS_THREAD') && error instanceof AppError && error.details['late'] === true
      if (!late || attempt === startAttempts) throw error
      options.log.error({ attempt, reason: errorMessage(error) }, 'the DNS server did not start; trying again')
    }
  }
}

interface WatchOptions extends Pick<DnsThreads, 'endpoints' | 'stats' | 'applying'> {
  readonly clock: Clock
  /** Nothing is to be expected now. */
  readonly resting: () => boolean
  readonly onHang: () => void
}

/** Asks, and looks whether that was noticed, once a second. @returns what ends it */
function watch({ endpoints, stats, applying, clock, resting, onHang }: WatchOptions): () => void {
  const [place] = endpoints
  if (place === undefined) return () => undefined
  const socket = createSocket(ipFamily(place.address) === 4 ? 'udp4' : 'udp6')
  socket.unref()
  // What can't be sent is a question that nobody hears: the next look tells.
  socket.on('error', () => undefined)
  const ask = () => socket.send(question, place.port, place.address, () => undefined)
  let state = newlyStarted
  let before = stats.map(signsOfLife)
  let cancel: () => void
  const look = () => {
    cancel = clock.after(lookEveryMs, look)
    const now = stats.map(signsOfLife)
    const silent = silentThreads(before, now)
    before = now
    if (!resting()) {
      const step = watchStep(state, { silent, busy: applying() > 0 })
      state = step.state
      if (step.hung) onHang()
    }
    ask()
  }
  ask()
  cancel = clock.after(lookEveryMs, look)
  return () => {
    cancel()
    socket.close()
  }
}

function silentThreads(before: readonly number[], now: readonly number[]): number {
  return now.filter((signs, i) => signs === before[i]).length
}
