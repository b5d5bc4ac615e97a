import { AppError, unreachable } from '../../core/base/errors.ts'
import { ipFamily } from '../../core/base/ip.ts'
import { type Mac, parseMac } from '../../core/model/ids.ts'
import {
  type AddressSpec,
  type FdbSpec,
  type Link,
  type LinkChange,
  type LinkSpec,
  type NeighbourSpec,
  type NexthopSpec,
  type OpOutcome,
  type Route,
  type RouteOp,
  type RouteSocket,
  type RouteSpec,
} from '../../networking/netlink/ops.ts'

/** A namespace in memory that behaves as the kernel does, as far as test/conformance/route-socket.test.ts says. */
export interface FakeRouteSocket extends RouteSocket {
  /** All ops that were performed, in order, since the last {@link FakeRouteSocket.forget}. */
  readonly performed: readonly RouteOp[]
  forget(): void
}

interface State {
  links: Map<string, Link>
  addresses: Map<string, AddressSpec>
  neighbours: Map<string, NeighbourSpec>
  fdb: Map<string, FdbSpec>
  nexthops: Map<number, NexthopSpec>
  routes: Map<string, Route>
  nextIndex: number
}

/** Opens an empty namespace with these devices, up, that are not ours. */
export function openFakeRouteSocket(devices: readonly { name: string; mtuBytes: number }[] = []): FakeRouteSocket {
  const state: State = {
    links: new Map(),
    addresses: new Map(),
    neighbours: new Map(),
    fdb: new Map(),
    nexthops: new Map(),
    routes: new Map(),
    nextIndex: 1,
  }
  for (const { name, mtuBytes } of [{ name: 'lo', mtuBytes: 65536 }, ...devices]) {
    state.links.set(name, { ...blankLink(state, name), mtuBytes, up: true })
  }
  const performed: RouteOp[] = []
  const indexed = <T extends { device: string }>(items: Iterable<T>) =>
    [...items].map((item) => ({ ...item, index: state.links.get(item.device)?.index ?? 0 }))
  return {
    performed,
    forget: () => performed.splice(0),
    perform: async (ops) => {
      performed.push(...ops)
      return ops.map((op) => outcome(state, op))
    },
    links: async () => [...state.links.values()],
    link: async (name) => state.links.get(name),
    addresses: async () => indexed(state.addresses.values()),
    neighbours: async () =>
      indexed(state.neighbours.values()).map((entry) => ({ ...entry, permanent: true, bridge: false })),
    fdb: async () => indexed(state.fdb.values()).map((entry) => ({ ...entry, permanent: true, bridge: true })),
    nexthops: async () => indexed(state.nexthops.values()),
    routes: async ({ protocol, table } = {}) =>
      [...state.routes.values()].filter(
        (route) => (protocol ?? route.protocol) === route.protocol && (table ?? route.table) === route.table,
      ),
    close: () => undefined,
  }
}

function outcome(state: State, op: RouteOp): OpOutcome {
  try {
    performOp(state, op)
    return { ok: true }
  } catch (error) {
    if (error instanceof AppError) return { ok: false, error }
    throw error
  }
}

function refuse(errno: string): never {
  throw new AppError(`ERR_NETLINK_${errno}`, errno, { details: { errno } })
}

function performOp(state: State, op: RouteOp): unknown {
  switch (op.kind) {
    case 'link.add':
      return addLink(state, op.link)
    case 'link.set':
      return setLink(state, op.name, op.change)
    case 'link.del':
      return deleteLink(state, op.name)
    case 'address.replace':
      requireLink(state, op.address.device)
      return state.addresses.set(addressKey(op.address), op.address)
    case 'address.del':
      return state.addresses.delete(addressKey(op.address)) ? undefined : refuse('EADDRNOTAVAIL')
    case 'neighbour.replace':
      requireLink(state, op.neighbour.device)
      return state.neighbours.set(neighbourKey(op.neighbour), op.neighbour)
    case 'neighbour.del':
      return state.neighbours.delete(neighbourKey(op.neighbour)) ? undefined : refuse('ENOENT')
    case 'fdb.replace':
      requireLink(state, op.fdb.device)
      return state.fdb.set(fdbKey(op.fdb), op.fdb)
    case 'fdb.del':
      return deleteFdb(state, op.fdb)
    case 'nexthop.replace':
      return replaceNexthop(state, op.nexthop)
    case 'nexthop.del':
      return deleteNexthop(state, op.id)
    case 'route.replace':
      return replaceRoute(state, op.route)
    case 'route.del':
      return state.routes.delete(routeKey(op.route)) ? undefined : refuse('ESRCH')
    default:
      return unreachable(op)
  }
}

const addressKey = ({ device, address, prefixLength }: AddressSpec) => `${device} ${address}/${prefixLength}`
const neighbourKey = ({ device, address }: NeighbourSpec) => `${device} ${address}`
const fdbKey = ({ device, mac }: FdbSpec) => `${device} ${mac}`
const routeKey = (route: RouteSpec) => `${route.destination} ${tableOf(route)} ${route.metric ?? 0}`
const tableOf = ({ table, type }: RouteSpec) => table ?? (type === 'local' ? 255 : 254)

function requireLink(state: State, name: string): Link {
  return state.links.get(name) ?? refuse('ENODEV')
}

function blankLink(state: State, name: string): Link {
  const index = state.nextIndex++
  const mac: Mac = parseMac(`02:00:00:00:00:${index.toString(16).padStart(2, '0')}`)
  return { index, name, type: '', up: false, mtuBytes: 1500, mac, masterIndex: 0, group: 0 }
}

function addLink(state: State, spec: LinkSpec): void {
  if (state.links.has(spec.name)) refuse('EEXIST')
  const { name, type, mtuBytes = 1500 } = spec
  const blank = blankLink(state, name)
  const link: Link = { ...blank, type, mtuBytes, mac: spec.mac ?? blank.mac }
  if (spec.type === 'vxlan') {
    const { vni, local, udpPort, learning, device } = spec
    const deviceIndex = device === undefined ? 0 : requireLink(state, device).index
    state.links.set(name, { ...link, vxlan: { vni, local, udpPort, learning, deviceIndex } })
    return
  }
  state.links.set(name, link)
  if (spec.type !== 'veth' || spec.peer.netnsFd !== undefined) return
  const peer = blankLink(state, spec.peer.name)
  state.links.set(peer.name, {
    ...peer,
    type,
    mtuBytes: spec.peer.mtuBytes ?? mtuBytes,
    mac: spec.peer.mac ?? peer.mac,
  })
}

function setLink(state: State, name: string, change: LinkChange): void {
  const link = requireLink(state, name)
  const { state: wanted, name: newName = name, ...rest } = change
  const up = wanted === undefined ? link.up : wanted === 'up'
  state.links.delete(name)
  state.links.set(newName, { ...link, ...rest, name: newName, up })
  if (rest.mac !== undefined && rest.mac !== link.mac) dropOf(state.neighbours, newName)
  if (link.up && !up) dropPaths(state, newName)
}

function deleteLink(state: State, name: string): void {
  requireLink(state, name)
  state.links.delete(name)
  dropOf(state.addresses, name)
  dropOf(state.neighbours, name)
  dropOf(state.fdb, name)
  dropPaths(state, name)
}

/** What the kernel drops when a device goes down: net/ipv4/nexthop.c, nexthop_flush_dev. */
function dropPaths(state: State, device: string): void {
  for (const { id } of [...state.nexthops.values()].filter((nexthop) => nexthop.device === device)) {
    deleteNexthop(state, id)
  }
  dropOf(state.neighbours, device)
  for (const [key, route] of state.routes) if (route.device === device) state.routes.delete(key)
}

function dropOf(map: Map<string, { readonly device: string }>, device: string): void {
  for (const [key, item] of map) if (item.device === device) map.delete(key)
}

function deleteFdb(state: State, fdb: FdbSpec): void {
  if (state.fdb.get(fdbKey(fdb))?.destination !== fdb.destination) refuse('ENOENT')
  state.fdb.delete(fdbKey(fdb))
}

function replaceNexthop(state: State, nexthop: NexthopSpec): void {
  if (!requireLink(state, nexthop.device).up) refuse('ENETDOWN')
  if (nexthop.gateway !== undefined && ipFamily(nexthop.gateway) !== nexthop.family) refuse('EINVAL')
  state.nexthops.set(nexthop.id, nexthop)
}

function deleteNexthop(state: State, id: number): void {
  if (!state.nexthops.delete(id)) refuse('ENOENT')
  for (const [key, route] of state.routes) if (route.nexthopId === id) state.routes.delete(key)
}

function replaceRoute(state: State, route: RouteSpec): void {
  if (route.nexthopId !== undefined && !state.nexthops.has(route.nexthopId)) refuse('EINVAL')
  if (route.device !== undefined && !requireLink(state, route.device).up) refuse('ENETDOWN')
  const via = state.nexthops.get(route.nexthopId ?? 0)
  const told =
    via === undefined ? {} : { device: via.device, ...(via.gateway === undefined ? {} : { gateway: via.gateway }) }
  state.routes.set(routeKey(route), { ...route, ...told, table: tableOf(route) })
}
