/**
 * Traffic control: as much as limiting a link's rate takes. Sources: include/uapi/linux/pkt_sched.h, pkt_cls.h,
 * rtnetlink.h, tc_act/tc_mirred.h; tc-tbf(8), tc-u32(8), tc-mirred(8). u32 rather than matchall: kernels for small
 * machines often lack the latter.
 */
import { type AttrsOf, attrTable, encodeAttrs, nested, nestedList } from './attr.ts'
import { octets, s32, text, u32, u64, u8 } from './codec.ts'
import { isErrno } from './errors.ts'
import { linkGetRequest } from './link.ts'
import { type NetlinkRequest, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, writeBody } from './message.ts'
import { type NetnsTarget } from './namespace.ts'
import { NETLINK_ROUTE } from './port.ts'
import { openNetlinkSocket } from './socket.ts'
import { struct } from './struct.ts'

const RTM_NEWQDISC = 36
const RTM_DELQDISC = 37
const RTM_NEWTFILTER = 44
/** Parents of a device's qdiscs, and the handle of the ingress one. */
const TC_H_ROOT = 0xffffffff
const TC_H_INGRESS = 0xfffffff1
const ingressHandle = 0xffff0000
/** ETH_P_ALL in network order, with priority 1. */
const everyProtocol = (1 << 16) | 0x0300
const TC_LINKLAYER_ETHERNET = 1
const TC_U32_TERMINAL = 1
const TC_ACT_STOLEN = 4
const TCA_EGRESS_REDIR = 1

/** `struct tcmsg` */
const tcmsg = struct(20, { family: [0, u8], index: [4, s32], handle: [8, u32], parent: [12, u32], info: [16, u32] })
/** TCA_* */
const trafficAttrs = attrTable({ kind: [1, text], options: [2, octets] })
const trafficShape = { header: tcmsg, attrs: trafficAttrs }

/** `struct tc_tbf_qopt`; the rate's `tc_ratespec` is its first 12 octets, the peak rate's (not used) the next. */
const tbfParameters = struct(36, { linkLayer: [1, u8], rate: [8, u32], limit: [24, u32] })
/** TCA_TBF_* */
const tbfAttrs = attrTable({ parameters: [1, tbfParameters], rate64: [4, u64], burst: [6, u32] })

/** `struct tc_u32_sel` with one key that matches everything. */
const u32Selector = struct(32, { flags: [0, u8], keys: [2, u8] })
/** `struct tc_mirred` */
const mirredParameters = struct(28, { action: [8, s32], direction: [20, s32], index: [24, u32] })
const mirredAttrs = attrTable({ parameters: [2, mirredParameters] })
const actionAttrs = attrTable({ kind: [1, text], options: [2 | 0x8000, nested(mirredAttrs)] })
/** TCA_U32_* */
const u32Attrs = attrTable({ selector: [5, u32Selector], actions: [7 | 0x8000, nestedList(actionAttrs)] })

/** A step on one device. */
export type TrafficOp =
  | {
      readonly kind: 'tbf.replace'
      readonly device: string
      readonly bytesPerSecond: bigint
      readonly burstBytes: number
      /** What may wait; more is dropped. */
      readonly limitBytes: number
    }
  | { readonly kind: 'root.del'; readonly device: string }
  /** All that arrives on `device` leaves through `target`, which must be an ifb to give it back. */
  | { readonly kind: 'redirect.replace'; readonly device: string; readonly target: string }
  | { readonly kind: 'ingress.del'; readonly device: string }

/** Traffic control of one namespace. */
export interface TrafficControl {
  /** In order, up to the first that fails; deleting what is not there is done. @throws ERR_NETLINK_<ERRNO> */
  perform(ops: readonly TrafficOp[]): void
  close(): void
}

/** @throws ERR_NETNS_NOT_FOUND, ERR_NETNS_INVALID, ERR_NATIVE_<ERRNO> */
export function openTrafficControl({ netns }: { readonly netns?: NetnsTarget } = {}): TrafficControl {
  const socket = openNetlinkSocket({ protocol: NETLINK_ROUTE, netns })
  const indexOf = (name: string) => {
    let index = 0
    socket.request(linkGetRequest(name), ({ buffer, start }) => {
      index = buffer.readInt32LE(start + 4) // ifinfomsg.ifi_index
    })
    return index
  }
  const step = (op: TrafficOp) => {
    try {
      for (const request of trafficRequests(op, indexOf)) socket.request(request)
    } catch (error) {
      // EINVAL: the device has only the qdisc that every device has.
      if (!op.kind.endsWith('.del') || !isErrno(error, 'ENOENT', 'EINVAL', 'ENODEV')) throw error
    }
  }
  return { perform: (ops) => ops.forEach(step), close: () => socket.close() }
}

/** The op as an operator would type it. */
export function formatTrafficOp(op: TrafficOp): string {
  switch (op.kind) {
    case 'tbf.replace': {
      const { device, bytesPerSecond, burstBytes, limitBytes } = op
      return `tc qdisc replace dev ${device} root tbf rate ${bytesPerSecond}bps burst ${burstBytes} limit ${limitBytes}`
    }
    case 'root.del':
      return `tc qdisc del dev ${op.device} root`
    case 'redirect.replace': {
      const action = `mirred egress redirect dev ${op.target}`
      return `tc filter replace dev ${op.device} parent ffff: protocol all prio 1 u32 match u32 0 0 action ${action}`
    }
    case 'ingress.del':
      return `tc qdisc del dev ${op.device} ingress`
  }
}

function trafficRequests(op: TrafficOp, indexOf: (name: string) => number): readonly NetlinkRequest[] {
  const index = indexOf(op.device)
  const describe = () => formatTrafficOp(op)
  const ingress = { index, handle: ingressHandle, parent: TC_H_INGRESS }
  const request = (type: number, flags: number, body: TrafficBody): NetlinkRequest => ({
    ...{ type, flags, describe },
    write: (writer) => writeBody(writer, trafficShape, body),
  })
  switch (op.kind) {
    case 'tbf.replace': {
      const header = { index, parent: TC_H_ROOT }
      return [request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, { header, attrs: { kind: 'tbf', options: tbf(op) } })]
    }
    case 'root.del':
      return [request(RTM_DELQDISC, 0, { header: { index, parent: TC_H_ROOT }, attrs: {} })]
    case 'redirect.replace': {
      const header = { index, parent: ingressHandle, info: everyProtocol }
      const attrs = { kind: 'u32', options: redirect(indexOf(op.target)) }
      return [
        request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, { header: ingress, attrs: { kind: 'ingress' } }),
        request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, { header, attrs }),
      ]
    }
    case 'ingress.del':
      return [request(RTM_DELQDISC, 0, { header: ingress, attrs: {} })]
  }
}

interface TrafficBody {
  readonly header: Parameters<typeof tcmsg.write>[1]
  readonly attrs: AttrsOf<typeof trafficAttrs>
}

function tbf(op: Extract<TrafficOp, { kind: 'tbf.replace' }>): Uint8Array {
  const rate = op.bytesPerSecond > 0xffffffffn ? 0xffffffff : Number(op.bytesPerSecond)
  const parameters = { linkLayer: TC_LINKLAYER_ETHERNET, rate, limit: op.limitBytes }
  return encodeAttrs(tbfAttrs, {
    parameters,
    ...(rate === 0xffffffff ? { rate64: op.bytesPerSecond } : {}),
    burst: op.burstBytes,
  })
}

function redirect(targetIndex: number): Uint8Array {
  const parameters = { action: TC_ACT_STOLEN, direction: TCA_EGRESS_REDIR, index: targetIndex }
  return encodeAttrs(u32Attrs, {
    selector: { flags: TC_U32_TERMINAL, keys: 1 },
    actions: [{ kind: 'mirred', options: { parameters } }],
  })
}
