/**
 * Notifications of the route family. The event loop itself watches the descriptor (libuv's poll, which koffi hands out):
 * no thread waits, nothing polls. Rejected: Node's own `net`, `dgram` and `tty` refuse a netlink descriptor; a worker thread
 * or a pool thread blocked in recv() costs memory or one of four pool threads; SIGIO is one for the whole process.
 *
 * The socket is read only when the consumer asks for more. A slow consumer thus makes the kernel's bounded buffer
 * overflow, never our memory: the kernel says ENOBUFS, and the consumer gets `resync`.
 */
import { decodeLink } from './link.ts'
import { eachMessage, type Message } from './message.ts'
import { type NetnsTarget } from './namespace.ts'
import { decodeNexthop } from './nexthop.ts'
import { NETLINK_ROUTE, type NetlinkPort, openPort, receiveDatagram } from './port.ts'
import { decodeRoute } from './route.ts'

/** What a notification is about. */
export type RouteObject = 'link' | 'address' | 'neighbour' | 'fdb' | 'nexthop' | 'route'

/** Something happened in a namespace, by us or by others. */
export type RouteEvent =
  /** Read everything: the first event of each watch, and after notifications were lost. */
  | { readonly kind: 'resync'; readonly reason: 'start' | 'overflow' }
  /** One object is new, different or gone. `index` is its device's; 0 for routes and nexthops, which may have several. */
  | {
      readonly kind: 'changed'
      readonly object: RouteObject
      readonly removed: boolean
      readonly index: number
      /** What else was told of it, as far as its kind has it. */
      readonly facts?: EventFacts
    }

/** By these a consumer tells its own objects from those of others. */
export interface EventFacts {
  /** Of a link. */
  readonly name?: string
  /** Of a link. */
  readonly mtuBytes?: number
  /** Of a link. */
  readonly up?: boolean
  /** `rtm_protocol` or `nh_protocol` of a route or nexthop. */
  readonly protocol?: number
  /** Of a route; absent: the kernel's default. */
  readonly metric?: number
  /** A nexthop's own id, or that of the nexthop object that a route goes through. */
  readonly nexthopId?: number
}

/** What to watch, and where. */
export interface WatchOptions {
  /** Path or open descriptor of a network namespace; the thread's own when absent. */
  readonly netns?: NetnsTarget
  /** Absent: all. `neighbour` and `fdb` come together. */
  readonly objects?: readonly RouteObject[]
  /** Bound on what the kernel keeps for a slow consumer. */
  readonly receiveBufferBytes?: number
}

/** RTNLGRP_*, include/uapi/linux/rtnetlink.h; IPv4 and IPv6. */
const groupsOf: Readonly<Record<RouteObject, readonly number[]>> = {
  link: [1],
  neighbour: [3],
  fdb: [3],
  address: [5, 9],
  route: [7, 11],
  nexthop: [32],
}

/** First message type of each object: RTM_NEW*, followed by RTM_DEL*. */
const objectOf: ReadonlyMap<number, RouteObject> = new Map([
  [16, 'link'],
  [20, 'address'],
  [24, 'route'],
  [28, 'neighbour'],
  [104, 'nexthop'],
])

const allObjects: readonly RouteObject[] = ['link', 'address', 'neighbour', 'nexthop', 'route']
const AF_BRIDGE = 7
/** More than the largest buffer holds; by then the queue was empty, and newer notifications keep coming. */
const maxQueued = 1 << 17

/**
 * Yields `resync` once it listens, then what changes; nothing that happens after the first event is missed without
 * another `resync`. Ends when `signal` aborts.
 * @throws ERR_NETNS_NOT_FOUND, ERR_NETNS_INVALID, ERR_NATIVE_<ERRNO>, ERR_NETLINK_<ERRNO>
 */
export async function* watchRoutes(
  { netns, objects = allObjects, receiveBufferBytes }: WatchOptions,
  { signal }: { readonly signal: AbortSignal },
): AsyncGenerator<RouteEvent, void, undefined> {
  const port = openPort({
    protocol: NETLINK_ROUTE,
    netns,
    groups: [...new Set(objects.flatMap((object) => groupsOf[object]))],
    ...(receiveBufferBytes === undefined ? {} : { receiveBufferBytes }),
  })
  try {
    yield { kind: 'resync', reason: 'start' }
    while (!signal.aborted) {
      const events = readEvents(port)
      if (events === 'empty') await readable(port, signal)
      else yield* events
    }
  } finally {
    port.close()
  }
}

function readEvents(port: NetlinkPort): readonly RouteEvent[] | 'empty' {
  const length = receiveDatagram(port)
  if (length === 'empty') return 'empty'
  if (length === 'overflow') {
    drain(port)
    return [{ kind: 'resync', reason: 'overflow' }]
  }
  const events: RouteEvent[] = []
  eachMessage(port.receiveBuffer, length, (message) => {
    const event = decodeEvent(message)
    if (event !== undefined) events.push(event)
  })
  return events
}

/**
 * After an overflow the kernel drops everything, without saying so again, until the queue was once empty (net/netlink/
 * af_netlink.c, NETLINK_S_CONGESTED). So it is emptied before `resync` goes out: what is read then is newer than any loss.
 */
function drain(port: NetlinkPort): void {
  for (let i = 0; i < maxQueued; i++) if (receiveDatagram(port) === 'empty') return
}

/** The index stands at octet 4 of the headers of links, addresses and neighbours. */
function decodeEvent(message: Message): RouteEvent | undefined {
  const { type, buffer, start, end } = message
  const object = objectOf.get(type & ~3)
  const verb = type & 3
  if (object === undefined || verb > 1 || end - start < 8) return undefined
  const indexed = object !== 'route' && object !== 'nexthop'
  const bridge = object === 'neighbour' && buffer[start] === AF_BRIDGE
  return {
    kind: 'changed',
    object: bridge ? 'fdb' : object,
    removed: verb === 1,
    index: indexed ? buffer.readInt32LE(start + 4) : 0,
    ...decodeFacts(object, message),
  }
}

function decodeFacts(object: RouteObject, message: Message): { readonly facts?: EventFacts } {
  if (object === 'link') {
    const { name, mtuBytes, up } = decodeLink(message)
    return { facts: { name, mtuBytes, up } }
  }
  const found = object === 'route' ? decodeRoute(message) : undefined
  if (found !== undefined) {
    const { protocol, metric, nexthopId } = found
    const through = nexthopId === undefined ? {} : { nexthopId }
    return { facts: { protocol, ...(metric === undefined ? {} : { metric }), ...through } }
  }
  const nexthop = object === 'nexthop' ? decodeNexthop(message) : undefined
  return nexthop === undefined ? {} : { facts: { protocol: nexthop.protocol, nexthopId: nexthop.id } }
}

/** Resolves when there is something to read, or when the signal aborts. */
function readable(port: NetlinkPort, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stop()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const stop = port.native.onReadable(port.fd, done)
    signal.addEventListener('abort', done, { once: true })
  })
}
