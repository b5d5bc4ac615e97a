/** What the kernel would do with a packet: RTM_GETROUTE for one destination, as `ip route get`. Source: rtnetlink(7). */
import { AppError } from '../../core/base/errors.ts'
import { cidrContains, cidrOf } from '../../core/base/cidr.ts'
import { type Cidr, familyBits, type Ip, ipFamily, parseIp } from '../../core/base/ip.ts'
import { attrTable, nested } from './attr.ts'
import { u32 } from './codec.ts'
import { ip, via } from './codec-address.ts'
import { isErrno } from './errors.ts'
import { familyNumber } from './family.ts'
import { linkGetRequest, linkShape, RTM_GETLINK } from './link.ts'
import { decodeBody, type Message, type NetlinkRequest, writeBody } from './message.ts'
import { type NetnsTarget } from './namespace.ts'
import { NETLINK_ROUTE } from './port.ts'
import { RTM_GETROUTE, routeShape } from './route.ts'
import { type NetlinkSocket, openNetlinkSocket } from './socket.ts'

/** RTM_F_FIB_MATCH, include/uapi/linux/rtnetlink.h: the entry that matched, instead of what it resolves to. */
const RTM_F_FIB_MATCH = 0x2000
/** IFF_LOWER_UP, include/uapi/linux/if.h */
const IFF_LOWER_UP = 0x10000
/** RTN_*, include/uapi/linux/rtnetlink.h */
const typeNames: ReadonlyMap<number, RouteWay['type']> = new Map([
  [1, 'unicast'],
  [2, 'local'],
  [3, 'broadcast'],
  [5, 'multicast'],
])
/** RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, and what a sender would be told. Source: net/ipv4/fib_semantics.c, fib_props. */
const refusedTypes: ReadonlyMap<number, string> = new Map([
  [6, 'EINVAL'],
  [7, 'EHOSTUNREACH'],
  [8, 'EACCES'],
])
const anyAddress = { 4: parseIp('0.0.0.0'), 6: parseIp('::') } as const

/** RTA_*: those of a question and of its answer. */
const lookupAttrs = attrTable({
  destination: [1, ip],
  source: [2, ip],
  inputIndex: [3, u32],
  deviceIndex: [4, u32],
  gateway: [5, ip],
  preferredSource: [7, ip],
  metrics: [8, nested(attrTable({ mtuBytes: [2, u32] }))],
  via: [18, via],
  nexthopId: [30, u32],
})

const lookupShape = { header: routeShape.header, attrs: lookupAttrs }

/** A packet to look up. */
export interface RouteQuery {
  readonly destination: Ip
  readonly source?: Ip
  /** The device that it came in by; absent: it is sent by the machine itself. */
  readonly inputDevice?: string
}

/** The way that a packet takes. */
export interface RouteWay {
  readonly kind: 'way'
  /** `local`: to the machine itself. */
  readonly type: 'unicast' | 'local' | 'broadcast' | 'multicast'
  readonly device?: string
  readonly gateway?: Ip
  /** What the machine would choose as the packet's source. */
  readonly preferredSource?: Ip
  /** Of the route; absent: the device's counts. */
  readonly mtuBytes?: number
  /** The entry of the table that matched. */
  readonly matched?: { readonly prefix: Cidr; readonly nexthopId?: number }
}

/** The way, or the kernel's refusal as `ENETUNREACH`, `EHOSTUNREACH`, `EXDEV` (the source is wrong on that device), … */
export type RouteAnswer = RouteWay | { readonly kind: 'refused'; readonly code: string }

/** Asks one namespace's kernel. */
export interface RouteLookup {
  /** @throws ERR_NETLINK_ENODEV when there is no such input device */
  lookup(query: RouteQuery): RouteAnswer
  /** Whether something is at the other end of a device; undefined when there is no such device. */
  carrier(device: string): 'carrier' | 'no-carrier' | undefined
  close(): void
}

/** @throws ERR_NETNS_NOT_FOUND, ERR_NETNS_INVALID, ERR_NATIVE_<ERRNO> */
export function openRouteLookup({ netns }: { readonly netns?: NetnsTarget } = {}): RouteLookup {
  const socket = openNetlinkSocket({ protocol: NETLINK_ROUTE, netns })
  return {
    lookup: (query) => lookup(socket, query),
    carrier: (device) => carrier(socket, device),
    close: () => socket.close(),
  }
}

function lookup(socket: NetlinkSocket, query: RouteQuery): RouteAnswer {
  const { inputDevice } = query
  const inputIndex = inputDevice === undefined ? undefined : linkFacts(socket, inputDevice)?.index
  if (inputDevice !== undefined && inputIndex === undefined) {
    throw new AppError('ERR_NETLINK_ENODEV', `there is no device "${inputDevice}"`)
  }
  try {
    const way = ask(socket, { query, inputIndex, flags: 0 })
    if (way.kind === 'refused') return way
    const { matched: _, ...rest } = way
    return { ...rest, ...matchedEntry(socket, query, inputIndex) }
  } catch (error) {
    return { kind: 'refused', code: refusalCode(error) }
  }
}

/** Left out where the kernel does not tell it. */
function matchedEntry(socket: NetlinkSocket, query: RouteQuery, inputIndex: number | undefined) {
  try {
    const entry = ask(socket, { query, inputIndex, flags: RTM_F_FIB_MATCH })
    // Of an IPv6 route through a nexthop object the kernel tells any of that object's routes: its cached copy is one for all.
    const { matched } = entry.kind === 'way' ? entry : {}
    return matched !== undefined && cidrContains(matched.prefix, query.destination) ? { matched } : {}
  } catch (error) {
    refusalCode(error)
    return {}
  }
}

/** @throws what is no refusal */
function refusalCode(error: unknown): string {
  if (error instanceof AppError && error.code.startsWith('ERR_NETLINK_E'))
    return error.code.slice('ERR_NETLINK_'.length)
  throw error
}

interface Question {
  readonly query: RouteQuery
  readonly inputIndex: number | undefined
  readonly flags: number
}

function ask(socket: NetlinkSocket, question: Question): RouteAnswer {
  let raw: RawWay | undefined
  socket.request(lookupRequest(question), (message) => {
    raw = decodeWay(message)
  })
  if (raw === undefined) return { kind: 'refused', code: 'ENETUNREACH' }
  if ('kind' in raw) return raw
  const { deviceIndex, ...way } = raw
  const device = deviceIndex === undefined ? undefined : linkFacts(socket, deviceIndex)?.name
  return { kind: 'way', ...way, ...(device === undefined ? {} : { device }) }
}

function lookupRequest({ query, inputIndex, flags }: Question): NetlinkRequest {
  const { destination, source, inputDevice } = query
  const family = ipFamily(destination)
  const bits = familyBits(family)
  const header = {
    family: familyNumber[family],
    destinationLength: bits,
    sourceLength: source === undefined ? 0 : bits,
    flags,
  }
  const words = [source === undefined ? '' : ` from ${source}`, inputDevice === undefined ? '' : ` iif ${inputDevice}`]
  return {
    type: RTM_GETROUTE,
    flags: 0,
    write: (writer) => writeBody(writer, lookupShape, { header, attrs: { destination, source, inputIndex } }),
    describe: () => `ip route get ${destination}${words.join('')}`,
  }
}

type Refusal = Extract<RouteAnswer, { kind: 'refused' }>
type RawWay = Refusal | (Omit<RouteWay, 'kind' | 'device'> & { readonly deviceIndex?: number | undefined })

function decodeWay(message: Message): RawWay {
  const { header, attrs } = decodeBody(lookupShape, message)
  const type = typeNames.get(header.type)
  if (type === undefined) return { kind: 'refused', code: refusedTypes.get(header.type) ?? 'EHOSTUNREACH' }
  const gateway = attrs.gateway ?? attrs.via
  const { destination, deviceIndex, nexthopId, preferredSource, metrics } = attrs
  const prefix = cidrOf(destination ?? anyAddress[header.family === familyNumber[6] ? 6 : 4], header.destinationLength)
  return {
    type,
    deviceIndex,
    ...(gateway === undefined ? {} : { gateway }),
    ...(preferredSource === undefined ? {} : { preferredSource }),
    ...(metrics?.mtuBytes === undefined ? {} : { mtuBytes: metrics.mtuBytes }),
    matched: { prefix, ...(nexthopId === undefined ? {} : { nexthopId }) },
  }
}

interface LinkFacts {
  readonly index: number
  readonly name: string
  readonly flags: number
}

/** @returns undefined when there is no such device */
function linkFacts(socket: NetlinkSocket, which: string | number): LinkFacts | undefined {
  let facts: LinkFacts | undefined
  const request = typeof which === 'string' ? linkGetRequest(which) : linkByIndex(which)
  try {
    socket.request(request, (message) => {
      const { header, attrs } = decodeBody(linkShape, message)
      facts = { index: header.index, flags: header.flags, name: attrs.name ?? '' }
    })
  } catch (error) {
    if (!isErrno(error, 'ENODEV')) throw error
  }
  return facts
}

function linkByIndex(index: number): NetlinkRequest {
  return {
    type: RTM_GETLINK,
    flags: 0,
    write: (writer) => writeBody(writer, linkShape, { header: { index }, attrs: {} }),
    describe: () => `ip link show (device number ${index})`,
  }
}

function carrier(socket: NetlinkSocket, device: string): 'carrier' | 'no-carrier' | undefined {
  const facts = linkFacts(socket, device)
  if (facts === undefined) return undefined
  return (facts.flags & IFF_LOWER_UP) === 0 ? 'no-carrier' : 'carrier'
}
