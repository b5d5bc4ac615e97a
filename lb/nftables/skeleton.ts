/**
 * The data plane's chains and sets in Weft's table. A first packet for a VIP costs two hash lookups, however many VIPs
 * there are: service → chain for its number of backends → slot, chosen at random → backend. So a backend's coming or going
 * changes a few elements in one transaction and no rule. Later packets follow conntrack and look up nothing.
 *
 * Rejected: a chain for each service (kube-proxy's way): each change makes and destroys an anonymous map and a rule, and
 * 10,000 services are 10,000 chains to read back. A fixed number of slots for each service: unequal shares, or much memory.
 */
import { type IpFamily } from '../../core/base/ip.ts'
import { type NftChainSpec, type NftRuleSpec, type NftSetDefinition } from '../../networking/nft/table.ts'

/** Prefix of the names of this part's objects in Weft's table. */
export const lbOwner = 'lb-'

/**
 * What each set or map holds, one for each IP version:
 * `service` VIP, protocol, port → chain; `backend` the same and a slot number → address and port; `draining` backends of
 * weight 0, looked up by no packet: it tells readers which they are; `address` every VIP; `hairpin` addresses of local
 * containers, each with itself.
 */
export type SetRole = 'service' | 'backend' | 'draining' | 'address' | 'hairpin'

/** Name of a set or map: `lb-service4`. */
export function setName(role: SetRole, family: IpFamily): string {
  return `${lbOwner}${role}${family}`
}

/** Where services with `size` backends of weight over 0 lead: `lb-pick4-3`. */
export function pickChain(family: IpFamily, size: number): string {
  return `${lbOwner}pick${family}-${size}`
}

/** Where services without any such backend lead. */
export const refuseChain = `${lbOwner}none`

const families: readonly IpFamily[] = [4, 6]
const header = { 4: 'ip', 6: 'ip6' } as const
const service = (family: IpFamily) => `${header[family]} daddr . meta l4proto . th dport`

/** Definitions of all sets and maps. */
export const lbSets: readonly NftSetDefinition[] = families.flatMap((family) => {
  const address = family === 4 ? 'ipv4_addr' : 'ipv6_addr'
  const port = ['inet_proto', 'inet_service']
  const plain = { interval: false }
  const slots = `${service(family)} . numgen random mod 2 : ${header[family]} daddr . th dport`
  const set = (role: SetRole, key: readonly string[]): NftSetDefinition => ({
    ...plain,
    name: setName(role, family),
    kind: 'set',
    key,
    value: [],
  })
  return [
    { ...plain, name: setName('service', family), kind: 'map', key: [address, ...port], value: ['verdict'] },
    {
      ...plain,
      name: setName('backend', family),
      kind: 'map',
      key: [address, ...port, 'integer'],
      value: [address, 'inet_service'],
      typeOf: slots, // "numgen random mod 2" stands for any slot number: it has no type of its own name
    },
    set('draining', [address, ...port, address, 'inet_service']),
    set('address', [address]),
    set('hairpin', [address, address]),
  ]
})

/**
 * The chain that chooses among `size` backends. Its second rule is for the instant in which a transaction takes a slot away
 * between this packet's lookup of the service and that of the slot: slot 0 is there as long as there is any.
 */
export function pickChainSpec(family: IpFamily, size: number): NftChainSpec {
  const choose = (name: string, modulus: number): NftRuleSpec => ({
    name,
    text:
      `meta l4proto { tcp, udp } dnat ${header[family]} to ` +
      `${service(family)} . numgen random mod ${modulus} map @${setName('backend', family)}`,
  })
  const rules = size === 1 ? [choose('only', 1)] : [choose('random', size), choose('first', 1)]
  return { name: pickChain(family, size), rules }
}

/** All chains but those that choose. */
export const lbChains: readonly NftChainSpec[] = [
  { name: refuseChain, rules: [{ name: 'none', text: 'counter' }] },
  natChain('prerouting', -100), // NF_IP_PRI_NAT_DST, include/uapi/linux/netfilter_ipv4.h
  natChain('output', -100),
  {
    // Only a connection that comes back to its own source: the source would take the reply's lack of translation for
    // another connection. Everything else keeps its source.
    name: `${lbOwner}postrouting`,
    base: { type: 'nat', hook: 'postrouting', priority: 100 }, // NF_IP_PRI_NAT_SRC
    rules: families.map((family) => ({
      name: `hairpin${family}`,
      text: `ct status dnat ${header[family]} saddr . ${header[family]} daddr @${setName('hairpin', family)} counter masquerade`,
    })),
  },
  {
    // What still has a VIP as its destination here was not translated: no such port, or no backend. The node's own
    // servers on the same port must not answer for it. A packet that conntrack can't place (late, out of window) is
    // dropped: refusing it would end a connection that is well.
    name: `${lbOwner}input`,
    base: { type: 'filter', hook: 'input', priority: 0 },
    rules: families.flatMap((family) => {
      const match = `${header[family]} daddr @${setName('address', family)}`
      const icmp = family === 4 ? 'icmp' : 'ipv6-icmp'
      return [
        { name: `invalid${family}`, text: `${match} ct state invalid counter drop` },
        { name: `refuse-tcp${family}`, text: `${match} meta l4proto tcp counter reject with tcp reset` },
        { name: `refuse${family}`, text: `${match} meta l4proto != ${icmp} counter reject` },
      ]
    }),
  },
]

function natChain(hook: 'prerouting' | 'output', priority: number): NftChainSpec {
  return {
    name: `${lbOwner}${hook}`,
    base: { type: 'nat', hook, priority },
    rules: families.map((family) => ({
      name: `service${family}`,
      text: `${service(family)} vmap @${setName('service', family)}`,
    })),
  }
}
