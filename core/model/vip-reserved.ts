import { cidrContains } from '../base/cidr.ts'
import { type Ip } from '../base/ip.ts'
import { type ClusterSnapshot } from './snapshot.ts'

/** What of the cluster uses addresses. */
export type AddressUsers = Pick<ClusterSnapshot, 'nodes' | 'networks'>

/** Addresses that mean something else on every machine. Sources: RFC 6890, networking/protocol.ts (DNS). */
const fixed: readonly (readonly [RegExp, string])[] = [
  [/^(198\.51\.100\.[123]|fd01:d::c633:640[123])$/, 'where each node answers DNS'],
  [/^(0\.|::$)/, 'unspecified'],
  [/^(127\.|::1$)/, 'of the loopback device'],
  [/^(169\.254\.|fe[89ab].:)/, 'link-local'],
  [/^(22[4-9]|23\d)\.|^ff..:/, 'multicast'],
  [/^(24\d|25[0-5])\./, 'reserved'],
]

/**
 * Why an address can't be a VIP, in words that go on "the address is …": made a VIP, it would take the traffic of a node, a
 * container or the name server away. Undefined: it may be one.
 */
export function reservedVipReason(address: Ip, { nodes, networks }: AddressUsers): string | undefined {
  const always = fixed.find(([pattern]) => pattern.test(address))
  if (always !== undefined) return always[1]
  for (const { name, underlay, vtep } of nodes.values()) {
    if (underlay === address) return `the address of node "${name}"`
    if (vtep.addresses.includes(address)) return `the VTEP address of node "${name}"`
  }
  for (const { name, subnets } of networks.values()) {
    const subnet = subnets.find((range) => cidrContains(range, address))
    if (subnet !== undefined) return `in ${subnet}, the range of network "${name}"`
  }
  return undefined
}

/** True for an address that the cluster itself uses. */
export function isReservedVip(address: Ip, users: AddressUsers): boolean {
  return reservedVipReason(address, users) !== undefined
}
