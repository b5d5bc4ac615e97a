import { type IpFamily, ipFamily } from '../core/base/ip.ts'
import { type ConntrackTable, type Flow } from '../networking/netlink/conntrack.ts'
import { type BalancedFlow, type Conntrack } from './dataplane.ts'

/** IPPROTO_*, include/uapi/linux/in.h */
const protocolNumber = { tcp: 6, udp: 17 } as const

/** Over so many of one kind, the kernel's table is walked once for all rather than once for each. */
const askedSingly = 4

/** The kernel's connection tracking, as the data plane needs it. The table stays its opener's. */
export function openLbConntrack(table: Pick<ConntrackTable, 'forget'>): Conntrack {
  return {
    forget: async (flows, { signal }) => {
      for (const family of [4, 6] as const) {
        for (const protocol of ['tcp', 'udp'] as const) {
          signal.throwIfAborted()
          const of = flows.filter(({ server }) => server.protocol === protocol && ipFamily(server.address) === family)
          if (of.length <= askedSingly) for (const flow of of) await forgetOne(table, family, flow)
          else await forgetMany(table, { family, protocol: protocolNumber[protocol] }, of)
        }
      }
    },
  }
}

async function forgetOne(
  table: Pick<ConntrackTable, 'forget'>,
  family: IpFamily,
  { server, backend }: BalancedFlow,
): Promise<void> {
  await table.forget({
    family,
    protocol: protocolNumber[server.protocol],
    original: { destination: server.address, destinationPort: server.port },
    reply: { source: backend.address, sourcePort: backend.port },
  })
}

async function forgetMany(
  table: Pick<ConntrackTable, 'forget'>,
  filter: { readonly family: IpFamily; readonly protocol: number },
  flows: readonly BalancedFlow[],
): Promise<void> {
  const gone = new Set(
    flows.map(({ server, backend }) => `${server.address} ${server.port} ${backend.address} ${backend.port}`),
  )
  const isGone = ({ original, reply }: Flow) =>
    gone.has(`${original.destination} ${original.destinationPort} ${reply.source} ${reply.sourcePort}`)
  await table.forget(filter, isGone)
}
