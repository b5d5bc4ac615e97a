import { type Ip, ipFamily, type IpFamily, ipFromBytes, ipToBytes, ipv4ToNumber } from '../../core/base/ip.ts'
import { type Mac } from '../../core/model/ids.ts'
import { type Node } from '../../core/model/snapshot.ts'

/** Bits of a nexthop id that hold the node: its number within the VTEP pool, which may be as large as a /18. */
export const nodeBits = 14

/** Bits of a nexthop id that hold the network: its VNI modulo 65536. */
export const vniBits = 16

/**
 * A node's number: the low 14 bits of its IPv4 VTEP address (of the first address where it has no IPv4 one). The master
 * gives each node its own address out of one pool, lowest free first, so no two nodes have the same.
 */
export function nodeNumber(node: Node): number {
  const ipv4 = node.vtep.addresses.find((each) => ipFamily(each) === 4)
  if (ipv4 !== undefined) return ipv4ToNumber(ipv4) & ((1 << nodeBits) - 1)
  const [address] = node.vtep.addresses
  if (address === undefined) return 0
  const bytes = ipToBytes(address)
  return (((bytes.at(-2) ?? 0) << 8) | (bytes.at(-1) ?? 0)) & ((1 << nodeBits) - 1)
}

/**
 * Id of the nexthop object to a node in a network: `1 | IPv6? | VNI (16 bits) | node number (14 bits)`. It follows from
 * the allocation alone, so that a restarted daemon, which remembers nothing, finds its objects again under the same
 * ids. The top bit keeps it away from ids that the kernel and other programs count up from 1. Two VNIs that are equal
 * modulo 65536, or two nodes with one number, would share an id: {@link overlayProblems} finds these.
 */
export function nexthopId({ vni, number, family }: { vni: number; number: number; family: IpFamily }): number {
  const network = vni & ((1 << vniBits) - 1)
  return (0x80000000 + (family === 6 ? 0x40000000 : 0) + network * (1 << nodeBits) + number) >>> 0
}

/** Stands for the VNI in the ids of nexthops that go direct; {@link overlayProblems} finds a network that has it. */
export const directVni = 0

/** True for an id that {@link nexthopId} gives with {@link directVni}. */
export function isDirectId(id: number): boolean {
  return id >= 0x80000000 && ((id >>> nodeBits) & ((1 << vniBits) - 1)) === directVni
}

/**
 * The gateway of IPv6 nexthops: the link-local address that a device with this MAC has (RFC 4291 appendix A, modified
 * EUI-64). Not the VTEP address: the kernel refuses a global one once another device has a route to it
 * (net/ipv6/route.c, ip6_route_check_nh_onlink: "invalid gateway or device mismatch"), and every network has its device.
 */
export function linkLocalAddress(mac: Mac): Ip {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac.split(':').map((octet) => Number.parseInt(octet, 16))
  return ipFromBytes(Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f))
}
