import { AppError } from './errors.ts'
import {
  type Cidr,
  familyBits,
  type Ip,
  type IpFamily,
  ipFamily,
  ipFromBigInt,
  ipToBigInt,
  ipv4FromNumber,
  ipv4ToNumber,
  parseIp,
} from './ip.ts'

/** A prefix taken apart. */
export interface CidrParts {
  readonly address: Ip
  readonly length: number
  readonly family: IpFamily
}

/** @throws ERR_IP_INVALID for anything but `address/length` with all host bits zero and no leading zero in the length */
export function parseCidr(text: string): Cidr {
  const match = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text)
  if (match?.[1] === undefined) throw new AppError('ERR_IP_INVALID', `"${text}" is not address/length`)
  const address = parseIp(match[1])
  const length = Number(match[2])
  if (length > familyBits(ipFamily(address))) {
    throw new AppError('ERR_IP_INVALID', `"${text}": the length is at most ${familyBits(ipFamily(address))}`)
  }
  const cidr = cidrOf(address, length)
  const { address: network } = cidrParts(cidr)
  if (network !== address) throw new AppError('ERR_IP_INVALID', `"${text}" has host bits set; did you mean ${cidr}?`)
  return cidr
}

/** The prefix of `length` bits that holds `address`. */
export function cidrOf(address: Ip, length: number): Cidr {
  const family = ipFamily(address)
  if (length === familyBits(family)) return `${address}/${length}` as Cidr
  if (family === 4) return `${ipv4FromNumber(ipv4ToNumber(address) & ipv4Mask(length))}/${length}` as Cidr
  const hostBits = BigInt(familyBits(family) - length)
  return `${ipFromBigInt((ipToBigInt(address) >> hostBits) << hostBits, family)}/${length}` as Cidr
}

/** A shift by 32 would be one by 0. */
function ipv4Mask(length: number): number {
  return length === 0 ? 0 : -1 << (32 - length)
}

/** Address, length and family of a prefix. */
export function cidrParts(cidr: Cidr): CidrParts {
  const slash = cidr.indexOf('/')
  const address = cidr.slice(0, slash) as Ip
  return { address, length: Number(cidr.slice(slash + 1)), family: ipFamily(address) }
}

/** How many addresses the prefix has. */
export function cidrSize(cidr: Cidr): bigint {
  const { length, family } = cidrParts(cidr)
  return 1n << BigInt(familyBits(family) - length)
}

/** The address at `index` (0 is the network's own). @throws ERR_IP_INVALID when it lies outside the prefix */
export function cidrNth(cidr: Cidr, index: bigint): Ip {
  if (index < 0n || index >= cidrSize(cidr)) throw new AppError('ERR_IP_INVALID', `${cidr} has no address ${index}`)
  const { address, family } = cidrParts(cidr)
  return ipFromBigInt(ipToBigInt(address) + index, family)
}

/** The sub-prefix at `index` when `cidr` is cut into prefixes of `length` bits. */
export function cidrSubnet(cidr: Cidr, length: number, index: bigint): Cidr {
  const { family } = cidrParts(cidr)
  return cidrOf(cidrNth(cidr, index << BigInt(familyBits(family) - length)), length)
}

/** True when the address lies in the prefix; false for the other family. */
export function cidrContains(cidr: Cidr, address: Ip): boolean {
  const { address: network, length, family } = cidrParts(cidr)
  if (ipFamily(address) !== family) return false
  if (family === 4) return ((ipv4ToNumber(address) ^ ipv4ToNumber(network)) & ipv4Mask(length)) === 0
  return cidrOf(address, length) === cidr
}

/** True when two prefixes share an address. */
export function cidrOverlaps(a: Cidr, b: Cidr): boolean {
  const [wide, narrow] = cidrParts(a).length <= cidrParts(b).length ? [a, b] : [b, a]
  return cidrContains(wide, cidrParts(narrow).address)
}
