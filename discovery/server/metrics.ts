import { Counter, type Registry } from 'prom-client'
import { formatRcode } from '../dns/presentation.ts'
import { type ServerObserver } from './respond.ts'

/** Counts answers by response code and drops by reason, in `registry`. Listed in discovery/README.md. */
export function observeDnsServer(registry: Registry): ServerObserver {
  const answers = new Counter({
    name: 'dns_answers_total',
    help: 'Responses sent, by transport and response code',
    labelNames: ['transport', 'rcode'],
    registers: [registry],
  })
  const drops = new Counter({
    name: 'dns_drops_total',
    help: 'Packets and connections that got no answer, by transport and reason',
    labelNames: ['transport', 'reason'],
    registers: [registry],
  })
  return {
    answered: ({ transport, rcode }) => answers.inc({ transport, rcode: formatRcode(rcode) }),
    dropped: ({ transport, reason }) => drops.inc({ transport, reason }),
  }
}
