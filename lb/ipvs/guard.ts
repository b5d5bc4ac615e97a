/**
 * What nftables does beside IPVS, where the kernel has it: refuses what nothing serves, and translates the source of a
 * container's connection to itself.
 *
 * Where IPVS stands: it takes a packet for a VIP in hook input (priority 99, NF_IP_PRI_NAT_SRC - 1) when it came from
 * outside, in hook output (-98) when a program of the node sent it, and sends it on through output and postrouting with
 * the real server as its destination; a reply is taken in forward (100) or input (98). Source: net/netfilter/ipvs/ip_vs_core.c.
 */
import { type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { elementKey, type NftChainSpec, type NftSetDefinition, type NftTableSpec } from '../../networking/nft/table.ts'
import { type CountedElements, elementsOf, type LbElement } from '../counted.ts'
import { type VirtualServer } from '../dataplane.ts'
import { refuseInput, type VipPing } from '../refuse.ts'

/** `address` every VIP; `none` VIP, protocol, port without a backend of weight over 0; `hairpin` addresses of local containers, each with itself. */
type GuardRole = 'address' | 'none' | 'hairpin'

/** Name of a set: `lb-address4`. Those that the nftables data plane has too mean the same there. */
export function guardSet(role: GuardRole, family: IpFamily): string {
  return `lb-${role}${family}`
}

const families: readonly IpFamily[] = [4, 6]
const header = { 4: 'ip', 6: 'ip6' } as const
const addressType = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const

const guardSets: readonly NftSetDefinition[] = families.flatMap((family) => {
  const address = addressType[family]
  const set = (role: GuardRole, ...key: readonly string[]): NftSetDefinition => {
    return { name: guardSet(role, family), kind: 'set', key, value: [], interval: false }
  }
  return [set('address', address), set('none', address, 'inet_proto', 'inet_service'), set('hairpin', address, address)]
})

const guardChains = (ping: VipPing): readonly NftChainSpec[] => [
  // Before IPVS, which would answer with an ICMP error; the kernel sends one host few of those, a reset always.
  { name: 'lb-vs-none-input', base: { type: 'filter', hook: 'input', priority: 90 }, rules: noneRules() },
  { name: 'lb-vs-none-output', base: { type: 'filter', hook: 'output', priority: -110 }, rules: noneRules() },
  refuseInput('lb-vs-input', ping),
  {
    // Only a connection that comes back to its own source: the container would take the packet for its own. Everything
    // else keeps its source, and replies pass this node, because the client is on it or sends through it.
    name: 'lb-vs-postrouting',
    base: { type: 'nat', hook: 'postrouting', priority: 100 }, // NF_IP_PRI_NAT_SRC
    rules: families.map((family) => ({
      name: `hairpin${family}`,
      text: `${header[family]} saddr . ${header[family]} daddr @${guardSet('hairpin', family)} counter masquerade`,
    })),
  },
]

/** `ct state new`: connections that a backend of weight 0 still has go on. */
function noneRules() {
  return families.flatMap((family) => {
    const match = `ct state new ${header[family]} daddr . meta l4proto . th dport @${guardSet('none', family)}`
    return [
      { name: `none-tcp${family}`, text: `${match} meta l4proto tcp counter reject with tcp reset` },
      { name: `none${family}`, text: `${match} counter reject` },
    ]
  })
}

/** The elements of one virtual server. */
export function guardElements({ address, port, protocol, backends }: VirtualServer): readonly LbElement[] {
  const family = ipFamily(address)
  const of = (role: GuardRole, key: string): LbElement => ({ set: guardSet(role, family), key, value: '' })
  const active = backends.filter(({ weight }) => weight > 0)
  const local = active.filter((backend) => backend.local === true)
  return [
    of('address', address),
    ...(active.length > 0 ? [] : [of('none', elementKey(address, protocol, port))]),
    ...local.map((backend) => of('hairpin', elementKey(backend.address, backend.address))),
  ]
}

/** The whole table's part, for the audit. */
export function desiredGuardTable(elements: CountedElements, ping: VipPing): NftTableSpec {
  const sets = guardSets.map((set) => ({ ...set, elements: elementsOf(elements, set.name) }))
  return { sets, chains: guardChains(ping) }
}
