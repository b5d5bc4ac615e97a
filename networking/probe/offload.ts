/** Device features by generic netlink: the family `ethtool`, Documentation/networking/ethtool-netlink.rst. */
import { attrTable, nested, nestedList, nestedType } from '../netlink/attr.ts'
import { flag, text, u32 } from '../netlink/codec.ts'
import { openGenericSocket } from '../netlink/genl.ts'
import { type NetnsTarget } from '../netlink/namespace.ts'

/** ETHTOOL_MSG_FEATURES_GET and _SET, include/uapi/linux/ethtool_netlink.h */
const FEATURES_GET = 11
const FEATURES_SET = 12

/** NETIF_F_HW_CSUM by its name for people: the device computes checksums of packets that leave. */
const feature = 'tx-checksum-ip-generic'

/** ETHTOOL_A_BITSET_BIT_* */
const bitAttrs = attrTable({ index: [1, u32], name: [2, text], value: [3, flag] })
/** ETHTOOL_A_BITSET_BITS_BIT is 1 for each of the list; ETHTOOL_A_BITSET_*: without mask it is the whole set. */
const bitsetAttrs = attrTable({
  noMask: [1, flag],
  size: [2, u32],
  bits: [nestedType(3), nestedList(bitAttrs)],
})
/** ETHTOOL_A_HEADER_DEV_NAME */
const headerAttrs = attrTable({ device: [2, text] })
/** ETHTOOL_A_FEATURES_* */
const featureAttrs = attrTable({
  header: [nestedType(1), nested(headerAttrs)],
  wanted: [nestedType(3), nested(bitsetAttrs)],
  active: [4, nested(bitsetAttrs)],
})

/** Whether devices of one namespace are left to compute the checksums of packets that they send. */
export interface ChecksumOffload {
  /** @throws ERR_NETLINK_ENODEV */
  read(device: string): 'on' | 'off'
  /** `ethtool -K DEVICE tx-checksum-ip-generic on|off`. @throws ERR_NETLINK_ENODEV, ERR_NETLINK_<ERRNO> */
  set(device: string, state: 'on' | 'off'): void
  close(): void
}

/** @throws ERR_NETLINK_FAMILY when the kernel has no family `ethtool` (before Linux 5.6) */
export function openChecksumOffload({ netns }: { readonly netns?: NetnsTarget } = {}): ChecksumOffload {
  const socket = openGenericSocket(netns === undefined ? {} : { netns })
  const family = socket.family('ethtool')
  const read = (device: string) => {
    const [reply] = socket.request({
      ...{ family, command: FEATURES_GET, table: featureAttrs, attrs: { header: { device } } },
      describe: () => `ethtool -k ${device}`,
    })
    return reply?.active?.bits?.some(({ name }) => name === feature) === true ? 'on' : 'off'
  }
  const set = (device: string, state: 'on' | 'off') => {
    const bit = { name: feature, ...(state === 'on' ? { value: true as const } : {}) }
    socket.request({
      ...{ family, command: FEATURES_SET, table: featureAttrs },
      attrs: { header: { device }, wanted: { bits: [bit] } },
      describe: () => `ethtool -K ${device} ${feature} ${state}`,
    })
  }
  return { read, set, close: () => socket.close() }
}
