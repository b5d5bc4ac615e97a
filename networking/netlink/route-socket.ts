/**
 * The route family behind the contract of ops.ts. Devices are named in ops and numbered in the kernel: each batch keeps
 * the indexes that it has looked up. A link that an earlier op of the batch makes, renames or removes is looked up after
 * that op was sent. (The kernel could echo a new link's index, but only since 6.2, and a look-up costs 10 µs.)
 */
import { constants } from 'node:os'
import { setImmediate as othersTurn } from 'node:timers/promises'
import { AppError } from '../../core/base/errors.ts'
import { type IpFamily } from '../../core/base/ip.ts'
import { addressDumpRequest, decodeAddress } from './address.ts'
import { type RequestBatch } from './batch.ts'
import { isErrno, kernelError } from './errors.ts'
import { formatRouteOp } from './format.ts'
import { decodeLink, linkGetRequest } from './link.ts'
import { type Message, type NetlinkRequest } from './message.ts'
import { type NetnsTarget } from './namespace.ts'
import { decodeNeighbour, neighbourDumpRequest } from './neighbour.ts'
import { decodeNexthop, nexthopDumpRequest } from './nexthop.ts'
import { type Link, type OpOutcome, type Route, type RouteOp, type RouteSocket } from './ops.ts'
import { NETLINK_ROUTE } from './port.ts'
import { changesNames, isAlreadyGone } from './route-op.ts'
import { decodeRoute, type RawRoute, routeDumpRequest } from './route.ts'
import { type NetlinkSocket, openNetlinkSocket } from './socket.ts'
import { openRequestMaker, type RequestMaker } from './template.ts'

/** A long batch lets the rest of the process run about every 3 ms. */
const sendsPerTurn = 4
const done: OpOutcome = { ok: true }

/** Where to open it. */
export interface RouteSocketOptions {
  /** Path or open descriptor of a network namespace; the thread's own when absent. The descriptor stays the caller's. */
  readonly netns?: NetnsTarget
}

/**
 * A socket of the route family, bound to its namespace for good. Its methods reject with ERR_NETLINK_<ERRNO>; `perform`
 * gives such errors as outcomes instead.
 * @throws ERR_NETNS_NOT_FOUND, ERR_NETNS_INVALID, ERR_NATIVE_<ERRNO>
 */
export function openRouteSocket({ netns }: RouteSocketOptions = {}): RouteSocket {
  const socket = openNetlinkSocket({ protocol: NETLINK_ROUTE, netns })
  return {
    perform: (ops) => perform(socket, ops),
    links: async () => collect(socket, linkGetRequest(), decodeLink),
    link: async (name) => readLink(socket, name),
    addresses: async () => withDevices(socket, collect(socket, addressDumpRequest, decodeAddress)),
    neighbours: async () => withDevices(socket, collect(socket, neighbourDumpRequest('ip'), decodeNeighbour)),
    fdb: async () => withDevices(socket, collect(socket, neighbourDumpRequest('fdb'), decodeNeighbour)),
    nexthops: async () => withDevices(socket, collect(socket, nexthopDumpRequest, decodeNexthop)),
    routes: async (filter = {}) => readRoutes(socket, filter),
    close: () => socket.close(),
  }
}

async function perform(socket: NetlinkSocket, ops: readonly RouteOp[]): Promise<readonly OpOutcome[]> {
  const outcomes: OpOutcome[] = new Array<OpOutcome>(ops.length).fill(done)
  const onError = (position: number, error: AppError) => {
    const op = ops[position]
    if (op === undefined || !isAlreadyGone(op, error)) outcomes[position] = { ok: false, error }
  }
  const batch = socket.batch(onError)
  const resolver = openResolver(socket, batch)
  const maker = openRequestMaker(resolver.index)
  let sends = 0
  for (const [position, op] of ops.entries()) {
    const request = resolveOp(op, maker)
    if (request instanceof AppError) {
      onError(position, request)
      continue
    }
    if (batch.add(request, position) === 'sent') sends++
    if (changesNames(op)) {
      resolver.forget()
      maker.forget()
    }
    if (sends < sendsPerTurn) continue
    sends = 0
    batch.flush() // while others use the socket nothing may be queued
    await othersTurn()
  }
  batch.flush()
  return outcomes
}

function resolveOp(op: RouteOp, maker: RequestMaker): NetlinkRequest | AppError {
  try {
    return maker.request(op)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    return isErrno(error, 'ENODEV')
      ? kernelError({ errno: constants.errno.ENODEV, message: error.message }, formatRouteOp(op))
      : error
  }
}

interface Resolver {
  /** @throws ERR_NETLINK_ENODEV */
  readonly index: (name: string) => number
  forget(): void
}

function openResolver(socket: NetlinkSocket, batch: RequestBatch): Resolver {
  const known = new Map<string, number | AppError>()
  const look = (name: string): number | AppError => {
    batch.flush()
    try {
      return readIndex(socket, name)
    } catch (error) {
      if (!isErrno(error, 'ENODEV')) throw error
      return new AppError('ERR_NETLINK_ENODEV', `there is no device "${name}"`)
    }
  }
  const index = (name: string): number => {
    const found = known.get(name) ?? look(name)
    known.set(name, found)
    if (typeof found === 'number') return found
    throw found
  }
  return { index, forget: () => known.clear() }
}

function readIndex(socket: NetlinkSocket, name: string): number {
  let index = 0
  socket.request(linkGetRequest(name), ({ buffer, start }) => {
    index = buffer.readInt32LE(start + 4) // ifinfomsg.ifi_index
  })
  return index
}

function readLink(socket: NetlinkSocket, name: string): Link | undefined {
  let link: Link | undefined
  try {
    socket.request(linkGetRequest(name), (message) => {
      link = decodeLink(message)
    })
  } catch (error) {
    if (!isErrno(error, 'ENODEV')) throw error
  }
  return link
}

function collect<T>(socket: NetlinkSocket, request: NetlinkRequest, decode: (message: Message) => T | undefined): T[] {
  let found: T[] = []
  socket.dump(request, {
    restart: () => {
      found = []
    },
    visit: (message) => {
      const object = decode(message)
      if (object !== undefined) found.push(object)
    },
  })
  return found
}

/** Index → name of every link. */
function readNames(socket: NetlinkSocket): ReadonlyMap<number, string> {
  return new Map(collect(socket, linkGetRequest(), decodeLink).map(({ index, name }) => [index, name]))
}

/** What hangs on a device that went away meanwhile is gone too, and left out. */
function withDevices<T extends { readonly index: number }>(
  socket: NetlinkSocket,
  objects: readonly T[],
): (T & { readonly device: string })[] {
  if (objects.length === 0) return []
  const names = readNames(socket)
  return objects.flatMap((object) => {
    const device = names.get(object.index)
    return device === undefined ? [] : [{ ...object, device }]
  })
}

function readRoutes(socket: NetlinkSocket, filter: { protocol?: number; table?: number }): readonly Route[] {
  const families: readonly IpFamily[] = [4, 6]
  const raw = families.flatMap((family) => readFamilyRoutes(socket, family, filter))
  const names = raw.some(({ deviceIndex }) => deviceIndex !== undefined) ? readNames(socket) : new Map<number, string>()
  return raw.flatMap(({ deviceIndex, ...route }) => {
    if (deviceIndex === undefined) return [route]
    const device = names.get(deviceIndex)
    return device === undefined ? [] : [{ ...route, device }]
  })
}

function readFamilyRoutes(
  socket: NetlinkSocket,
  family: IpFamily,
  filter: { readonly protocol?: number; readonly table?: number },
): readonly RawRoute[] {
  try {
    return collect(socket, routeDumpRequest(family, filter), decodeRoute)
  } catch (error) {
    // ENOENT: no route ever made the table. EOPNOTSUPP, EAFNOSUPPORT: a kernel without IPv6.
    if (isErrno(error, 'ENOENT', 'EOPNOTSUPP', 'EAFNOSUPPORT')) return []
    throw error
  }
}
