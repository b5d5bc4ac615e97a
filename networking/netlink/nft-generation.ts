/**
 * Has anybody else changed nftables? Each commit raises the generation of its network namespace by one, so one small request
 * tells. Rejected: the kernel's notifications, which repeat every element, our own 10,000 too, and overflow.
 * Source: include/uapi/linux/netfilter/nf_tables.h; net/netfilter/nf_tables_api.c, nf_tables_getgen, nf_tables_commit.
 */
import { attrTable } from './attr.ts'
import { octets, u16be, u8 } from './codec.ts'
import { decodeBody, writeBody } from './message.ts'
import { type NetnsTarget } from './namespace.ts'
import { NETLINK_NETFILTER } from './port.ts'
import { openNetlinkSocket } from './socket.ts'
import { struct } from './struct.ts'

/** NFNL_SUBSYS_NFTABLES, nfnetlink.h; NFT_MSG_GETGEN */
const getGeneration = (10 << 8) | 16
/** `struct nfgenmsg` with NFTA_GEN_*, of which the id is in network byte order */
const shape = {
  header: struct(4, { family: [0, u8], version: [1, u8], resource: [2, u16be] }),
  attrs: attrTable({ id: [1, octets] }),
}

const octetsOfNone = Uint8Array.of(0, 0, 0, 0)

/** The generation of one namespace's nftables. */
export interface NftGeneration {
  /** @throws ERR_NETLINK_<ERRNO> */
  read(): number
  close(): void
}

/** @throws ERR_NETNS_NOT_FOUND, ERR_NETNS_INVALID, ERR_NATIVE_<ERRNO> */
export function openNftGeneration({ netns }: { readonly netns?: NetnsTarget } = {}): NftGeneration {
  const socket = openNetlinkSocket({ protocol: NETLINK_NETFILTER, netns })
  const request = {
    type: getGeneration,
    flags: 0,
    write: (writer: Parameters<typeof writeBody>[0]) => writeBody(writer, shape, { header: {}, attrs: {} }),
    describe: () => 'nftables generation',
  }
  return {
    read: () => {
      let id = 0
      socket.request(request, (message) => {
        id = Buffer.from(decodeBody(shape, message).attrs.id ?? octetsOfNone).readUInt32BE()
      })
      return id
    },
    close: () => socket.close(),
  }
}
