/**
 * Connection tracking: listing and forgetting flows. Sources: include/uapi/linux/netfilter/nfnetlink_conntrack.h,
 * nfnetlink.h; net/netfilter/nf_conntrack_netlink.c, ctnetlink_alloc_filter.
 *
 * The kernel filters the dump (CTA_FILTER, Linux 5.8): a table of 100,000 flows is walked there, and only what matches is
 * copied. Deleting by filter exists since 6.8 only, so each flow is deleted by its own tuple and id: an older kernel
 * would take the same request for "all". What the kernel could not filter is compared here.
 */
import { setImmediate as othersTurn } from 'node:timers/promises'
import { type Ip, type IpFamily } from '../../core/base/ip.ts'
import { type AttrsOf, attrTable, nested, nestedType } from './attr.ts'
import { octets, u16be, u32, u32be, u64be, u8 } from './codec.ts'
import { ip } from './codec-address.ts'
import { isErrno } from './errors.ts'
import { familyNumber } from './family.ts'
import { decodeBody, type Message, type NetlinkRequest, writeBody } from './message.ts'
import { type NetnsTarget } from './namespace.ts'
import { NETLINK_NETFILTER } from './port.ts'
import { openNetlinkSocket } from './socket.ts'
import { struct } from './struct.ts'

/** NFNL_SUBSYS_CTNETLINK, nfnetlink.h; IPCTNL_MSG_CT_GET and IPCTNL_MSG_CT_DELETE */
const NFNL_SUBSYS_CTNETLINK = 1
const IPCTNL_MSG_CT_GET = (NFNL_SUBSYS_CTNETLINK << 8) | 1
const IPCTNL_MSG_CT_DELETE = (NFNL_SUBSYS_CTNETLINK << 8) | 2

/** CTA_IP_* */
const addressAttrs = attrTable({ source4: [1, ip], destination4: [2, ip], source6: [3, ip], destination6: [4, ip] })
/** CTA_PROTO_* */
const protocolAttrs = attrTable({ protocol: [1, u8], sourcePort: [2, u16be], destinationPort: [3, u16be] })
/** CTA_TUPLE_* */
const tupleAttrs = attrTable({
  addresses: [nestedType(1), nested(addressAttrs)],
  protocol: [nestedType(2), nested(protocolAttrs)],
})
/** CTA_COUNTERS_*: 64 bits in network order; only where `net.netfilter.nf_conntrack_acct` is 1. */
const countersAttrs = attrTable({ packets: [1, u64be], bytes: [2, u64be] })
/** CTA_PROTOINFO_TCP_* */
const tcpAttrs = attrTable({ state: [1, u8] })
/** CTA_PROTOINFO_* */
const protoinfoAttrs = attrTable({ tcp: [nestedType(1), nested(tcpAttrs)] })
/** CTA_FILTER_*: which fields of the tuples count. */
const filterAttrs = attrTable({ original: [1, u32], reply: [2, u32] })

/** CTA_* */
export const conntrackAttrs = attrTable({
  original: [nestedType(1), nested(tupleAttrs)],
  reply: [nestedType(2), nested(tupleAttrs)],
  status: [3, u32be],
  protoinfo: [nestedType(4), nested(protoinfoAttrs)],
  countersOriginal: [nestedType(9), nested(countersAttrs)],
  countersReply: [nestedType(10), nested(countersAttrs)],
  id: [12, octets],
  zone: [18, u16be],
  filter: [nestedType(25), nested(filterAttrs)],
})

/** `struct nfgenmsg` */
const nfgenmsg = struct(4, { family: [0, u8], version: [1, u8], resource: [2, u16be] })
/** nfgenmsg with CTA_* */
export const conntrackShape = { header: nfgenmsg, attrs: conntrackAttrs }

/** CTA_FILTER_F_*, net/netfilter/nf_internals.h */
const filterFlag = { source: 1, destination: 2, protocol: 8, sourcePort: 16, destinationPort: 32 } as const

type TupleAttrs = AttrsOf<typeof tupleAttrs>

/** Both ends of one direction of a flow. Ports are absent for protocols that have none. */
export interface FlowEnds {
  readonly source?: Ip
  readonly destination?: Ip
  readonly sourcePort?: number
  readonly destinationPort?: number
}

/** Which flows: what is given must be equal. `reply` is what comes back, so its source is where the flow really goes. */
export interface FlowFilter {
  readonly family: IpFamily
  /** IPPROTO_*: 6 TCP, 17 UDP, 132 SCTP. */
  readonly protocol: number
  readonly original?: FlowEnds
  readonly reply?: FlowEnds
}

/** A tracked flow. */
export interface Flow {
  /** IPPROTO_* */
  readonly protocol: number
  readonly original: FlowEnds
  readonly reply: FlowEnds
  readonly zone: number
  /** CTA_ID, as the kernel gave it. */
  readonly id?: Uint8Array
  /** IPS_*, include/uapi/linux/netfilter/nf_conntrack_common.h */
  readonly status?: number
  /** TCP_CONNTRACK_*, include/uapi/linux/netfilter/nf_conntrack_tcp.h */
  readonly tcpState?: number
  /** Of both directions; absent where the kernel does not count. */
  readonly packets?: number
  readonly bytes?: number
}

/** Connection tracking of one namespace. Its methods reject with ERR_NETLINK_<ERRNO>. */
export interface ConntrackTable {
  list(filter: FlowFilter): Promise<readonly Flow[]>
  /** Deletes them: their next packets begin new flows. `also` narrows the choice. @returns how many there were */
  forget(filter: FlowFilter, also?: (flow: Flow) => boolean): Promise<number>
  close(): void
}

/** How many deletions before others get the thread. */
const deletionsPerTurn = 256

/** @throws ERR_NETNS_NOT_FOUND, ERR_NETNS_INVALID, ERR_NATIVE_<ERRNO> */
export function openConntrack({ netns }: { readonly netns?: NetnsTarget } = {}): ConntrackTable {
  const socket = openNetlinkSocket({ protocol: NETLINK_NETFILTER, netns })
  const list = (filter: FlowFilter): readonly Flow[] => {
    let flows: Flow[] = []
    const visit = (message: Message) => {
      const flow = decodeFlow(message)
      if (matches(filter, flow)) flows.push(flow)
    }
    const restart = () => {
      flows = []
    }
    socket.dump(flowListRequest(filter), { restart, visit })
    return flows
  }
  return {
    list: async (filter) => list(filter),
    forget: async (filter, also = () => true) => {
      const flows = list(filter).filter(also)
      for (const [index, flow] of flows.entries()) {
        if (index > 0 && index % deletionsPerTurn === 0) await othersTurn()
        try {
          socket.request(flowDeleteRequest(filter, flow))
        } catch (error) {
          if (!isErrno(error, 'ENOENT')) throw error // it ended by itself meanwhile
        }
      }
      return flows.length
    },
    close: () => socket.close(),
  }
}

/** The dump that the kernel filters. */
export function flowListRequest(filter: FlowFilter): NetlinkRequest {
  const { family, protocol, original, reply = {} } = filter
  // The protocol may stand in one tuple only: the other need not be given then.
  const attrs = {
    ...(original === undefined ? {} : { original: encodeTuple(filter, original) }),
    reply: encodeTuple(filter, reply),
    filter: { original: original === undefined ? 0 : flagsOf(family, original), reply: flagsOf(family, reply) },
  }
  return {
    type: IPCTNL_MSG_CT_GET,
    flags: 0,
    write: (writer) => writeBody(writer, conntrackShape, { header: { family: familyNumber[family] }, attrs }),
    describe: () => `conntrack -L -f ipv${family} -p ${protocol}${words(original, 'orig')}${words(reply, 'reply')}`,
  }
}

/** Deletes exactly one flow. */
export function flowDeleteRequest(filter: Pick<FlowFilter, 'family' | 'protocol'>, flow: Flow): NetlinkRequest {
  const { family, protocol } = filter
  const attrs = {
    original: encodeTuple(filter, flow.original),
    ...(flow.zone === 0 ? {} : { zone: flow.zone }),
    ...(flow.id === undefined ? {} : { id: flow.id }),
  }
  return {
    type: IPCTNL_MSG_CT_DELETE,
    flags: 0,
    write: (writer) => writeBody(writer, conntrackShape, { header: { family: familyNumber[family] }, attrs }),
    describe: () => `conntrack -D -f ipv${family} -p ${protocol}${words(flow.original, 'orig')}`,
  }
}

/** @throws ERR_NETLINK_MALFORMED */
export function decodeFlow(message: Pick<Message, 'buffer' | 'start' | 'end'>): Flow {
  const { attrs } = decodeBody(conntrackShape, message)
  return {
    protocol: attrs.original?.protocol?.protocol ?? 0,
    original: decodeTuple(attrs.original),
    reply: decodeTuple(attrs.reply),
    zone: attrs.zone ?? 0,
    ...(attrs.id === undefined ? {} : { id: attrs.id }),
    ...(attrs.status === undefined ? {} : { status: attrs.status }),
    ...(attrs.protoinfo?.tcp?.state === undefined ? {} : { tcpState: attrs.protoinfo.tcp.state }),
    ...countersOf(attrs),
  }
}

function countersOf({ countersOriginal, countersReply }: AttrsOf<typeof conntrackAttrs>) {
  if (countersOriginal === undefined && countersReply === undefined) return {}
  const both = (what: 'packets' | 'bytes') => Number((countersOriginal?.[what] ?? 0n) + (countersReply?.[what] ?? 0n))
  return { packets: both('packets'), bytes: both('bytes') }
}

function encodeTuple({ family, protocol }: Pick<FlowFilter, 'family' | 'protocol'>, ends: FlowEnds): TupleAttrs {
  const { source, destination, sourcePort, destinationPort } = ends
  const addresses =
    family === 4 ? { source4: source, destination4: destination } : { source6: source, destination6: destination }
  return { addresses, protocol: { protocol, sourcePort, destinationPort } }
}

function decodeTuple({ addresses = {}, protocol = {} }: TupleAttrs = {}): FlowEnds {
  const source = addresses.source4 ?? addresses.source6
  const destination = addresses.destination4 ?? addresses.destination6
  const { sourcePort, destinationPort } = protocol
  return {
    ...(source === undefined ? {} : { source }),
    ...(destination === undefined ? {} : { destination }),
    ...(sourcePort === undefined ? {} : { sourcePort }),
    ...(destinationPort === undefined ? {} : { destinationPort }),
  }
}

/**
 * Not of IPv6 addresses: the kernel (seen in 6.18) then returns the flows that differ, and leaves out those that are equal
 * (ctnetlink_filter_match_tuple, `!ipv6_addr_cmp`).
 */
function flagsOf(family: IpFamily, { source, destination, sourcePort, destinationPort }: FlowEnds): number {
  return (
    filterFlag.protocol |
    (source === undefined || family === 6 ? 0 : filterFlag.source) |
    (destination === undefined || family === 6 ? 0 : filterFlag.destination) |
    (sourcePort === undefined ? 0 : filterFlag.sourcePort) |
    (destinationPort === undefined ? 0 : filterFlag.destinationPort)
  )
}

function matches({ protocol, original = {}, reply = {} }: FlowFilter, flow: Flow): boolean {
  return protocol === flow.protocol && agrees(original, flow.original) && agrees(reply, flow.reply)
}

function agrees(wanted: FlowEnds, found: FlowEnds): boolean {
  const { source, destination, sourcePort, destinationPort } = wanted
  return (
    (source === undefined || source === found.source) &&
    (destination === undefined || destination === found.destination) &&
    (sourcePort === undefined || sourcePort === found.sourcePort) &&
    (destinationPort === undefined || destinationPort === found.destinationPort)
  )
}

function words(ends: FlowEnds | undefined, direction: 'orig' | 'reply'): string {
  const { source, destination, sourcePort, destinationPort } = ends ?? {}
  const word = (name: string, value: string | number | undefined) =>
    value === undefined ? '' : ` --${direction}-${name} ${value}`
  return [
    word('src', source),
    word('dst', destination),
    word('port-src', sourcePort),
    word('port-dst', destinationPort),
  ].join('')
}
