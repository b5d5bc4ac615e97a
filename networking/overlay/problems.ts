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
    ...duplicates(networks, ({ vni }) => String(vni % (1 << vniBits))).map(sharedVni),
    ...networks.filter(({ vni }) => vni % (1 << vniBits) === directVni).map(directNetwork),
    ...duplicates(nodes, (node) => String(nodeNumber(node))).map(sharedNumber),
    ...duplicates(nodes, ({ vtep }) => vtep.mac).map(sharedMac),
    ...nodes.flatMap((node) => unreachableNode(context, node)),
    ...(narrow
      ? [`the overlay's MTU is ${context.mtuBytes}, but IPv6 needs ${ipv6MinimumMtuBytes}: raise the underlay's`]
      : []),
  ]
}

function duplicates<T>(items: readonly T[], keyOf: (item: T) => string): readonly (readonly [T, T])[] {
  const seen = new Map<string, T>()
  return items.flatMap((item) => {
    const other = seen.get(keyOf(item))
    if (other === undefined) seen.set(keyOf(item), item)
    return other === undefined ? [] : [[other, item] as const]
  })
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
