/** Addresses: RTM_NEWADDR and relatives. Sources: include/uapi/linux/if_addr.h; rtnetlink(7). */
import { type Ip, ipFamily } from '../../core/base/ip.ts'
import { attrTable } from './attr.ts'
import { s32, text, u32, u8 } from './codec.ts'
import { ip } from './codec-address.ts'
import { familyNumber, scopeName, scopeNumber } from './family.ts'
import { formatRouteOp } from './format.ts'
import { decodeBody, type Message, type NetlinkRequest, NLM_F_CREATE, NLM_F_REPLACE, writeBody } from './message.ts'
import { type Address, type AddressSpec } from './ops.ts'
import { struct } from './struct.ts'

/** Message types. */
export const RTM_NEWADDR = 20
export const RTM_DELADDR = 21
export const RTM_GETADDR = 22

/** IFA_F_NODAD: no duplicate address detection. */
const IFA_F_NODAD = 0x02

/** IFA_*. `local` is the interface's own; `address` the peer's on point-to-point links, else the same. */
export const addressAttrs = attrTable({ address: [1, ip], local: [2, ip], label: [3, text], flags: [8, u32] })

/** `struct ifaddrmsg` */
const ifaddrmsg = struct(8, { family: [0, u8], prefixLength: [1, u8], flags: [2, u8], scope: [3, u8], index: [4, s32] })

/** ifaddrmsg with IFA_* */
export const addressShape = { header: ifaddrmsg, attrs: addressAttrs }

/** Makes the address, or updates it when it is there. */
export function addressReplaceRequest(spec: AddressSpec, index: number): NetlinkRequest {
  const nodad = ipFamily(spec.address) === 6 ? { flags: IFA_F_NODAD } : {}
  const scope = scopeNumber[spec.scope ?? defaultScope(spec.address)]
  return {
    type: RTM_NEWADDR,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    write: (writer) =>
      writeBody(writer, addressShape, {
        header: { ...identity(spec, index), ...nodad, scope },
        attrs: { local: spec.address, address: spec.address },
      }),
    describe: () => formatRouteOp({ kind: 'address.replace', address: spec }),
  }
}

/** Takes the address away. */
export function addressDelRequest(spec: AddressSpec, index: number): NetlinkRequest {
  return {
    type: RTM_DELADDR,
    flags: 0,
    write: (writer) =>
      writeBody(writer, addressShape, {
        header: identity(spec, index),
        attrs: { local: spec.address, address: spec.address },
      }),
    describe: () => formatRouteOp({ kind: 'address.del', address: spec }),
  }
}

function identity({ address, prefixLength }: AddressSpec, index: number) {
  return { family: familyNumber[ipFamily(address)], prefixLength, index }
}

/** Loopback addresses are the host's own, as `ip address add` has it; IPv6 derives the scope from the address itself. */
function defaultScope(address: Ip): NonNullable<AddressSpec['scope']> {
  if (address.startsWith('127.') || address === '::1') return 'host'
  return /^fe[89ab].:/.test(address) ? 'link' : 'global'
}

/** All addresses of both families. */
export const addressDumpRequest: NetlinkRequest = {
  type: RTM_GETADDR,
  flags: 0,
  write: (writer) => writeBody(writer, addressShape, { header: {}, attrs: {} }),
  describe: () => 'ip address show',
}

/**
 * `scope` is told only where it is not what `address.replace` would choose by itself, so that what was read equals what
 * was asked for.
 * @throws ERR_NETLINK_MALFORMED
 */
export function decodeAddress(message: Pick<Message, 'buffer' | 'start' | 'end'>): Omit<Address, 'device'> | undefined {
  const { header, attrs } = decodeBody(addressShape, message)
  const address = attrs.local ?? attrs.address
  if (address === undefined) return undefined
  const scope = scopeName(header.scope)
  return {
    index: header.index,
    address,
    prefixLength: header.prefixLength,
    ...(scope === defaultScope(address) ? {} : { scope }),
  }
}
