import { parseIp } from '../../core/base/ip.ts'
import { type Address, type Link, type Neighbour, type Nexthop, type Route, type RouteSocket } from '../netlink/ops.ts'
import { routeProtocol } from '../protocol.ts'
import {
  isVxlanDeviceName,
  type OverlayObject,
  overlayKey,
  type OverlayState,
  unreachableMetric,
  type VxlanDevice,
} from './objects.ts'

const unspecified = parseIp('0.0.0.0')

/** The overlay's objects in the kernel, and all links (to find the underlay device among them). */
export interface OverlayReading {
  readonly state: OverlayState
  readonly links: readonly Link[]
}

/**
 * Reads what is there of ours. Ours are: VXLAN devices with our names and all global addresses, permanent neighbours and
 * FDB entries on them; nexthops of our protocol number through them; routes of our protocol number that go through
 * these, or that are our refusals. Other parts of Weft make routes with the same protocol number (to containers, to
 * VIPs): these are left alone.
 */
export async function readOverlay(routes: RouteSocket, { signal }: { signal: AbortSignal }): Promise<OverlayReading> {
  const links = await routes.links()
  const devices = links.flatMap(vxlanDevice)
  const names = new Set(devices.map(({ name }) => name))
  const objects: OverlayObject[] = devices.map((link) => ({ kind: 'link', device: link.name, link }))
  signal.throwIfAborted()
  objects.push(...(await routes.addresses()).flatMap((address) => ownAddress(address, names)))
  objects.push(...(await routes.neighbours()).flatMap((neighbour) => ownNeighbour(neighbour, names)))
  objects.push(...(await routes.fdb()).flatMap((entry) => ownFdb(entry, names)))
  signal.throwIfAborted()
  const nexthops = (await routes.nexthops()).filter((nexthop) => isOwnNexthop(nexthop, names))
  objects.push(...nexthops.map((nexthop): OverlayObject => ({ kind: 'nexthop', device: nexthop.device, nexthop })))
  const deviceOf = new Map(nexthops.map(({ id, device }) => [id, device]))
  const found = await routes.routes({ protocol: routeProtocol })
  objects.push(...found.flatMap((route) => ownRoute(route, { names, deviceOf })))
  return { state: new Map(objects.map((object) => [overlayKey(object), object])), links }
}

/** A device with one of our names that is no VXLAN device, or has no local address, differs from all that is wanted. */
function vxlanDevice({ name, vxlan, mtuBytes, mac, up }: Link): readonly VxlanDevice[] {
  if (!isVxlanDeviceName(name)) return []
  const { vni = 0, local = unspecified, udpPort = 0, learning = false } = vxlan ?? {}
  return [{ name, vni, local, udpPort, learning, mtuBytes, mac, up }]
}

function ownAddress({ device, address, prefixLength }: Address, names: ReadonlySet<string>): readonly OverlayObject[] {
  const linkLocal = /^fe[89ab]/.test(address) // the kernel's own
  if (linkLocal || !names.has(device)) return []
  return [{ kind: 'address', device, address: { device, address, prefixLength } }]
}

function ownNeighbour(neighbour: Neighbour, names: ReadonlySet<string>): readonly OverlayObject[] {
  const { device, address, mac, permanent } = neighbour
  if (!permanent || address === undefined || mac === undefined || !names.has(device)) return []
  return [{ kind: 'neighbour', device, neighbour: { device, address, mac } }]
}

function ownFdb({ device, mac, destination }: Neighbour, names: ReadonlySet<string>): readonly OverlayObject[] {
  if (mac === undefined || destination === undefined || !names.has(device)) return []
  return [{ kind: 'fdb', device, fdb: { device, mac, destination } }]
}

function isOwnNexthop({ protocol, device }: Nexthop, names: ReadonlySet<string>): boolean {
  return protocol === routeProtocol && names.has(device)
}

interface Owned {
  readonly names: ReadonlySet<string>
  /** Device by nexthop id. */
  readonly deviceOf: ReadonlyMap<number, string>
}

function ownRoute(route: Route, { names, deviceOf }: Owned): readonly OverlayObject[] {
  if (route.protocol !== routeProtocol) return []
  if (route.type === 'unreachable') {
    return route.metric === unreachableMetric ? [{ kind: 'route', device: '', route }] : []
  }
  const device = deviceOf.get(route.nexthopId ?? 0) ?? route.device ?? ''
  return names.has(device) ? [{ kind: 'route', device, route }] : []
}
