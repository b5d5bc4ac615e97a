import { cidrContains, cidrOf } from '../../core/base/cidr.ts'
import { type Cidr, familyBits, type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { type Node } from '../../core/model/snapshot.ts'
import { type Address } from '../netlink/ops.ts'

/**
 * When a node's containers are reached by a route through its underlay address, without VXLAN. `auto`: when that address
 * lies in a prefix of the underlay device, so that no router is in between, which would not know containers. `always`:
 * also without such a prefix, for segments whose prefixes are not on the device. `never`: VXLAN for all.
 */
export type DirectRouting = 'auto' | 'always' | 'never'

/** What direct routes follow from; none are wanted without it. */
export interface DirectWay {
  readonly mode: 'auto' | 'always'
  /** The underlay device. */
  readonly device: string
  /** Its connected prefixes. */
  readonly onLink: readonly Cidr[]
}

/** The connected prefixes of a device: not of single addresses, nor link-local ones, which every segment has. */
export function connectedPrefixes(addresses: readonly Address[], device: string): readonly Cidr[] {
  const there = addresses.filter((each) => each.device === device && !/^fe[89ab]/.test(each.address))
  const shared = there.filter(({ address, prefixLength }) => prefixLength < familyBits(ipFamily(address)))
  return [...new Set(shared.map(({ address, prefixLength }) => cidrOf(address, prefixLength)))].toSorted()
}

/** @returns undefined for `never` */
export function directWay(
  mode: DirectRouting,
  { device, addresses }: { readonly device: string; readonly addresses: readonly Address[] },
): DirectWay | undefined {
  return mode === 'never' ? undefined : { mode, device, onLink: connectedPrefixes(addresses, device) }
}

/** True when the node's underlay address needs no router. Both machines must be of one IP version. */
export function isDirect(way: DirectWay | undefined, { self, node }: { readonly self: Node; readonly node: Node }) {
  if (way === undefined || ipFamily(node.underlay) !== ipFamily(self.underlay)) return false
  return way.mode === 'always' || way.onLink.some((prefix) => cidrContains(prefix, node.underlay))
}

/**
 * True when a gateway of one IP version can take packets of another: IPv4 through an IPv6 gateway can (RFC 5549), IPv6
 * through an IPv4 one can't, and goes through VXLAN.
 */
export function canCarry(gateway: IpFamily, packet: IpFamily): boolean {
  return gateway === 6 || packet === 4
}
