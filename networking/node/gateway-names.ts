/**
 * Containers may ask their gateway for names. The IPv4 one is an address of the node, on which the server listens; fe80::1
 * is one of each container's link, so the server would need a socket for each link. Its packets to port 53 are led to the
 * node's DNS address instead; conntrack gives replies the gateway's address back.
 *
 * Rejected: one socket on [::]:53, which keeps every other resolver of the machine from its port.
 */
import { formatNftOp, type NftOp } from '../nft/ops.ts'
import { type Nft } from '../nft/nft.ts'
import { planNftTable } from '../nft/plan.ts'
import { type NftTableSpec } from '../nft/table.ts'
import { containerGateway, dnsAddress6, linkPrefix } from '../protocol.ts'
import { type Stage } from './stage.ts'

/** Prefix of the names of this part's objects in Weft's table. */
const owner = 'gw-'

const desired: NftTableSpec = {
  sets: [],
  chains: [
    {
      name: `${owner}names`,
      // NF_IP_PRI_NAT_DST, before port mappings: a container that maps port 53 must not get others' questions.
      base: { type: 'nat', hook: 'prerouting', priority: -100 },
      rules: [
        {
          name: 'dns6',
          text: `iifname "${linkPrefix}c*" ip6 daddr ${containerGateway[6]} meta l4proto { tcp, udp } th dport 53 dnat ip6 to ${dnsAddress6}`,
        },
      ],
    },
  ],
}

/** Nothing of a snapshot changes it: it is made with the first, and the audit keeps it. */
export function openGatewayNamesStage({ nft, table }: { readonly nft: Nft; readonly table: string }): Stage {
  let made = false
  const ensure = async ({ signal }: { readonly signal: AbortSignal }): Promise<readonly NftOp[]> => {
    const ops = planNftTable({ owner, desired, actual: await nft.readTable(table, { signal }) })
    await nft.apply({ table, ops }, { signal })
    made = true
    return ops
  }
  return {
    name: 'gateway',
    plan: () => ({
      add: async (options) => {
        if (!made) await ensure(options)
      },
      remove: async () => undefined,
    }),
    audit: async (_snapshot, options) =>
      (await ensure(options)).map((op) => ({ stage: 'gateway', operation: `nft ${formatNftOp(table, op)}` })),
  }
}
