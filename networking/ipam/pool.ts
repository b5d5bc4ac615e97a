import { AppError } from '../../core/base/errors.ts'
import { cidrContains, cidrParts, cidrNth, cidrSize } from '../../core/base/cidr.ts'
import { type Cidr, type Ip, ipToBigInt } from '../../core/base/ip.ts'

/**
 * Which address comes next. Never-used addresses go first, in order; then the one that was released longest ago. So a
 * released address rests as long as the subnet allows, and stale connections and caches do not reach its next owner.
 */

/** What is known of one subnet's addresses. Every address below `cursor` is used or resting (or was forgotten). */
export interface PoolView {
  readonly subnet: Cidr
  /** Index of the first address that was never used. */
  readonly cursor: bigint
  /** Released addresses, the oldest release first. */
  readonly resting: ReadonlySet<Ip>
  isUsed(address: Ip): boolean
}

/** What to give, and where the next search starts. */
export interface Pick {
  readonly address: Ip
  readonly cursor: bigint
}

/** Addresses from `first` to `last`, both included. */
export interface AddressRange {
  readonly first: Ip
  readonly last: Ip
}

/** Index of the first address that containers may have: 0 is the network's, 1 is the node's. */
export const firstIndex = 2n

/** One past the last index that containers may have: IPv4's last address is its broadcast. */
function endIndex(subnet: Cidr): bigint {
  return cidrSize(subnet) - (cidrParts(subnet).family === 4 ? 1n : 0n)
}

/** How many containers fit. */
export function poolCapacity(subnet: Cidr): bigint {
  const capacity = endIndex(subnet) - firstIndex
  return capacity > 0n ? capacity : 0n
}

/** The position of an address of the subnet. */
export function poolIndex(subnet: Cidr, address: Ip): bigint {
  return ipToBigInt(address) - ipToBigInt(cidrParts(subnet).address)
}

/** @returns undefined when none is free */
export function pickAddress(pool: PoolView): Pick | undefined {
  // The last search finds what was forgotten of a huge subnet's resting addresses.
  return pickFresh(pool, pool.cursor) ?? pickRested(pool) ?? pickFresh(pool, firstIndex)
}

/**
 * Picks within ranges of one subnet: the first address that neither is used nor rests, else the first that rests.
 * @returns undefined when all are used
 */
export function pickInRanges(pool: PoolView, ranges: readonly AddressRange[]): Ip | undefined {
  let rested: Ip | undefined
  const end = endIndex(pool.subnet)
  for (const { first, last } of ranges) {
    const start = poolIndex(pool.subnet, first)
    for (let index = start < firstIndex ? firstIndex : start; index < end; index++) {
      const address = cidrNth(pool.subnet, index)
      if (index > poolIndex(pool.subnet, last)) break
      if (pool.isUsed(address)) continue
      if (!pool.resting.has(address)) return address
      rested ??= address
    }
  }
  return rested
}

/** Where the search for never-used addresses starts, from what is used and resting alone. */
export function freshCursor(pool: Omit<PoolView, 'cursor'>): bigint {
  return (pickFresh(pool, firstIndex)?.cursor ?? endIndex(pool.subnet) + 1n) - 1n
}

function pickFresh({ subnet, resting, isUsed }: Omit<PoolView, 'cursor'>, from: bigint): Pick | undefined {
  const end = endIndex(subnet)
  for (let index = from; index < end; index++) {
    const address = cidrNth(subnet, index)
    if (!isUsed(address) && !resting.has(address)) return { address, cursor: index + 1n }
  }
  return undefined
}

function pickRested({ resting, isUsed, cursor }: PoolView): Pick | undefined {
  for (const address of resting) if (!isUsed(address)) return { address, cursor }
  return undefined
}

/**
 * Which of the subnets a wished address is in.
 * @throws ERR_IPAM_OUTSIDE when it is in none, or is the network's, the node's or the broadcast address
 */
export function subnetOfWish(address: Ip, subnets: readonly Cidr[]): Cidr {
  const subnet = subnets.find((candidate) => cidrContains(candidate, address))
  if (subnet === undefined) {
    const shown = subnets.join(', ')
    throw new AppError(
      'ERR_IPAM_OUTSIDE',
      `address ${address} is not in this node's subnets (${shown}): ask for another`,
    )
  }
  const index = poolIndex(subnet, address)
  if (index < firstIndex || index >= endIndex(subnet)) {
    throw new AppError('ERR_IPAM_OUTSIDE', `address ${address} is reserved in ${subnet}: ask for another`)
  }
  return subnet
}
