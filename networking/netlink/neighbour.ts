/** Neighbours and forwarding entries: RTM_NEWNEIGH and relatives. Sources: include/uapi/linux/neighbour.h; rtnetlink(7). */
import { ipFamily } from '../../core/base/ip.ts'
import { attrTable } from './attr.ts'
import { s32, u16, u32, u8 } from './codec.ts'
import { ip, mac } from './codec-address.ts'
import { AF_BRIDGE, familyNumber } from './family.ts'
import { formatRouteOp } from './format.ts'
import { decodeBody, type Message, type NetlinkRequest, NLM_F_CREATE, NLM_F_REPLACE, writeBody } from './message.ts'
import { type FdbSpec, type Neighbour, type NeighbourSpec } from './ops.ts'
import { struct } from './struct.ts'

/** Message types. */
export const RTM_NEWNEIGH = 28
export const RTM_DELNEIGH = 29
export const RTM_GETNEIGH = 30

/** Entry states and flags. */
const NUD_NOARP = 0x40
const NUD_PERMANENT = 0x80
const NTF_SELF = 0x02

/** NDA_*. `destination` is the neighbour's address, or the VTEP of a forwarding entry. */
export const neighbourAttrs = attrTable({ destination: [1, ip], mac: [2, mac], vni: [7, u32], master: [9, u32] })

/** `struct ndmsg` */
const ndmsg = struct(12, { family: [0, u8], index: [4, s32], state: [8, u16], flags: [10, u8], type: [11, u8] })

/** ndmsg with NDA_* */
export const neighbourShape = { header: ndmsg, attrs: neighbourAttrs }

/** Makes or updates a permanent neighbour. */
export function neighbourReplaceRequest(spec: NeighbourSpec, index: number): NetlinkRequest {
  const header = { family: familyNumber[ipFamily(spec.address)], index, state: NUD_PERMANENT }
  return {
    type: RTM_NEWNEIGH,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    write: (writer) =>
      writeBody(writer, neighbourShape, { header, attrs: { destination: spec.address, mac: spec.mac } }),
    describe: () => formatRouteOp({ kind: 'neighbour.replace', neighbour: spec }),
  }
}

/** Takes a neighbour away, whatever its link-layer address is. */
export function neighbourDelRequest(spec: NeighbourSpec, index: number): NetlinkRequest {
  const header = { family: familyNumber[ipFamily(spec.address)], index, state: NUD_PERMANENT }
  return {
    type: RTM_DELNEIGH,
    flags: 0,
    write: (writer) => writeBody(writer, neighbourShape, { header, attrs: { destination: spec.address } }),
    describe: () => formatRouteOp({ kind: 'neighbour.del', neighbour: spec }),
  }
}

/** Makes a permanent forwarding entry, or leads the one of this MAC elsewhere. */
export function fdbReplaceRequest(spec: FdbSpec, index: number): NetlinkRequest {
  const header = { family: AF_BRIDGE, index, state: NUD_NOARP | NUD_PERMANENT, flags: NTF_SELF }
  return {
    type: RTM_NEWNEIGH,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    write: (writer) =>
      writeBody(writer, neighbourShape, { header, attrs: { mac: spec.mac, destination: spec.destination } }),
    describe: () => formatRouteOp({ kind: 'fdb.replace', fdb: spec }),
  }
}

/** Takes a forwarding entry away when it still leads to `destination`. */
export function fdbDelRequest(spec: FdbSpec, index: number): NetlinkRequest {
  const header = { family: AF_BRIDGE, index, state: NUD_NOARP | NUD_PERMANENT, flags: NTF_SELF }
  return {
    type: RTM_DELNEIGH,
    flags: 0,
    write: (writer) =>
      writeBody(writer, neighbourShape, { header, attrs: { mac: spec.mac, destination: spec.destination } }),
    describe: () => formatRouteOp({ kind: 'fdb.del', fdb: spec }),
  }
}

/** Neighbours of both IP families, or all forwarding entries. */
export function neighbourDumpRequest(which: 'ip' | 'fdb'): NetlinkRequest {
  const header = which === 'fdb' ? { family: AF_BRIDGE } : {}
  return {
    type: RTM_GETNEIGH,
    flags: 0,
    write: (writer) => writeBody(writer, neighbourShape, { header, attrs: {} }),
    describe: () => (which === 'fdb' ? 'bridge fdb show' : 'ip neighbour show'),
  }
}

/** @throws ERR_NETLINK_MALFORMED */
export function decodeNeighbour(message: Pick<Message, 'buffer' | 'start' | 'end'>): Omit<Neighbour, 'device'> {
  const { header, attrs } = decodeBody(neighbourShape, message)
  const bridge = header.family === AF_BRIDGE
  return {
    index: header.index,
    ...(attrs.destination === undefined ? {} : { [bridge ? 'destination' : 'address']: attrs.destination }),
    ...(attrs.mac === undefined ? {} : { mac: attrs.mac }),
    permanent: (header.state & NUD_PERMANENT) !== 0,
    bridge,
  }
}
