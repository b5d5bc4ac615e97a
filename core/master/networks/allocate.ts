import { cidrNth, cidrParts, cidrSize, cidrSubnet } from '../../base/cidr.ts'
import { AppError } from '../../base/errors.ts'
import { type Cidr, type Ip, ipToBigInt, ipToBytes } from '../../base/ip.ts'
import { type Mac, parseMac } from '../../model/ids.ts'

/** VXLAN network identifier of the first network; the others get the lowest free one above. Source: reference/overlay.md. */
export const firstVni = 1024

/** Lowest integer from `from` that is not used; undefined when all below `end` are. */
export function lowestFree(used: ReadonlySet<number>, from: number, end: number): number | undefined {
  for (let candidate = from; candidate < end; candidate++) if (!used.has(candidate)) return candidate
  return undefined
}

/** The lowest sub-prefix of `length` bits of `range` that is none of `taken` (which are of that length too). */
export function lowestFreeSubnet(range: Cidr, length: number, taken: Iterable<Cidr>): Cidr | undefined {
  const { address, family, length: rangeLength } = cidrParts(range)
  const hostBits = BigInt((family === 4 ? 32 : 128) - length)
  const base = ipToBigInt(address) >> hostBits
  const count = 2 ** Math.min(length - rangeLength, 32)
  const used = new Set<number>()
  for (const cidr of taken) {
    const parts = cidrParts(cidr)
    if (parts.family === family) used.add(Number((ipToBigInt(parts.address) >> hostBits) - base))
  }
  const index = lowestFree(used, 0, count)
  return index === undefined ? undefined : cidrSubnet(range, length, BigInt(index))
}

/**
 * MAC of a VTEP: the OUI 70:b3:d5 and the low 24 bits of its address (44.128.0.1 → 70:b3:d5:80:00:01).
 * Source: reference/overlay.md.
 */
export function vtepMac(address: Ip): Mac {
  const low = [...ipToBytes(address).slice(-3)].map((octet) => octet.toString(16).padStart(2, '0'))
  return parseMac(['70', 'b3', 'd5', ...low].join(':'))
}

/**
 * Address for a named VIP: the hash of `name.framework` says where to begin, the next free one is taken. The same name gets
 * the same address again as long as nobody else's hash came first. Source: reference/vip-load-balancer.md.
 * @throws ERR_MASTER_VIPS_EXHAUSTED
 */
export function vipAddress(range: Cidr, key: string, taken: ReadonlySet<Ip>): Ip {
  const hosts = Number(cidrSize(range)) - 2
  const start = fnv1a(key) % hosts
  for (let step = 0; step < hosts; step++) {
    const address = cidrNth(range, BigInt(1 + ((start + step) % hosts)))
    if (!taken.has(address)) return address
  }
  throw new AppError(
    'ERR_MASTER_VIPS_EXHAUSTED',
    `all ${hosts} addresses of ${range} are given to VIPs: weft vip list shows them, weft vip remove frees one`,
  )
}

/** 32-bit FNV-1a of the UTF-16 code units. Source: draft-eastlake-fnv. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}
