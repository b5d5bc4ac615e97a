import { cidrOf } from '../../core/base/cidr.ts'
import { familyBits, type Ip, type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, type Network, type Node } from '../../core/model/snapshot.ts'
import { type RouteSpec } from '../netlink/ops.ts'
import { routeProtocol, vxlanOverheadBytes, vxlanPort } from '../protocol.ts'
import {
  type OverlayObject,
  overlayKey,
  type OverlayState,
  remoteMetric,
  unreachableMetric,
  vxlanDeviceName,
} from './objects.ts'
import { linkLocalAddress, nexthopId, nodeNumber } from './remote-ids.ts'

/** What the overlay of a node follows from, beside the snapshot. */
export interface OverlayInputs {
  readonly self: NodeName
  /** MTU of the device that reaches the other nodes. */
  readonly underlayMtuBytes: number
}

/** What all objects of one node share; made once for each snapshot. */
export interface OverlayContext {
  readonly self: Node
  readonly networks: ClusterSnapshot['networks']
  /** The one network through which VTEP addresses are routed: `dcos`, else that of the lowest VNI. */
  readonly vtepNetwork: Network | undefined
  /** IP versions that some network has. Of VTEP addresses only these count: a machine may have IPv6 turned off. */
  readonly families: ReadonlySet<IpFamily>
  readonly mtuBytes: number
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
    mtuBytes: inputs.underlayMtuBytes - vxlanOverheadBytes[ipFamily(self.underlay)],
  }
}

/** All that the node must have so that containers of other nodes are reachable. */
export function desiredOverlay(snapshot: ClusterSnapshot, inputs: OverlayInputs): OverlayState {
  const context = overlayContext(snapshot, inputs)
  if (context === undefined) return new Map()
  const objects = [...snapshot.networks.values()].flatMap((network) => desiredNetwork(context, network))
  const state = new Map(objects.map((object) => [overlayKey(object), object]))
  for (const node of snapshot.nodes.values()) {
    for (const object of desiredRemote(context, node)) state.set(overlayKey(object), object)
  }
  return state
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

/** The way to one node: nothing for this node itself. Depends on no other remote node, so changes can be local. */
export function desiredRemote(context: OverlayContext, node: Node): readonly OverlayObject[] {
  if (node.name === context.self.name) return []
  const objects: OverlayObject[] = []
  const vtepNetwork = context.vtepNetwork?.name
  for (const { network: name, subnets } of node.subnets) {
    const network = context.networks.get(name)
    if (network === undefined || name === vtepNetwork) continue
    pushRemoteNetwork(objects, { context, node, network, destinations: subnets })
  }
  if (context.vtepNetwork === undefined) return objects
  const addresses = node.vtep.addresses.filter((address) => context.families.has(ipFamily(address)))
  const vteps = addresses.map((address) => cidrOf(address, familyBits(ipFamily(address))))
  const own = node.subnets.find(({ network }) => network === vtepNetwork)?.subnets ?? []
  pushRemoteNetwork(objects, { context, node, network: context.vtepNetwork, destinations: [...vteps, ...own] })
  return objects
}

interface RemoteNetwork {
  readonly context: OverlayContext
  readonly node: Node
  readonly network: Network
  readonly destinations: readonly RouteSpec['destination'][]
}

function pushRemoteNetwork(objects: OverlayObject[], { context, node, network, destinations }: RemoteNetwork): void {
  const device = vxlanDeviceName(network.vni)
  const { mac } = node.vtep
  objects.push({ kind: 'fdb', device, fdb: { device, mac, destination: node.underlay } })
  for (const family of [4, 6] as const) {
    const ofFamily = destinations.filter((destination) => ipFamily(destination) === family)
    const gateway = remoteGateway(node, family)
    if (ofFamily.length === 0 || gateway === undefined) continue
    const id = nexthopId({ vni: network.vni, number: nodeNumber(node), family })
    const preferredSource = context.self.vtep.addresses.find((address) => ipFamily(address) === family)
    objects.push({ kind: 'neighbour', device, neighbour: { device, address: gateway, mac } })
    objects.push({
      kind: 'nexthop',
      device,
      nexthop: { id, device, gateway, family, onlink: true, protocol: routeProtocol },
    })
    for (const destination of ofFamily) {
      objects.push({
        kind: 'route',
        device,
        route: {
          destination,
          type: 'unicast',
          protocol: routeProtocol,
          nexthopId: id,
          table: 254,
          metric: remoteMetric,
          mtuBytes: context.mtuBytes,
          ...(preferredSource === undefined ? {} : { preferredSource }),
        },
      })
    }
  }
}

function remoteGateway(node: Node, family: IpFamily): Ip | undefined {
  if (family === 6) return linkLocalAddress(node.vtep.mac)
  return node.vtep.addresses.find((address) => ipFamily(address) === 4)
}
