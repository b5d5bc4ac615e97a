/**
 * The data plane's chains and sets in Weft's table. A first packet for a VIP costs two hash lookups, however many VIPs
 * there are: service → chain for its number of slots → slot, chosen at random (or in turn, or by the client's address) → the
 * slot's map: service → backend. A backend of weight 2 has two slots where another has one (shares.ts). So a
 * backend's coming or going changes a few elements in one transaction and no rule. Later packets follow conntrack and look
 * up nothing.
 *
 * Rejected: a chain for each service (kube-proxy's way): each change makes and destroys an anonymous map and a rule, and
 * 10,000 services are 10,000 chains to read back. A fixed number of slots for each service: unequal shares, or much memory.
 * One map whose key has the slot (`… . numgen random mod 3`): it needs a `typeof` declaration, and nft 1.0.6 takes no rule
 * that looks in such a map once the map is in the kernel ("conflicting protocols specified: tcp vs. th").
 */
import { type IpFamily } from '../../core/base/ip.ts'
import { type NftChainSpec, type NftSetDefinition } from '../../networking/nft/table.ts'
import { refuseInput, type VipPing } from '../refuse.ts'
import { type Pick, type PickMethod } from './shares.ts'

/** Prefix of the names of this part's objects in Weft's table. */
export const lbOwner = 'lb-'

/**
 * What each set or map holds, one for each IP version (and of slots one for each number):
 * `service` VIP, protocol, port → chain; `slot` the same → a backend's address and port; `draining` backends of weight 0,
 * looked up by no packet: it tells readers which they are; `address` every VIP; `hairpin` addresses of local containers,
 * each with itself.
 */
export type SetRole = 'service' | 'draining' | 'address' | 'hairpin'

/** Name of a set or map: `lb-service4`. */
export function setName(role: SetRole, family: IpFamily): string {
  return `${lbOwner}${role}${family}`
}

/** Name of a slot's map, and of the chain that looks in it: `lb-slot4-0`. */
export function slotName(family: IpFamily, slot: number): string {
  return `${slotPrefix(family)}${slot}`
}

/** What the names of a family's slots begin with. */
export function slotPrefix(family: IpFamily): string {
  return `${lbOwner}slot${family}-`
}

const pickWord: Readonly<Record<PickMethod, string>> = { random: 'pick', turn: 'turn', source: 'source' }

/** Where services with `size` slots lead: `lb-pick4-3`, `lb-turn4-3`, `lb-source4-3`. */
export function pickName(family: IpFamily, { method, size }: Pick): string {
  return `${lbOwner}${pickWord[method]}${family}-${size}`
}

/** What chooses in the chain of this name: the inverse of {@link pickName}; undefined for the name of another chain. */
export function pickMethod(name: string): PickMethod | undefined {
  const [, word] = /^lb-([a-z]+)[46]-\d+$/.exec(name) ?? []
  return pickMethods.find((method) => pickWord[method] === word)
}

const pickMethods: readonly PickMethod[] = ['random', 'turn', 'source']

/** Where services without any such backend lead. */
export const refuseChain = `${lbOwner}none`

const families: readonly IpFamily[] = [4, 6]
const header = { 4: 'ip', 6: 'ip6' } as const
const addressType = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const
const serviceTypes = (family: IpFamily) => [addressType[family], 'inet_proto', 'inet_service']
const service = (family: IpFamily) => `${header[family]} daddr . meta l4proto . th dport`

/** Definitions of all sets and maps but those of slots. */
export const lbSets: readonly NftSetDefinition[] = families.flatMap((family) => {
  const set = (role: SetRole, key: readonly string[], value: readonly string[] = []): NftSetDefinition => ({
    name: setName(role, family),
    kind: value.length === 0 ? 'set' : 'map',
    key,
    value,
    interval: false,
  })
  const address = addressType[family]
  return [
    set('service', serviceTypes(family), ['verdict']),
    set('draining', [...serviceTypes(family), address, 'inet_service']),
    set('address', [address]),
    set('hairpin', [address, address]),
  ]
})

/** The map of one slot. */
export function slotMap(family: IpFamily, slot: number): NftSetDefinition {
  const value = [addressType[family], 'inet_service']
  return { name: slotName(family, slot), kind: 'map', key: serviceTypes(family), value, interval: false }
}

/** The chain that sends a connection to the backend that its service has in this slot, and comes back if there is none. */
export function slotChain(family: IpFamily, slot: number): NftChainSpec {
  const name = slotName(family, slot)
  const text = `meta l4proto { tcp, udp } dnat ${header[family]} to ${service(family)} map @${name}`
  return { name, rules: [{ name: 'backend', text }] }
}

/**
 * The chain that chooses among `size` slots. It ends in slot 0 for the instant in which a transaction takes a slot away
 * between this packet's lookup of the service and that of the slot: slot 0 is there as long as there is any. Services of one
 * size take their turns together. By source: with one seed, so that each node and each start chooses the same.
 */
export function pickChain(family: IpFamily, pick: Pick): NftChainSpec {
  const { method, size } = pick
  const jumps = Array.from({ length: size }, (_, slot) => `${slot} : jump ${slotName(family, slot)}`)
  const number: Readonly<Record<PickMethod, string>> = {
    random: `numgen random mod ${size}`,
    turn: `numgen inc mod ${size}`,
    source: `jhash ${header[family]} saddr mod ${size} seed 0x77656674`,
  }
  const choose = { name: method, text: `${number[method]} vmap { ${jumps.join(', ')} }` }
  const first = { name: 'first', text: `goto ${slotName(family, 0)}` }
  return { name: pickName(family, pick), rules: size === 1 ? [first] : [choose, first] }
}

/** All chains but those that choose. */
export const lbChains = (ping: VipPing): readonly NftChainSpec[] => [
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
  refuseInput(`${lbOwner}input`, ping),
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
