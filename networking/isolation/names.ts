import { type IpFamily } from '../../core/base/ip.ts'

/** Prefix of the names of this part's objects in Weft's table. */
export const isolationOwner = 'iso-'

/** The chain that gives a packet back the priority that the kernel had given it. */
export const restoreChain = `${isolationOwner}restore`

/** IP versions, each with sets and maps of its own. */
export const families: readonly IpFamily[] = [4, 6]

/** nft's word for the header of an IP version. */
export const header = { 4: 'ip', 6: 'ip6' } as const

/** nft's type of an address. */
export const addressType = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const
