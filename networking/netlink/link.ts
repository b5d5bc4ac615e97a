/** Links: RTM_NEWLINK and relatives. Sources: include/uapi/linux/if_link.h, rtnetlink.h, net/if.h; rtnetlink(7). */
import { type AttrsOf, attrTable, decodeAttrs, encodeAttrs, nested } from './attr.ts'
import { octets, s32, text, u16, u16be, u32, u8, word } from './codec.ts'
import { ip, mac } from './codec-address.ts'
import { formatRouteOp } from './format.ts'
import { decodeBody, type Message, type NetlinkRequest, NLM_F_CREATE, NLM_F_EXCL, writeBody } from './message.ts'
import { type Link, type LinkChange, type LinkSpec, type RouteOp } from './ops.ts'
import { struct } from './struct.ts'
import { Writer } from './writer.ts'

/** Message types. */
export const RTM_NEWLINK = 16
export const RTM_DELLINK = 17
export const RTM_GETLINK = 18

/** IFF_UP, include/uapi/linux/if.h */
const IFF_UP = 1
/** RTEXT_FILTER_SKIP_STATS: counters are most of a reply, and nobody here reads them. */
const RTEXT_FILTER_SKIP_STATS = 8

/** IFLA_INFO_*; `data` depends on the kind. */
const linkInfoAttrs = attrTable({ kind: [1, word], data: [2, octets] })

/** IFLA_* */
export const linkAttrs = attrTable({
  mac: [1, mac],
  name: [3, text],
  mtuBytes: [4, u32],
  link: [5, u32],
  masterIndex: [10, u32],
  info: [18, nested(linkInfoAttrs)],
  group: [27, u32],
  netnsFd: [28, u32],
  extMask: [29, u32],
})

/** IFLA_VXLAN_*; ports in network order, unlike the rest. */
export const vxlanAttrs = attrTable({
  vni: [1, u32],
  deviceIndex: [3, u32],
  local: [4, ip],
  learning: [7, u8],
  udpPort: [15, u16be],
  local6: [17, ip],
})

/** `struct ifinfomsg` */
const ifinfomsg = struct(16, { family: [0, u8], type: [2, u16], index: [4, s32], flags: [8, u32], change: [12, u32] })

/** ifinfomsg with IFLA_* */
export const linkShape = { header: ifinfomsg, attrs: linkAttrs }

/** VETH_INFO_PEER, include/uapi/linux/veth.h: an ifinfomsg with IFLA_* of its own. */
const vethAttrs = attrTable({ peer: [1, octets] })

type LinkAttrs = AttrsOf<typeof linkAttrs>

/** `deviceIndex` is that of a VXLAN's underlay device. */
export function linkAddRequest(spec: LinkSpec, deviceIndex: number | undefined): NetlinkRequest {
  const attrs: LinkAttrs = {
    mac: spec.mac,
    mtuBytes: spec.mtuBytes,
    name: spec.name,
    info: { kind: spec.type, data: linkData(spec, deviceIndex) },
  }
  return {
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    write: (writer) => writeBody(writer, linkShape, { header: {}, attrs }),
    describe: () => formatRouteOp({ kind: 'link.add', link: spec }),
  }
}

function linkData(spec: LinkSpec, deviceIndex: number | undefined): Uint8Array | undefined {
  if (spec.type === 'veth') return encodeAttrs(vethAttrs, { peer: encodePeer(spec.peer) })
  if (spec.type !== 'vxlan') return undefined
  const local = spec.local.includes(':') ? { local6: spec.local } : { local: spec.local }
  return encodeAttrs(vxlanAttrs, {
    deviceIndex,
    vni: spec.vni,
    ...local,
    learning: spec.learning ? 1 : 0,
    udpPort: spec.udpPort,
  })
}

function encodePeer({ mac, mtuBytes, netnsFd, name }: Extract<LinkSpec, { type: 'veth' }>['peer']): Uint8Array {
  const writer = new Writer(128)
  writeBody(writer, linkShape, { header: {}, attrs: { mac, mtuBytes, netnsFd, name } })
  return writer.copy()
}

/** `index` 0: the kernel finds it by name; needed when the name itself changes. */
export function linkSetRequest(name: string, index: number, change: LinkChange): NetlinkRequest {
  const { state, ...attrs } = change
  const header = {
    index,
    flags: state === 'up' ? IFF_UP : 0,
    change: state === undefined ? 0 : IFF_UP,
  }
  return {
    type: RTM_NEWLINK,
    flags: 0,
    write: (writer) => writeBody(writer, linkShape, { header, attrs: index === 0 ? { name, ...attrs } : attrs }),
    describe: () => formatRouteOp({ kind: 'link.set', name, change }),
  }
}

/** By name. */
export function linkDelRequest(name: string): NetlinkRequest {
  return {
    type: RTM_DELLINK,
    flags: 0,
    write: (writer) => writeBody(writer, linkShape, { header: {}, attrs: { name } }),
    describe: () => formatRouteOp({ kind: 'link.del', name } satisfies RouteOp),
  }
}

/** All links of a group at once. ENODEV: there are none; EOPNOTSUPP: one can't be deleted, so none is. */
export function linkGroupDelRequest(group: number): NetlinkRequest {
  return {
    type: RTM_DELLINK,
    flags: 0,
    write: (writer) => writeBody(writer, linkShape, { header: {}, attrs: { group } }),
    describe: () => `ip link del group ${group}`,
  }
}

/** One link by name, or all (as a dump) without one. */
export function linkGetRequest(name?: string): NetlinkRequest {
  return {
    type: RTM_GETLINK,
    flags: 0,
    write: (writer) => writeBody(writer, linkShape, { header: {}, attrs: { name, extMask: RTEXT_FILTER_SKIP_STATS } }),
    describe: () => (name === undefined ? 'ip link show' : `ip link show dev ${name}`),
  }
}

/** @throws ERR_NETLINK_MALFORMED */
export function decodeLink(message: Pick<Message, 'buffer' | 'start' | 'end'>): Link {
  const { header, attrs } = decodeBody(linkShape, message)
  const type = attrs.info?.kind ?? ''
  return {
    index: header.index,
    name: attrs.name ?? '',
    type,
    up: (header.flags & IFF_UP) !== 0,
    mtuBytes: attrs.mtuBytes ?? 0,
    mac: attrs.mac ?? noMac,
    masterIndex: attrs.masterIndex ?? 0,
    group: attrs.group ?? 0,
    ...(type === 'vxlan' && attrs.info?.data !== undefined ? { vxlan: decodeVxlan(attrs.info.data) } : {}),
  }
}

/** A device without link-layer addresses, a tunnel for instance, tells none. */
const noMac = mac.get(Buffer.alloc(6), 0, 6)

function decodeVxlan(data: Uint8Array): NonNullable<Link['vxlan']> {
  const attrs = decodeAttrs(vxlanAttrs, Buffer.from(data))
  const local = attrs.local ?? attrs.local6
  return {
    vni: attrs.vni ?? 0,
    ...(local === undefined ? {} : { local }),
    udpPort: attrs.udpPort ?? 0,
    learning: attrs.learning === 1,
    deviceIndex: attrs.deviceIndex ?? 0,
  }
}
