import { type ThreadCounters } from '../worker/stats.ts'
import { head, proxyMetrics } from './proxy-metrics.ts'

/** The counters in Prometheus's text format, version 0.0.4. Listed in discovery/README.md. */
export function metricsText(
  { answers, drops, proxy }: ThreadCounters,
  gauges: { readonly serial: number; readonly collisions: number },
): string {
  const lines = [
    ...head('dns_answers_total', 'counter', 'Responses sent, by transport and response code'),
    ...answers.map(
      ({ transport, rcode, count }) => `dns_answers_total{transport="${transport}",rcode="${rcode}"} ${count}`,
    ),
    ...head('dns_drops_total', 'counter', 'Packets and connections that got no answer, by reason'),
    ...drops.map(
      ({ transport, reason, count }) => `dns_drops_total{transport="${transport}",reason="${reason}"} ${count}`,
    ),
    ...head('dns_zone_serial', 'gauge', 'Version of the snapshot that is served'),
    `dns_zone_serial ${gauges.serial}`,
    ...head('dns_name_collisions', 'gauge', 'Names that several different tasks share without wanting to'),
    `dns_name_collisions ${gauges.collisions}`,
    ...(proxy === undefined ? [] : proxyMetrics(proxy)),
  ]
  return `${lines.join('\n')}\n`
}
