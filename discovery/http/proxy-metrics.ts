import { upstreamEvents } from '../proxy/observer.ts'
import { type ProxyCounters, type UpstreamCounters } from '../worker/proxy-stats.ts'

/** The proxy's counters in Prometheus's text format. Listed in discovery/README.md. */
export function proxyMetrics({ events, cache, upstreams }: ProxyCounters): readonly string[] {
  const gauges = [
    ['dns_proxy_cache_entries', 'gauge', 'Replies kept', cache.entries],
    ['dns_proxy_cache_bytes', 'gauge', 'What they take', cache.bytes],
    ['dns_proxy_cache_evictions_total', 'counter', 'Replies that went for others', cache.evictions],
  ] as const
  return [
    ...head('dns_proxy_events_total', 'counter', 'What the proxy did with queries for names of others'),
    ...Object.entries(events).map(([event, count]) => `dns_proxy_events_total{event="${event}"} ${count}`),
    ...gauges.flatMap(([name, type, help, value]) => [...head(name, type, help), `${name} ${value}`]),
    ...head('dns_upstream_events_total', 'counter', 'What came of asking upstreams'),
    ...upstreams.flatMap((one) =>
      upstreamEvents.map((event) => `dns_upstream_events_total{${label(one)},event="${event}"} ${one[event]}`),
    ),
    ...head('dns_upstream_failures', 'gauge', 'Failures lately; they count half after 10 s'),
    ...upstreams.map((one) => `dns_upstream_failures{${label(one)}} ${one.failures}`),
    ...head('dns_upstream_latency_seconds', 'gauge', 'How long answers took, at most'),
    ...upstreams.flatMap((one) =>
      Object.entries(one.latencyMs ?? {}).map(
        ([quantile, ms]) =>
          `dns_upstream_latency_seconds{${label(one)},quantile="0.${quantile.slice(1)}"} ${ms / 1000}`,
      ),
    ),
  ]
}

/** Upstreams are a few of the configuration. */
function label({ address, port }: UpstreamCounters): string {
  return `upstream="${address}#${port}"`
}

/** What comes before a metric's values. */
export function head(name: string, type: 'counter' | 'gauge', help: string): readonly string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`]
}
