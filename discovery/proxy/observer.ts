import { type Upstream } from './config.ts'

/**
 * What the proxy does with a query. `hit`: from the cache, `ready`: the same without waking the proxy, `miss`: upstreams are
 * asked, `coalesced`: they are being asked already, `stale`: what is too old, since nobody answers, `prefetch`: asked
 * anew before its end, `loop`: refused, `local`: denied without asking anybody, `failed`: SERVFAIL.
 */
export const proxyEvents = [
  'hit',
  'ready',
  'miss',
  'coalesced',
  'stale',
  'prefetch',
  'loop',
  'local',
  'failed',
] as const
export type ProxyEvent = (typeof proxyEvents)[number]

/**
 * What comes of asking an upstream: `answers` say something of the name, `refusals` (SERVFAIL, REFUSED) do not, `timeouts`
 * had not come when others were asked in its place or the client was told, `errors`: it can't be reached. Answers that came
 * after another one's are in none of these.
 */
export const upstreamEvents = ['queries', 'answers', 'refusals', 'timeouts', 'errors'] as const
export type UpstreamEvent = (typeof upstreamEvents)[number]

/** Told of what the proxy does: for metrics. */
export interface ProxyObserver {
  happened(event: ProxyEvent): void
  upstream(upstream: Upstream, event: UpstreamEvent): void
  answeredIn(upstream: Upstream, tookMs: number): void
  /** Failures lately, which count half after a while. */
  scored(upstream: Upstream, failures: number): void
  cached(size: { readonly entries: number; readonly octets: number; readonly evictions: number }): void
}

/** Tells nobody. */
export const noProxyObserver: ProxyObserver = {
  happened: () => undefined,
  upstream: () => undefined,
  answeredIn: () => undefined,
  scored: () => undefined,
  cached: () => undefined,
}
