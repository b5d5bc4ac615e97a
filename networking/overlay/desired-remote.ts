import { cidrOf } from '../../core/base/cidr.ts'
import { type Cidr, familyBits, type Ip, type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { type Network, type Node } from '../../core/model/snapshot.ts'
import { type NexthopSpec } from '../netlink/ops.ts'
import { routeProtocol, vxlanOverheadBytes } from '../protocol.ts'
import { type OverlayContext } from './desired.ts'
import { canCarry, isDirect } from './direct.ts'
import { type OverlayObject, remoteMetric, vxlanDeviceName } from './objects.ts'
import { directVni, linkLocalAddress, nexthopId, nodeNumber } from './remote-ids.ts'

/** A destination behind a node. VTEP addresses never go direct: through them the VXLAN path itself is probed. */
interface Destination {
  readonly prefix: Cidr
  readonly way: 'vxlan' | 'direct'
}

interface Remote {
  readonly context: OverlayContext
  readonly node: Node
}

/** The way to one node: nothing for this node itself. Depends on no other remote node, so changes can be local. */
export function desiredRemote(context: OverlayContext, node: Node): readonly OverlayObject[] {
  if (node.name === context.self.name) return []
  const remote = { context, node }
  const direct = isDirect(context.inputs.direct, { self: context.self, node })
  const gatewayFamily = ipFamily(node.underlay)
  const wayOf = (prefix: Cidr): Destination => ({
    prefix,
    way: direct && canCarry(gatewayFamily, ipFamily(prefix)) ? 'direct' : 'vxlan',
  })
  const objects: OverlayObject[] = []
  const vtepNetwork = context.vtepNetwork
  for (const { network: name, subnets } of node.subnets) {
    const network = context.networks.get(name)
    if (network === undefined || name === vtepNetwork?.name) continue
    pushNetwork(objects, remote, { network, destinations: subnets.map(wayOf) })
  }
  if (vtepNetwork !== undefined) {
    const own = node.subnets.find(({ network }) => network === vtepNetwork.name)?.subnets ?? []
    const destinations = [...vtepRoutes(remote), ...own.map(wayOf)]
    pushNetwork(objects, remote, { network: vtepNetwork, destinations })
  }
  const used = direct && objects.some((object) => object.kind === 'route' && object.device === '')
  return used ? [directNexthop(remote), ...objects] : objects
}

function vtepRoutes({ context, node }: Remote): readonly Destination[] {
  const addresses = node.vtep.addresses.filter((address) => context.families.has(ipFamily(address)))
  return addresses.map((address) => ({ prefix: cidrOf(address, familyBits(ipFamily(address))), way: 'vxlan' }))
}

interface RemoteNetwork {
  readonly network: Network
  readonly destinations: readonly Destination[]
}

function pushNetwork(objects: OverlayObject[], remote: Remote, { network, destinations }: RemoteNetwork): void {
  const { node } = remote
  const device = vxlanDeviceName(network.vni)
  if (destinations.length === 0 || destinations.some(({ way }) => way === 'vxlan')) {
    objects.push({ kind: 'fdb', device, fdb: { device, mac: node.vtep.mac, destination: node.underlay } })
  }
  for (const family of [4, 6] as const) {
    const ofFamily = destinations.filter(({ prefix }) => ipFamily(prefix) === family)
    if (ofFamily.length === 0) continue
    const nexthop = vxlanNexthop(node, network, family)
    if (nexthop === undefined) continue
    if (ofFamily.some(({ way }) => way === 'vxlan')) {
      const { gateway } = nexthop
      objects.push({ kind: 'neighbour', device, neighbour: { device, address: gateway, mac: node.vtep.mac } })
      objects.push({ kind: 'nexthop', device, nexthop })
    }
    for (const destination of ofFamily) objects.push(routeObject(remote, destination, nexthop))
  }
}

function routeObject({ context, node }: Remote, { prefix, way }: Destination, through: NexthopSpec): OverlayObject {
  const preferredSource = context.sources[ipFamily(prefix)]
  return {
    kind: 'route',
    device: way === 'direct' ? '' : through.device,
    route: {
      destination: prefix,
      type: 'unicast',
      protocol: routeProtocol,
      nexthopId: way === 'direct' ? directId(node) : through.id,
      table: 254,
      metric: remoteMetric,
      mtuBytes: routeMtuBytes({ context, node }, way),
      ...(preferredSource === undefined ? {} : { preferredSource }),
    },
  }
}

/**
 * The overlay's MTU on direct routes too, so that a switch to VXLAN and back changes nothing for a connection, except
 * with `always`, which promises that there is no VXLAN to come back to. Less where the probe found that less passes.
 */
function routeMtuBytes({ context, node }: Remote, way: Destination['way']): number {
  const { direct, pathMtuBytes, underlayMtuBytes } = context.inputs
  const path = pathMtuBytes?.get(node.name) ?? underlayMtuBytes
  if (way === 'vxlan') return Math.min(context.mtuBytes, path - vxlanOverheadBytes[ipFamily(node.underlay)])
  return Math.min(direct?.mode === 'always' ? underlayMtuBytes : context.mtuBytes, path)
}

/** One for each node, whatever its networks: they are told apart only inside VXLAN. */
function directNexthop({ context, node }: Remote): OverlayObject {
  const device = context.inputs.direct?.device ?? ''
  const nexthop: NexthopSpec = {
    id: directId(node),
    device,
    gateway: node.underlay,
    family: ipFamily(node.underlay),
    onlink: true,
    protocol: routeProtocol,
  }
  return { kind: 'nexthop', device: '', nexthop }
}

function directId(node: Node): number {
  return nexthopId({ vni: directVni, number: nodeNumber(node), family: ipFamily(node.underlay) })
}

function vxlanNexthop(
  node: Node,
  { vni }: Network,
  family: IpFamily,
): (NexthopSpec & { readonly gateway: Ip }) | undefined {
  const gateway = remoteGateway(node, family)
  if (gateway === undefined) return undefined
  const id = nexthopId({ vni, number: nodeNumber(node), family })
  return { id, device: vxlanDeviceName(vni), gateway, family, onlink: true, protocol: routeProtocol }
}

function remoteGateway(node: Node, family: IpFamily): Ip | undefined {
  if (family === 6) return linkLocalAddress(node.vtep.mac)
  return node.vtep.addresses.find((address) => ipFamily(address) === 4)
}
