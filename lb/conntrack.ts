import { ipFamily } from '../core/base/ip.ts'
import { type ConntrackTable } from '../networking/netlink/conntrack.ts'
import { type Conntrack } from './dataplane.ts'

/** IPPROTO_*, include/uapi/linux/in.h */
const protocolNumber = { tcp: 6, udp: 17 } as const

/** The kernel's connection tracking, as the data plane needs it. The table stays its opener's. */
export function openLbConntrack(table: Pick<ConntrackTable, 'forget'>): Conntrack {
  return {
    forget: async (flows, { signal }) => {
      for (const { server, backend } of flows) {
        signal.throwIfAborted()
        await table.forget({
          family: ipFamily(server.address),
          protocol: protocolNumber[server.protocol],
          original: { destination: server.address, destinationPort: server.port },
          reply: { source: backend.address, sourcePort: backend.port },
        })
      }
    },
  }
}
