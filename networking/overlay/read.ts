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
import { isDirectId } from './remote-ids.ts'

const unspecified = parseIp('0.0.0.0')

/** The overlay's objects in the kernel, all links and addresses (to find the underlay device and its prefixes). */
export interface OverlayReading {
  readonly state: OverlayState
  readonly links: readonly Link[]
  readonly addresses: readonly Address[]
}

/**
 * Reads what is there of ours. Ours are: VXLAN devices with our names and all global addresses, permanent neighbours and
 * FDB entries on them; nexthops of our protocol number through them, or through the underlay device with an id of ours;
 * routes of our protocol number that go through these, or that are our refusals. Other parts of Weft make routes with the same protocol number (to containers, to
 * VIPs): these are left alone.
 */
export async function readOverlay(
  routes: RouteSocket,
  underlayDevice: string,
  { signal }: { readonly signal: AbortSignal },
): Promise<OverlayReading> {
  const links = await routes.links()
  const devices = links.flatMap(vxlanDevice)
  const names = new Set(devices.map(({ name }) => name))
  const objects: OverlayObject[] = devices.map((link) => ({ kind: 'link', device: link.name, link }))
  signal.throwIfAborted()
  const addresses = await routes.addresses()
  for (const address of addresses) objects.push(...ownAddress(address, names))
  // One by one: as arguments of a single call, a large cluster's objects would not fit the stack.
  for (const neighbour of await routes.neighbours()) objects.push(...ownNeighbour(neighbour, names))
  for (const entry of await routes.fdb()) objects.push(...ownFdb(entry, names))
  signal.throwIfAborted()
  const deviceOf = new Map<number, string>()
  for (const nexthop of await routes.nexthops()) {
    const direct = isOwnDirect(nexthop, underlayDevice)
    if (!direct && !isOwnNexthop(nexthop, names)) continue
    const device = direct ? '' : nexthop.device // it does not go away with a VXLAN device
    deviceOf.set(nexthop.id, device)
    objects.push({ kind: 'nexthop', device, nexthop })
  }
  for (const route of await routes.routes({ protocol: routeProtocol })) {
    objects.push(...ownRoute(route, { names, deviceOf }))
  }
  return { state: new Map(objects.map((object) => [overlayKey(object), object])), links, addresses }
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

function isOwnDirect({ protocol, device, id }: Nexthop, underlayDevice: string): boolean {
  return protocol === routeProtocol && device === underlayDevice && isDirectId(id)
}

interface Owned {
  readonly names: ReadonlySet<string>
  /** VXLAN device by id of our nexthops; `''` for those that go direct. */
  readonly deviceOf: ReadonlyMap<number, string>
}

function ownRoute(route: Route, { names, deviceOf }: Owned): readonly OverlayObject[] {
  if (route.protocol !== routeProtocol) return []
  if (route.type === 'unreachable') {
    return route.metric === unreachableMetric ? [{ kind: 'route', device: '', route }] : []
  }
  const through = deviceOf.get(route.nexthopId ?? 0)
  const device = through ?? route.device ?? ''
  return through === '' || names.has(device) ? [{ kind: 'route', device, route }] : []
}
