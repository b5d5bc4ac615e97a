import { cidrOf } from '../../core/base/cidr.ts'
import { type Cidr, familyBits, type Ip, type IpFamily, ipFamily, parseIp } from '../../core/base/ip.ts'
import { type Mac } from '../../core/model/ids.ts'
import { type RouteOp, type RouteSpec } from '../netlink/ops.ts'
import { containerGateway, routeProtocol } from '../protocol.ts'

/** All that is decided about one interface of one container. */
export interface AttachSpec {
  /** The node's end. */
  readonly hostLink: string
  readonly hostMac: Mac
  /** The container's end. */
  readonly ifname: string
  readonly mac: Mac
  readonly mtuBytes: number
  /** One for each IP version at most. */
  readonly addresses: readonly Ip[]
  /** The network's prefixes on all nodes: what a second interface leads to. */
  readonly wholeSubnets: readonly Cidr[]
}

/** A route inside the container, through the link-local gateway. */
export interface GatewayRoute {
  readonly destination: Cidr
  readonly gateway: Ip
}

const everything: Readonly<Record<IpFamily, Cidr>> = { 4: cidrOf(parseIp('0.0.0.0'), 0), 6: cidrOf(parseIp('::'), 0) }

/** The address as a prefix of its own. */
export function hostCidr(address: Ip): Cidr {
  return cidrOf(address, familyBits(ipFamily(address)))
}

/** The gateway that a container sees: the same on every interface. */
export function gatewayOf(family: IpFamily): Ip {
  return parseIp(containerGateway[family])
}

/** The IP versions that the interface has. */
export function familiesOf({ addresses }: Pick<AttachSpec, 'addresses'>): readonly IpFamily[] {
  return ([4, 6] as const).filter((family) => addresses.some((address) => ipFamily(address) === family))
}

/**
 * What leads out through the interface: everything, or, where another interface has the default route of the family
 * already, the network's own prefixes.
 */
export function gatewayRoutes(spec: AttachSpec, taken: ReadonlySet<IpFamily>): readonly GatewayRoute[] {
  return familiesOf(spec).flatMap((family) => {
    const own = spec.wholeSubnets.filter((subnet) => ipFamily(subnet) === family)
    return (taken.has(family) ? own : [everything[family]]).map((destination) => ({
      destination,
      gateway: gatewayOf(family),
    }))
  })
}

/** The pair. The container's end is made where it belongs; setting it up in the same message gives ENOTCONN. */
export function planLink(spec: AttachSpec, netnsFd: number): readonly RouteOp[] {
  const { hostLink, hostMac, ifname, mac, mtuBytes } = spec
  const peer = { name: ifname, netnsFd, mac, mtuBytes }
  return [{ kind: 'link.add', link: { type: 'veth', name: hostLink, mac: hostMac, mtuBytes, peer } }]
}

/** The node's end, up, with the address that IPv6 containers resolve as their gateway. */
export function planHostEnd(spec: AttachSpec): readonly RouteOp[] {
  const device = spec.hostLink
  const up: RouteOp = { kind: 'link.set', name: device, change: { state: 'up' } }
  if (!familiesOf(spec).includes(6)) return [up]
  return [up, { kind: 'address.replace', address: { device, address: gatewayOf(6), prefixLength: 64, scope: 'link' } }]
}

/**
 * Inside the container: links up before addresses, the route to the gateway before those through it. The permanent
 * neighbour makes the gateway resolve without an answer from the node.
 */
export function planInside(spec: AttachSpec, routes: readonly GatewayRoute[]): readonly RouteOp[] {
  const device = spec.ifname
  const ops: RouteOp[] = [
    { kind: 'link.set', name: 'lo', change: { state: 'up' } },
    { kind: 'link.set', name: device, change: { state: 'up' } },
  ]
  for (const address of spec.addresses) {
    const prefixLength = familyBits(ipFamily(address))
    ops.push({ kind: 'address.replace', address: { device, address, prefixLength } })
  }
  for (const family of familiesOf(spec)) {
    const address = gatewayOf(family)
    ops.push({ kind: 'neighbour.replace', neighbour: { device, address, mac: spec.hostMac } })
  }
  ops.push(...routes.flatMap((route) => insideRoutes(device, route)))
  return ops
}

/** Only the holder of the default route gets the link route: there is one gateway address and several interfaces. */
function insideRoutes(device: string, { destination, gateway }: GatewayRoute): readonly RouteOp[] {
  const family = ipFamily(destination)
  const common = { type: 'unicast', protocol: routeProtocol, device } as const
  const route: RouteSpec = { ...common, destination, gateway, ...(family === 4 ? { onlink: true } : {}) }
  const link: RouteSpec = { ...common, destination: hostCidr(gateway), scope: 'link' }
  const isDefault = destination === everything[family]
  const specs = isDefault && family === 4 ? [link, route] : [route]
  return specs.map((spec) => ({ kind: 'route.replace', route: spec }))
}

/** What makes the node send to the container: last, when the container can take it. */
export function planHostRoutes(spec: AttachSpec): readonly RouteOp[] {
  return hostRoutes(spec).map((route) => ({ kind: 'route.replace', route }))
}

/** The node's routes to the container. */
export function hostRoutes({ hostLink, addresses }: Pick<AttachSpec, 'hostLink' | 'addresses'>): readonly RouteSpec[] {
  return addresses.map((address) => ({
    destination: hostCidr(address),
    type: 'unicast',
    protocol: routeProtocol,
    device: hostLink,
    ...(ipFamily(address) === 4 ? { scope: 'link' as const } : {}),
  }))
}

/** A kernel setting: a path below /proc/sys/net. `absent`: what it means when the kernel has no such setting. */
export interface NetSetting {
  readonly path: string
  readonly value: string
  readonly absent: 'fine' | 'failure'
}

/**
 * Settings of the node's end, before it goes up. Packets from it are forwarded whatever the machine's default is; the
 * gateway address is set by hand, so none is generated; IPv6 is off where the network has none.
 */
export function hostSettings(spec: AttachSpec): readonly NetSetting[] {
  const [ipv4, ipv6] = [`ipv4/conf/${spec.hostLink}`, `ipv6/conf/${spec.hostLink}`]
  const always: readonly NetSetting[] = [
    { path: `${ipv4}/forwarding`, value: '1', absent: 'failure' },
    { path: `${ipv4}/rp_filter`, value: '0', absent: 'failure' },
  ]
  if (!familiesOf(spec).includes(6)) return [...always, { path: `${ipv6}/disable_ipv6`, value: '1', absent: 'fine' }]
  return [
    ...always,
    { path: `${ipv6}/disable_ipv6`, value: '0', absent: 'failure' },
    { path: `${ipv6}/addr_gen_mode`, value: '1', absent: 'failure' },
    { path: `${ipv6}/accept_ra`, value: '0', absent: 'failure' },
    { path: `${ipv6}/forwarding`, value: '1', absent: 'failure' },
  ]
}

/** Settings of the container's end: duplicate address detection would delay its first packet. */
export function insideSettings(spec: AttachSpec): readonly NetSetting[] {
  if (!familiesOf(spec).includes(6)) return []
  const ipv6 = `ipv6/conf/${spec.ifname}`
  return [
    { path: `${ipv6}/disable_ipv6`, value: '0', absent: 'failure' },
    { path: `${ipv6}/accept_dad`, value: '0', absent: 'failure' },
    { path: `${ipv6}/accept_ra`, value: '0', absent: 'failure' },
  ]
}
