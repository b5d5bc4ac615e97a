import { formatRcode } from '../dns/presentation.ts'
import { type DropReason, type ServerObserver } from '../server/respond.ts'
import { type ProxyCounters, type ProxyStats, proxyStatsLength, proxyStatsObserver, sumProxies } from './proxy-stats.ts'

/**
 * Counters of one thread in shared memory: only that thread adds, any may read. 53 bits each. Answers over UDP by response
 * code, over TCP, then drops over UDP by reason, over TCP, then those of the proxy.
 */
export type ThreadStats = Float64Array

const reasons: readonly DropReason[] = [
  'not-a-query',
  'send-failed',
  'slow-client',
  'too-many-connections',
  'overload',
  'rate-limited',
  'rate-truncated',
]
const codes = 17
const transports = ['udp', 'tcp'] as const
const dropsAt = transports.length * codes
const proxyAt = dropsAt + transports.length * reasons.length

/** Grows while the thread lives, whether anybody asks or not. */
const beatAt = proxyAt + proxyStatsLength

/** New counters, all 0. */
export function makeStatsBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(8 * (beatAt + 1))
}

/** Shows that the thread lives. */
export function beat(stats: ThreadStats): void {
  stats[beatAt] = (stats[beatAt] ?? 0) + 1
}

/** Differs from what it was before when the thread has answered, dropped or beaten since. */
export function signsOfLife(stats: ThreadStats): number {
  return stats.reduce((sum, count) => sum + count, 0)
}

/** The part of a thread's counters that is the proxy's. */
export function proxyPart(stats: ThreadStats): ProxyStats {
  return stats.subarray(proxyAt, beatAt)
}

/** Adds to a thread's counters. */
export function statsObserver(stats: ThreadStats): ServerObserver {
  const proxy = proxyStatsObserver(proxyPart(stats))
  const add = (at: number) => {
    stats[at] = (stats[at] ?? 0) + 1
  }
  return {
    answered: ({ transport, rcode, foreign }) => {
      add((transport === 'udp' ? 0 : codes) + Math.min(rcode, codes - 1))
      if (foreign === true) proxy.happened('ready')
    },
    dropped: ({ transport, reason }) =>
      add(dropsAt + (transport === 'udp' ? 0 : reasons.length) + reasons.indexOf(reason)),
  }
}

/** Sums over threads; what never happened is left out. */
export interface ThreadCounters {
  readonly answers: readonly { readonly transport: 'udp' | 'tcp'; readonly rcode: string; readonly count: number }[]
  readonly drops: readonly { readonly transport: 'udp' | 'tcp'; readonly reason: DropReason; readonly count: number }[]
  /** Absent: nothing was forwarded. */
  readonly proxy?: ProxyCounters
}

/** What the threads counted until now. */
export function sumThreads(threads: readonly ThreadStats[]): ThreadCounters {
  const sum = (at: number) => threads.reduce((total, stats) => total + (stats[at] ?? 0), 0)
  const answers = transports.flatMap((transport, t) =>
    Array.from({ length: codes }, (_, code) => {
      return { transport, rcode: formatRcode(code), count: sum(t * codes + code) }
    }),
  )
  const drops = transports.flatMap((transport, t) =>
    reasons.map((reason, r) => ({ transport, reason, count: sum(dropsAt + t * reasons.length + r) })),
  )
  const happened = ({ count }: { readonly count: number }) => count > 0
  const proxy = sumProxies(threads.map(proxyPart))
  const counters = { answers: answers.filter(happened), drops: drops.filter(happened) }
  return proxy === undefined ? counters : { ...counters, proxy }
}
