/**
 * Port mappings in Weft's table. A first packet costs two hash lookups, however many mappings there are; later packets
 * follow conntrack. Maps: `pm-host` host address, protocol, port → container; `pm-any` protocol, port → container, for any
 * address of the node (`fib daddr type local`), but those in `pm-except`: VIPs, whose routes make them local too, and the
 * node's DNS address.
 *
 * The reply needs no help: a mapping leads to a container of this node only, so it comes back this way. So the client's
 * address is kept, but where the container would take its own or a loopback address for the client: those are masqueraded.
 *
 * Rejected: a chain for each container, as the reference plugin has: each change makes and destroys rules, and a packet
 * passes all of them.
 */
import { type Ip, type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { elementKey, type NftChainSpec, type NftSet, type NftTableSpec } from '../nft/table.ts'
import { linkPrefix } from '../protocol.ts'
import { type PortMapping } from './mapping.ts'

/** Prefix of the names of this part's objects in Weft's table. */
export const portmapOwner = 'pm-'

const families: readonly IpFamily[] = [4, 6]
const header = { 4: 'ip', 6: 'ip6' } as const
const addressType = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const
const containers = `"${linkPrefix}c*"`
const protocols = 'meta l4proto { tcp, udp, sctp }'

/** Elements that belong together: key → value, by name of the set. */
export type PortmapElements = ReadonlyMap<string, ReadonlyMap<string, string>>

/** What the sets hold for these mappings and exceptions. Every set is there, also when it is empty. */
export function portmapElements(mappings: readonly PortMapping[], except: Iterable<Ip>): PortmapElements {
  const elements = new Map(portmapSets.map(({ name }) => [name, new Map<string, string>()]))
  const put = (set: string, key: string, value = '') => elements.get(set)?.set(key, value)
  for (const { family, protocol, hostIp, hostPort, address, containerPort } of mappings) {
    const target = elementKey(address, containerPort)
    if (hostIp === undefined) put(`pm-any${family}`, elementKey(protocol, hostPort), target)
    else put(`pm-host${family}`, elementKey(hostIp, protocol, hostPort), target)
    put(`pm-self${family}`, elementKey(address, address))
  }
  for (const address of except) put(`pm-except${ipFamily(address)}`, address)
  return elements
}

/** The whole of this part of the table. */
export function desiredPortmap(elements: PortmapElements): NftTableSpec {
  return {
    sets: portmapSets.map((set): NftSet => ({ ...set, elements: elements.get(set.name) ?? new Map() })),
    chains: portmapChains,
  }
}

const portmapSets: readonly Omit<NftSet, 'elements'>[] = families.flatMap((family) => {
  const address = addressType[family]
  const set = (role: string, key: readonly string[], value: readonly string[] = []) => ({
    ...{ name: `${portmapOwner}${role}${family}`, key, value, interval: false },
    kind: value.length === 0 ? ('set' as const) : ('map' as const),
  })
  const target = [address, 'inet_service']
  return [
    set('host', [address, 'inet_proto', 'inet_service'], target),
    set('any', ['inet_proto', 'inet_service'], target),
    set('except', [address]),
    set('self', [address, address]),
  ]
})

const portmapChains: readonly NftChainSpec[] = [
  {
    // Loopback addresses are let through from containers' links (route_localnet), so that replies to the node's own
    // connections pass. A container must not reach the node's loopback services by that. Before conntrack and translation
    // (NF_IP_PRI_RAW), where a reply still has the masqueraded address.
    name: `${portmapOwner}guard`,
    base: { type: 'filter', hook: 'prerouting', priority: -300 },
    rules: [{ name: 'loopback', text: `iifname ${containers} ip daddr 127.0.0.0/8 counter drop` }],
  },
  natChain('prerouting'),
  natChain('output'),
  {
    name: `${portmapOwner}postrouting`,
    base: { type: 'nat', hook: 'postrouting', priority: 105 },
    rules: [
      ...families.map((family) => ({
        name: `hairpin${family}`,
        text: `ct status dnat ${header[family]} saddr . ${header[family]} daddr @pm-self${family} counter masquerade`,
      })),
      { name: 'loopback', text: `ct status dnat oifname ${containers} ip saddr 127.0.0.0/8 counter masquerade` },
    ],
  },
]

/** Behind the VIPs' chain (-100): what that one has translated never comes here. */
function natChain(hook: 'prerouting' | 'output'): NftChainSpec {
  return {
    name: `${portmapOwner}${hook}`,
    base: { type: 'nat', hook, priority: -95 },
    rules: families.flatMap((family) => {
      const ip = header[family]
      const [port, except] = ['meta l4proto . th dport', `fib daddr type local ${ip} daddr != @pm-except${family}`]
      return [
        { name: `host${family}`, text: `${protocols} dnat ${ip} to ${ip} daddr . ${port} map @pm-host${family}` },
        { name: `any${family}`, text: `${except} ${protocols} dnat ${ip} to ${port} map @pm-any${family}` },
      ]
    }),
  }
}
