import { type Ip, ipFromBytes, ipToBytes } from '../../core/base/ip.ts'
import { type Upstream } from '../proxy/config.ts'
import {
  proxyEvents,
  type ProxyEvent,
  type ProxyObserver,
  type UpstreamEvent,
  upstreamEvents,
} from '../proxy/observer.ts'

/**
 * Counters of the proxy in shared memory: the thread that asks writes, any may read. Events, then the cache, then for each
 * upstream: octets of its address and port, events, failures, and how many answers took how long.
 */
export type ProxyStats = Float64Array

/** More upstreams are asked, but not counted. */
const maxUpstreams = 16
const cacheAt = proxyEvents.length
const upstreamsAt = cacheAt + 3
/** Times grow by half an octave, from 0.1 ms to 4.6 s. */
const buckets = 32
const firstMs = 0.1
const place = { familyBytes: 0, port: 1, address: 2, events: 18, failures: 18 + upstreamEvents.length } as const
const bucketsAt = place.failures + 1
const upstreamSlots = bucketsAt + buckets

/** How many counters there are. */
export const proxyStatsLength = upstreamsAt + maxUpstreams * upstreamSlots

/** Adds to them. One thread tells of upstreams. */
export function proxyStatsObserver(stats: ProxyStats): ProxyObserver {
  const known = new Map<string, number>()
  const add = (at: number) => {
    stats[at] = (stats[at] ?? 0) + 1
  }
  /** Where an upstream's counters begin; beyond the end where there is no room. */
  const base = (upstream: Upstream): number => {
    const key = `${upstream.address} ${upstream.port}`
    const at = known.get(key)
    if (at !== undefined) return at
    const fresh = upstreamsAt + known.size * upstreamSlots
    known.set(key, fresh)
    const bytes = ipToBytes(upstream.address)
    if (fresh < stats.length) stats.set([bytes.length, upstream.port, ...bytes], fresh)
    return fresh
  }
  return {
    happened: (event) => add(proxyEvents.indexOf(event)),
    upstream: (upstream, event) => add(base(upstream) + place.events + upstreamEvents.indexOf(event)),
    answeredIn: (upstream, tookMs) => {
      const bucket = Math.ceil(2 * Math.log2(Math.max(tookMs, firstMs) / firstMs))
      add(base(upstream) + bucketsAt + Math.min(buckets - 1, bucket))
    },
    scored: (upstream, failures) => {
      stats[base(upstream) + place.failures] = failures
    },
    cached: ({ entries, octets, evictions }) => stats.set([entries, octets, evictions], cacheAt),
  }
}

/** What the proxy did until now. */
export interface ProxyCounters {
  readonly events: Readonly<Record<ProxyEvent, number>>
  readonly cache: { readonly entries: number; readonly bytes: number; readonly evictions: number }
  readonly upstreams: readonly UpstreamCounters[]
}

/** Of one upstream; times are upper bounds, 41 % apart; absent: nothing was answered. */
export interface UpstreamCounters extends Readonly<Record<UpstreamEvent, number>> {
  readonly address: Ip
  readonly port: number
  /** Failures lately. */
  readonly failures: number
  readonly latencyMs?: { readonly p50: number; readonly p90: number; readonly p99: number }
}

/** Events of all threads, the rest of the first one, which asks; `undefined` where nothing was ever forwarded. */
export function sumProxies(threads: readonly ProxyStats[]): ProxyCounters | undefined {
  const [stats = new Float64Array(0)] = threads
  const at = (i: number) => stats[i] ?? 0
  const sum = (i: number) => threads.reduce((total, thread) => total + (thread[i] ?? 0), 0)
  const count = (base: number) => (name: string, i: number) => [name, at(base + i)] as const
  const events = Object.fromEntries(proxyEvents.map((name, i) => [name, sum(i)])) as Record<ProxyEvent, number> // all keys are set
  const upstreams: UpstreamCounters[] = []
  for (let base = upstreamsAt; base < stats.length && at(base) > 0; base += upstreamSlots) {
    const address = ipFromBytes(Uint8Array.from(stats.subarray(base + place.address, base + place.address + at(base))))
    const counts = upstreamEvents.map(count(base + place.events))
    upstreams.push({
      address,
      port: at(base + place.port),
      ...(Object.fromEntries(counts) as Record<UpstreamEvent, number>), // all keys are set
      failures: at(base + place.failures),
      ...latency(stats.subarray(base + bucketsAt, base + upstreamSlots)),
    })
  }
  if (Object.values(events).every((value) => value === 0)) return undefined
  return { events, cache: { entries: at(cacheAt), bytes: at(cacheAt + 1), evictions: at(cacheAt + 2) }, upstreams }
}

function latency(counts: Float64Array): Pick<UpstreamCounters, 'latencyMs'> {
  const total = counts.reduce((sum, value) => sum + value, 0)
  if (total === 0) return {}
  const quantile = (share: number) => {
    let seen = 0
    const bucket = counts.findIndex((value) => {
      seen += value
      return seen >= share * total
    })
    return Math.round(firstMs * 2 ** (bucket / 2) * 100) / 100
  }
  return { latencyMs: { p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99) } }
}
