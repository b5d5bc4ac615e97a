import { unreachable } from '../../core/base/errors.ts'
import { type Ip } from '../../core/base/ip.ts'
import { type Mac } from '../../core/model/ids.ts'
import { type AddressSpec, type FdbSpec, type NeighbourSpec, type NexthopSpec, type RouteSpec } from '../netlink/ops.ts'
import { linkPrefix } from '../protocol.ts'

/**
 * Metric of routes to remote subnets. Not the default one: the kernel tells routes of one prefix apart by metric, so a
 * replace of ours can't hit a route that an operator made there.
 */
export const remoteMetric = 87

/** Metric of the routes that refuse what no node has: anything else for the prefix wins. */
export const unreachableMetric = 65535

/** The VXLAN device of one network, with all of it that is ours to decide. */
export interface VxlanDevice {
  readonly name: string
  readonly vni: number
  readonly local: Ip
  readonly udpPort: number
  readonly learning: boolean
  readonly mtuBytes: number
  readonly mac: Mac
  readonly up: boolean
}

/** One kernel object that the overlay makes. `device` is the VXLAN device it goes away with; `''`: with none. */
export type OverlayObject =
  | { readonly kind: 'link'; readonly device: string; readonly link: VxlanDevice }
  | { readonly kind: 'address'; readonly device: string; readonly address: AddressSpec }
  | { readonly kind: 'neighbour'; readonly device: string; readonly neighbour: NeighbourSpec }
  | { readonly kind: 'fdb'; readonly device: string; readonly fdb: FdbSpec }
  | { readonly kind: 'nexthop'; readonly device: string; readonly nexthop: NexthopSpec }
  | { readonly kind: 'route'; readonly device: string; readonly route: RouteSpec }

/** Objects by {@link overlayKey}: what is wanted, or what is there. */
export type OverlayState = ReadonlyMap<string, OverlayObject>

/** Name of a network's VXLAN device: the VNI has at most 8 digits, so it fits IFNAMSIZ (15 characters). */
export function vxlanDeviceName(vni: number): string {
  return `${linkPrefix}v${vni}`
}

/** True for the names that {@link vxlanDeviceName} gives. */
export function isVxlanDeviceName(name: string): boolean {
  return name.startsWith(`${linkPrefix}v`) && /^\d{1,8}$/.test(name.slice(linkPrefix.length + 1))
}

/**
 * Identity in the kernel: two objects with one key can't both be there, and a replace of one puts the other in its
 * place. The exception is FDB, where a MAC may have several destinations: each is an object, so that a second one which
 * somebody appended is seen and taken away.
 */
export function overlayKey(object: OverlayObject): string {
  switch (object.kind) {
    case 'link':
      return `link ${object.device}`
    case 'address':
      return `address ${object.device} ${object.address.address}/${object.address.prefixLength}`
    case 'neighbour':
      return `neighbour ${object.device} ${object.neighbour.address}`
    case 'fdb':
      return `fdb ${object.device} ${object.fdb.mac} ${object.fdb.destination}`
    case 'nexthop':
      return `nexthop ${object.nexthop.id}`
    case 'route':
      return `route ${object.route.destination} ${object.route.metric ?? 0} ${object.route.table ?? 254}`
    default:
      return unreachable(object)
  }
}

/** True when the kernel has what is wanted. Both must have the same key. */
export function sameObject(wanted: OverlayObject, actual: OverlayObject): boolean {
  switch (wanted.kind) {
    case 'link':
      return actual.kind === 'link' && sameLink(wanted.link, actual.link)
    case 'address':
    case 'fdb':
      return actual.kind === wanted.kind // the key says it all
    case 'neighbour':
      return actual.kind === 'neighbour' && wanted.neighbour.mac === actual.neighbour.mac
    case 'nexthop':
      return actual.kind === 'nexthop' && sameNexthop(wanted.nexthop, actual.nexthop)
    case 'route':
      return actual.kind === 'route' && sameRoute(wanted.route, actual.route)
    default:
      return unreachable(wanted)
  }
}

/** True when the one device can't become the other by a change: it is deleted and made again. */
export function needsRecreation(wanted: VxlanDevice, actual: VxlanDevice): boolean {
  return (
    wanted.vni !== actual.vni ||
    wanted.local !== actual.local ||
    wanted.udpPort !== actual.udpPort ||
    wanted.learning !== actual.learning
  )
}

function sameLink(a: VxlanDevice, b: VxlanDevice): boolean {
  return !needsRecreation(a, b) && a.mtuBytes === b.mtuBytes && a.mac === b.mac && a.up === b.up
}

function sameNexthop(a: NexthopSpec, b: NexthopSpec): boolean {
  return (
    a.device === b.device &&
    a.gateway === b.gateway &&
    a.family === b.family &&
    (a.onlink ?? false) === (b.onlink ?? false) &&
    a.protocol === b.protocol
  )
}

/** Device and gateway are not compared: a route through a nexthop object is told with those of the object. */
function sameRoute(a: RouteSpec, b: RouteSpec): boolean {
  return (
    a.type === b.type &&
    a.protocol === b.protocol &&
    a.nexthopId === b.nexthopId &&
    a.preferredSource === b.preferredSource &&
    a.mtuBytes === b.mtuBytes
  )
}
