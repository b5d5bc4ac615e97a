/** Nexthop objects: RTM_NEWNEXTHOP and relatives. Source: include/uapi/linux/nexthop.h. */
import { attrTable } from './attr.ts'
import { flag, octets, u32, u8 } from './codec.ts'
import { ip } from './codec-address.ts'
import { familyNumber } from './family.ts'
import { formatRouteOp } from './format.ts'
import { decodeBody, type Message, type NetlinkRequest, NLM_F_CREATE, NLM_F_REPLACE, writeBody } from './message.ts'
import { type Nexthop, type NexthopSpec } from './ops.ts'
import { struct } from './struct.ts'

/** Message types. */
export const RTM_NEWNEXTHOP = 104
export const RTM_DELNEXTHOP = 105
export const RTM_GETNEXTHOP = 106

/** RTNH_F_ONLINK, include/uapi/linux/rtnetlink.h */
export const RTNH_F_ONLINK = 4

/** NHA_* */
export const nexthopAttrs = attrTable({
  id: [1, u32],
  group: [2, octets],
  blackhole: [4, flag],
  deviceIndex: [5, u32],
  gateway: [6, ip],
  fdb: [11, flag],
})

/** `struct nhmsg` */
const nhmsg = struct(8, { family: [0, u8], scope: [1, u8], protocol: [2, u8], flags: [4, u32] })

/** nhmsg with NHA_* */
export const nexthopShape = { header: nhmsg, attrs: nexthopAttrs }

/** Makes the nexthop, or changes the one with this id (routes that use it follow at once). */
export function nexthopReplaceRequest(spec: NexthopSpec, deviceIndex: number): NetlinkRequest {
  const header = {
    family: familyNumber[spec.family],
    protocol: spec.protocol,
    flags: spec.onlink === true ? RTNH_F_ONLINK : 0,
  }
  return {
    type: RTM_NEWNEXTHOP,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    write: (writer) =>
      writeBody(writer, nexthopShape, { header, attrs: { id: spec.id, gateway: spec.gateway, deviceIndex } }),
    describe: () => formatRouteOp({ kind: 'nexthop.replace', nexthop: spec }),
  }
}

/** Takes the nexthop away, and every route that uses it. */
export function nexthopDelRequest(id: number): NetlinkRequest {
  return {
    type: RTM_DELNEXTHOP,
    flags: 0,
    write: (writer) => writeBody(writer, nexthopShape, { header: {}, attrs: { id } }),
    describe: () => formatRouteOp({ kind: 'nexthop.del', id }),
  }
}

/** All nexthops. */
export const nexthopDumpRequest: NetlinkRequest = {
  type: RTM_GETNEXTHOP,
  flags: 0,
  write: (writer) => writeBody(writer, nexthopShape, { header: {}, attrs: {} }),
  describe: () => 'ip nexthop show',
}

/**
 * Groups, blackholes and bridge nexthops are none that a NexthopSpec can tell: undefined.
 * @throws ERR_NETLINK_MALFORMED
 */
export function decodeNexthop(message: Pick<Message, 'buffer' | 'start' | 'end'>): Omit<Nexthop, 'device'> | undefined {
  const { header, attrs } = decodeBody(nexthopShape, message)
  if (attrs.id === undefined || attrs.deviceIndex === undefined) return undefined
  return {
    index: attrs.deviceIndex,
    id: attrs.id,
    family: header.family === familyNumber[6] ? 6 : 4,
    ...(attrs.gateway === undefined ? {} : { gateway: attrs.gateway }),
    ...((header.flags & RTNH_F_ONLINK) === 0 ? {} : { onlink: true }),
    protocol: header.protocol,
  }
}
