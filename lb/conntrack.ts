import { ipFamily } from '../core/base/ip.ts'
import { type ConntrackTable, type Flow, type FlowFilter } from '../networking/netlink/conntrack.ts'
import { type BalancedFlow, type Conntrack } from './dataplane.ts'

/** IPPROTO_*, include/uapi/linux/in.h */
const protocolNumber = { tcp: 6, udp: 17 } as const

/** Over so many of one kind, the kernel's table is walked once for all rather than once for each. */
const askedSingly = 4

/** IPS_SEEN_REPLY, include/uapi/linux/netfilter/nf_conntrack_common.h */
const IPS_SEEN_REPLY = 2

/** Which of the flows to a backend. */
type Choice = (flow: Flow) => boolean

const all: Choice = () => true
const unanswered: Choice = ({ status = 0 }) => (status & IPS_SEEN_REPLY) === 0

/** The kernel's connection tracking, as the data plane needs it. The table stays its opener's. */
export function openLbConntrack(table: Pick<ConntrackTable, 'forget'>): Conntrack {
  const forget = async (flows: readonly BalancedFlow[], choice: Choice, signal: AbortSignal) => {
    for (const family of [4, 6] as const) {
      for (const protocol of ['tcp', 'udp'] as const) {
        signal.throwIfAborted()
        const of = flows.filter(({ server }) => server.protocol === protocol && ipFamily(server.address) === family)
        const among = isAmong(of)
        const filter = { family, protocol: protocolNumber[protocol] }
        if (of.length <= askedSingly) for (const flow of of) await table.forget({ ...filter, ...endsOf(flow) }, choice)
        else await table.forget(filter, (flow) => choice(flow) && among(flow))
      }
    }
  }
  return {
    forget: (flows, { signal }) => forget(flows, all, signal),
    forgetUnanswered: (flows, { signal }) => forget(flows, unanswered, signal),
  }
}

function endsOf({ server, backend }: BalancedFlow): Pick<FlowFilter, 'original' | 'reply'> {
  return {
    original: { destination: server.address, destinationPort: server.port },
    reply: { source: backend.address, sourcePort: backend.port },
  }
}

function isAmong(flows: readonly BalancedFlow[]): Choice {
  const gone = new Set(
    flows.map(({ server, backend }) => `${server.address} ${server.port} ${backend.address} ${backend.port}`),
  )
  return ({ original, reply }) =>
    gone.has(`${original.destination} ${original.destinationPort} ${reply.source} ${reply.sourcePort}`)
}
