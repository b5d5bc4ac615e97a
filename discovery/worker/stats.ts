import { Counter, type Registry } from 'prom-client'
import { formatRcode } from '../dns/presentation.ts'
import { type DropReason, type ServerObserver } from '../server/respond.ts'

/**
 * Counters of one thread in shared memory: only that thread adds, any may read. 53 bits each. Answers over UDP by response
 * code, over TCP, then drops over UDP by reason, over TCP.
 */
export type ThreadStats = Float64Array

const reasons: readonly DropReason[] = ['not-a-query', 'send-failed', 'slow-client', 'too-many-connections', 'overload']
const codes = 17
const transports = ['udp', 'tcp'] as const
const dropsAt = transports.length * codes

/** New counters, all 0. */
export function makeStatsBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(8 * (dropsAt + transports.length * reasons.length))
}

/** Adds to a thread's counters. */
export function statsObserver(stats: ThreadStats): ServerObserver {
  const add = (at: number) => {
    stats[at] = (stats[at] ?? 0) + 1
  }
  return {
    answered: ({ transport, rcode }) => add((transport === 'udp' ? 0 : codes) + Math.min(rcode, codes - 1)),
    dropped: ({ transport, reason }) =>
      add(dropsAt + (transport === 'udp' ? 0 : reasons.length) + reasons.indexOf(reason)),
  }
}

/** Shows the sums in `registry`. Listed in discovery/README.md. */
export function observeThreads(registry: Registry, threads: readonly ThreadStats[]): void {
  const sum = (at: number) => threads.reduce((total, stats) => total + (stats[at] ?? 0), 0)
  const counter = (name: string, help: string, labels: readonly [string, readonly string[], number]) => {
    const [label, values, from] = labels
    new Counter({
      name,
      help,
      labelNames: ['transport', label],
      registers: [registry],
      collect() {
        this.reset()
        for (const [t, transport] of transports.entries()) {
          for (const [v, value] of values.entries()) {
            const total = sum(from + t * values.length + v)
            if (total > 0) this.inc({ transport, [label]: value }, total)
          }
        }
      },
    })
  }
  const rcodes = Array.from({ length: codes }, (_, code) => formatRcode(code))
  counter('dns_answers_total', 'Responses sent, by transport and response code', ['rcode', rcodes, 0])
  counter('dns_drops_total', 'Packets and connections that got no answer, by reason', ['reason', reasons, dropsAt])
}
