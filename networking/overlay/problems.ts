import { type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { type ClusterSnapshot, type Network, type Node } from '../../core/model/snapshot.ts'
import { type OverlayContext } from './desired.ts'
import { directVni, nodeNumber, vniBits } from './remote-ids.ts'

/** Least MTU of IPv6: RFC 8200 section 5. The kernel turns IPv6 off on devices with less. */
const ipv6MinimumMtuBytes = 1280

/**
 * What in a snapshot can't be programmed, in words that name both sides. The master never makes such a snapshot; when it
 * does, this says why some nodes can't be reached, instead of silence.
 */
export function overlayProblems(snapshot: ClusterSnapshot, context: OverlayContext): readonly string[] {
  const networks = [...snapshot.networks.values()]
  const nodes = [...snapshot.nodes.values()]
  const ipv6 = networks.some(({ subnets }) => subnets.some((subnet) => ipFamily(subnet) === 6))
  const narrow = ipv6 && context.mtuBytes < ipv6MinimumMtuBytes
  return [
    ...duplicates(networks, ({ vni }) => vni % (1 << vniBits)).map(sharedVni),
    ...networks.filter(({ vni }) => vni % (1 << vniBits) === directVni).map(directNetwork),
    ...duplicates(nodes, nodeNumber).map(sharedNumber),
    ...duplicates(nodes, ({ vtep }) => vtep.mac).map(sharedMac),
    ...nodes.filter((node) => !isReachable(context, node)).flatMap((node) => unreachableNode(context, node)),
    ...(narrow
      ? [`the overlay's MTU is ${context.mtuBytes}, but IPv6 needs ${ipv6MinimumMtuBytes}: raise the underlay's`]
      : []),
  ]
}

/** Asked of each audit, of ten thousand nodes: nothing is made for those that are as they should be. */
function duplicates<T>(items: readonly T[], keyOf: (item: T) => string | number): readonly (readonly [T, T])[] {
  const seen = new Map<string | number, T>()
  const found: (readonly [T, T])[] = []
  for (const item of items) {
    const key = keyOf(item)
    const other = seen.get(key)
    if (other === undefined) seen.set(key, item)
    else found.push([other, item])
  }
  return found
}

function sharedVni([a, b]: readonly [Network, Network]): string {
  return `networks ${a.name} and ${b.name} have the VNIs ${a.vni} and ${b.vni}, equal modulo 65536: give one another`
}

function directNetwork({ name, vni }: Network): string {
  return `network ${name} has the VNI ${vni}, a multiple of 65536, which stands for direct routes: give it another`
}

function sharedNumber([a, b]: readonly [Node, Node]): string {
  return `nodes ${a.name} and ${b.name} have VTEP addresses with equal low 14 bits: use one pool of at most /18`
}

function sharedMac([a, b]: readonly [Node, Node]): string {
  return `nodes ${a.name} and ${b.name} have the same VTEP MAC ${a.vtep.mac}: remove one of them and let it join again`
}

/** The usual case: an IPv4 VTEP address, and an underlay of the same IP version. */
function isReachable({ self }: OverlayContext, { vtep, underlay }: Node): boolean {
  return ipFamily(underlay) === ipFamily(self.underlay) && vtep.addresses.some((address) => ipFamily(address) === 4)
}

function unreachableNode({ self }: OverlayContext, node: Node): readonly string[] {
  if (node.name === self.name) return []
  const families = new Set<IpFamily>(node.subnets.flatMap(({ subnets }) => subnets.map(ipFamily)))
  const gateless = families.has(4) && !node.vtep.addresses.some((address) => ipFamily(address) === 4)
  const apart = ipFamily(node.underlay) !== ipFamily(self.underlay)
  return [
    ...(gateless
      ? [`node ${node.name} has IPv4 subnets but no IPv4 VTEP address: its IPv4 subnets have no route`]
      : []),
    ...(apart ? [`node ${node.name} is at ${node.underlay}, which ${self.underlay} can't send VXLAN packets to`] : []),
  ]
}
