/** Messages of the generic netlink family "IPVS". Source: include/uapi/linux/ip_vs.h, net/netfilter/ipvs/ip_vs_ctl.c. */
import { AppError } from '../../core/base/errors.ts'
import { type Ip, ipFamily, ipFromBytes, ipToBytes } from '../../core/base/ip.ts'
import { type AttrsOf, attrTable, nested, nestedType } from '../../networking/netlink/attr.ts'
import { type Codec, octets, text, u16, u16be, u32 } from '../../networking/netlink/codec.ts'
import { familyNumber } from '../../networking/netlink/family.ts'
import { type GenericRequest } from '../../networking/netlink/genl.ts'
import { struct } from '../../networking/netlink/struct.ts'
import { formatIpvsOp } from './format.ts'
import { type IpvsDestination, type IpvsOp, type IpvsService, type IpvsServiceId } from './ops.ts'

/** IPVS_GENL_NAME */
export const ipvsFamilyName = 'IPVS'

/** IPVS_CMD_* */
export const ipvsCommand = {
  newService: 1,
  setService: 2,
  delService: 3,
  getService: 4,
  newDestination: 5,
  setDestination: 6,
  delDestination: 7,
  getDestination: 8,
  setConfig: 12,
  getConfig: 13,
} as const

/** IPPROTO_* */
export const protocolNumber = { tcp: 6, udp: 17 } as const

/** `struct ip_vs_flags`: which bits (`mask`) get which value. */
const flagsWords = struct(8, { flags: [0, u32], mask: [4, u32] })
const flags: Codec<{ readonly flags: number; readonly mask: number }> = {
  write: (writer, value) => flagsWords.write(writer, value),
  get: (buffer, start, end) => flagsWords.get(buffer, start, end),
}

/** `union nf_inet_addr`: 16 octets for both families; which one it is says another attribute. */
const unionAddress: Codec<Uint8Array> = {
  write: (writer, value) => {
    writer.append(value)
    writer.zeros(16 - value.length)
  },
  get: (buffer, start, end) => octets.get(buffer, start, end),
}

/** IPVS_SVC_ATTR_* */
export const serviceAttrs = attrTable({
  family: [1, u16],
  protocol: [2, u16],
  address: [3, unionAddress],
  port: [4, u16be],
  fwmark: [5, u32],
  scheduler: [6, text],
  flags: [7, flags],
  timeout: [8, u32],
  netmask: [9, u32],
})

/** IPVS_DEST_ATTR_* */
export const destinationAttrs = attrTable({
  address: [1, unionAddress],
  port: [2, u16be],
  forward: [3, u32],
  weight: [4, u32],
  upperThreshold: [5, u32],
  lowerThreshold: [6, u32],
  activeConnections: [7, u32],
  inactiveConnections: [8, u32],
  family: [11, u16],
})

/** IPVS_CMD_ATTR_* */
export const ipvsAttrs = attrTable({
  service: [nestedType(1), nested(serviceAttrs)],
  destination: [nestedType(2), nested(destinationAttrs)],
  timeoutTcpSeconds: [4, u32],
  timeoutTcpFinSeconds: [5, u32],
  timeoutUdpSeconds: [6, u32],
})

/** A request of the family. */
export type IpvsRequest = GenericRequest<typeof ipvsAttrs>

/** IP_VS_SVC_F_HASHED: the kernel's own, in replies. */
const IP_VS_SVC_F_HASHED = 0x02
/**
 * IP_VS_SVC_F_SCHED1, for `sh` and `mh` their fallback: a client whose server has weight 0 gets another one. Without it, it
 * is refused.
 */
const IP_VS_SVC_F_SCHED1 = 0x08
/** IP_VS_CONN_F_FWD_MASK, IP_VS_CONN_F_MASQ: translation of addresses, the only method that leads to another port. */
const IP_VS_CONN_F_FWD_MASK = 0x07
const IP_VS_CONN_F_MASQ = 0x00

type ServiceAttrs = AttrsOf<typeof serviceAttrs>

/** The attributes that name a service. */
export function serviceIdAttrs({ address, port, protocol }: IpvsServiceId): ServiceAttrs {
  return {
    family: familyNumber[ipFamily(address)],
    protocol: protocolNumber[protocol],
    address: ipToBytes(address),
    port,
  }
}

function serviceAttrsOf(service: IpvsService): ServiceAttrs {
  const hashed = service.scheduler === 'sh' || service.scheduler === 'mh'
  return {
    ...serviceIdAttrs(service),
    scheduler: service.scheduler,
    flags: { flags: hashed ? IP_VS_SVC_F_SCHED1 : 0, mask: 0xffffffff },
    timeout: 0,
    netmask: ipFamily(service.address) === 4 ? 0xffffffff : 128,
  }
}

function destinationIdAttrs({ address, port }: IpvsDestination): AttrsOf<typeof destinationAttrs> {
  return { family: familyNumber[ipFamily(address)], address: ipToBytes(address), port }
}

function destinationAttrsOf(destination: IpvsDestination): AttrsOf<typeof destinationAttrs> {
  const { weight } = destination
  return {
    ...destinationIdAttrs(destination),
    forward: IP_VS_CONN_F_MASQ,
    weight,
    upperThreshold: 0,
    lowerThreshold: 0,
  }
}

/** The request that performs an op. */
export function ipvsRequest(family: IpvsRequest['family'], op: IpvsOp): IpvsRequest {
  const describe = () => formatIpvsOp(op)
  const { command, attrs } = body(op)
  return { family, command, table: ipvsAttrs, attrs, describe }
}

function body(op: IpvsOp): { readonly command: number; readonly attrs: AttrsOf<typeof ipvsAttrs> } {
  const { service } = op
  switch (op.kind) {
    case 'service.add':
      return { command: ipvsCommand.newService, attrs: { service: serviceAttrsOf(op.service) } }
    case 'service.set':
      return { command: ipvsCommand.setService, attrs: { service: serviceAttrsOf(op.service) } }
    case 'service.del':
      return { command: ipvsCommand.delService, attrs: { service: serviceIdAttrs(service) } }
    case 'destination.add':
      return { command: ipvsCommand.newDestination, attrs: destinationBody(op) }
    case 'destination.set':
      return { command: ipvsCommand.setDestination, attrs: destinationBody(op) }
    case 'destination.del':
      return {
        command: ipvsCommand.delDestination,
        attrs: { service: serviceIdAttrs(service), destination: destinationIdAttrs(op.destination) },
      }
  }
}

function destinationBody({
  service,
  destination,
}: {
  readonly service: IpvsServiceId
  readonly destination: IpvsDestination
}): AttrsOf<typeof ipvsAttrs> {
  return { service: serviceIdAttrs(service), destination: destinationAttrsOf(destination) }
}

/** Flags of a service without the kernel's own. */
function settableFlags(attrs: ServiceAttrs): number {
  return (attrs.flags?.flags ?? 0) & ~IP_VS_SVC_F_HASHED
}

/** A service as the kernel tells it; undefined for one that we would never make (by mark, SCTP, persistent). */
export function toIpvsService(attrs: ServiceAttrs): IpvsService | undefined {
  const { protocol, scheduler = '', port = 0, fwmark } = attrs
  if (fwmark !== undefined || (protocol !== protocolNumber.tcp && protocol !== protocolNumber.udp)) return undefined
  const service = {
    address: toIp(attrs),
    port,
    protocol: protocol === protocolNumber.tcp ? 'tcp' : 'udp',
    scheduler,
  } as const
  const odd = settableFlags(attrs) !== (serviceAttrsOf(service).flags?.flags ?? 0)
  return odd ? { ...service, odd: true } : service
}

/** A destination as the kernel tells it. */
export function toIpvsDestination(attrs: AttrsOf<typeof destinationAttrs>): IpvsDestination {
  const { port = 0, weight = 0, forward = 0, activeConnections = 0, inactiveConnections = 0 } = attrs
  const odd = (forward & IP_VS_CONN_F_FWD_MASK) !== IP_VS_CONN_F_MASQ
  return {
    address: toIp(attrs),
    port,
    weight,
    connections: activeConnections + inactiveConnections,
    ...(odd ? { odd: true as const } : {}),
  }
}

function toIp({
  family,
  address,
}: {
  readonly family?: number | undefined
  readonly address?: Uint8Array | undefined
}): Ip {
  if (address === undefined || address.length !== 16) {
    throw new AppError(
      'ERR_IPVS_REPLY',
      'IPVS told an entry without an address of 16 octets: a kernel that is not known',
    )
  }
  return ipFromBytes(family === familyNumber[4] ? address.subarray(0, 4) : address)
}
