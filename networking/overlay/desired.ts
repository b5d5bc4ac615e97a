import { familyBits, type Ip, type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, type Network, type Node } from '../../core/model/snapshot.ts'
import { routeProtocol, vxlanOverheadBytes, vxlanPort } from '../protocol.ts'
import { desiredRemote } from './desired-remote.ts'
import { type DirectWay } from './direct.ts'
import { type OverlayObject, overlayKey, type OverlayState, unreachableMetric, vxlanDeviceName } from './objects.ts'

/** What the overlay of a node follows from, beside the snapshot. */
export interface OverlayInputs {
  readonly self: NodeName
  /** MTU of the device that reaches the other nodes. */
  readonly underlayMtuBytes: number
  /** Absent: every other node is reached through VXLAN. */
  readonly direct?: DirectWay
  /** What a probe found to pass on the way to a node, in octets of the underlay; absent for a node: the whole MTU. */
  readonly pathMtuBytes?: ReadonlyMap<NodeName, number>
}

/** What all objects of one node share; made once for each snapshot. */
export interface OverlayContext {
  readonly self: Node
  readonly networks: ClusterSnapshot['networks']
  /** The one network through which VTEP addresses are routed: `dcos`, else that of the lowest VNI. */
  readonly vtepNetwork: Network | undefined
  /** IP versions that some network has. Of VTEP addresses only these count: a machine may have IPv6 turned off. */
  readonly families: ReadonlySet<IpFamily>
  /** This node's VTEP addresses, which packets of its own to containers come from. */
  readonly sources: { readonly 4?: Ip; readonly 6?: Ip }
  readonly mtuBytes: number
  readonly inputs: OverlayInputs
}

/** @returns undefined while the node itself is not in the snapshot: then nothing is wanted */
export function overlayContext(snapshot: ClusterSnapshot, inputs: OverlayInputs): OverlayContext | undefined {
  const self = snapshot.nodes.get(inputs.self)
  if (self === undefined) return undefined
  const networks = [...snapshot.networks.values()]
  const lowest = networks.reduce<Network | undefined>((a, b) => (a === undefined || b.vni < a.vni ? b : a), undefined)
  return {
    self,
    networks: snapshot.networks,
    vtepNetwork: networks.find(({ name }) => name === 'dcos') ?? lowest,
    families: new Set(networks.flatMap(({ subnets }) => subnets.map(ipFamily))),
    sources: Object.fromEntries(self.vtep.addresses.toReversed().map((address) => [ipFamily(address), address])),
    mtuBytes: inputs.underlayMtuBytes - vxlanOverheadBytes[ipFamily(self.underlay)],
    inputs,
  }
}

/** All that the node must have so that containers of other nodes are reachable. */
export function desiredOverlay(snapshot: ClusterSnapshot, inputs: OverlayInputs): OverlayState {
  const state = new Map<string, OverlayObject>()
  for (const object of desiredObjects(snapshot, inputs)) state.set(overlayKey(object), object)
  return state
}

/** The same as a list: where nothing is there to compare with, 50,000 keys need not be made. */
export function desiredObjects(snapshot: ClusterSnapshot, inputs: OverlayInputs): readonly OverlayObject[] {
  const context = overlayContext(snapshot, inputs)
  if (context === undefined) return []
  const objects = [...snapshot.networks.values()].flatMap((network) => desiredNetwork(context, network))
  for (const node of snapshot.nodes.values()) {
    for (const object of desiredRemote(context, node)) objects.push(object)
  }
  return objects
}

/**
 * A network's device on this node, its addresses, and the refusal of what no node has: without it a packet to an unused
 * address, of this node's subnet or of a subnet that nobody has, would leave by the host's default route.
 */
export function desiredNetwork(
  { self, families, mtuBytes }: OverlayContext,
  network: Network,
): readonly OverlayObject[] {
  const device = vxlanDeviceName(network.vni)
  const { mac } = self.vtep
  const addresses = self.vtep.addresses.filter((address) => families.has(ipFamily(address)))
  const link = { name: device, vni: network.vni, local: self.underlay, udpPort: vxlanPort, mtuBytes, mac }
  return [
    { kind: 'link', device, link: { ...link, learning: false, up: true } },
    ...addresses.map((address): OverlayObject => {
      const prefixLength = familyBits(ipFamily(address))
      return { kind: 'address', device, address: { device, address, prefixLength } }
    }),
    ...network.subnets.map((destination): OverlayObject => {
      const protocol = routeProtocol
      const route = { destination, type: 'unreachable', protocol, table: 254, metric: unreachableMetric } as const
      return { kind: 'route', device: '', route }
    }),
  ]
}
