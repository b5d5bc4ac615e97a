import { AppError } from '../../core/base/errors.ts'
import { cidrContains } from '../../core/base/cidr.ts'
import { type Cidr, type Ip } from '../../core/base/ip.ts'
import { type LeaseBook, subnetUsage } from './book.ts'
import { type Lease, type LeaseKey, leaseKeyText } from './lease.ts'
import { type AddressRange, pickAddress, pickInRanges, poolCapacity, poolIndex, subnetOfWish } from './pool.ts'

/** What a container asks for. */
export interface AddressRequest extends LeaseKey {
  /** The node's subnets of the network: one address of each is given. */
  readonly subnets: readonly Cidr[]
  /** Addresses that must be given; at most one in each subnet. */
  readonly wanted?: readonly Ip[]
  /** Where the others must be from; each lies in one of the subnets. */
  readonly ranges?: readonly AddressRange[]
}

/** True when a lease that the container has already is what it asks for. */
export function suits(held: Lease, { subnets, wanted = [] }: AddressRequest): boolean {
  const matches = subnets.every((subnet) => held.addresses.some((address) => cidrContains(subnet, address)))
  return matches && held.addresses.length === subnets.length && wanted.every((ip) => held.addresses.includes(ip))
}

/**
 * One address of each subnet. All or none: nothing is marked before every subnet has an address.
 * @throws ERR_IPAM_EXHAUSTED, ERR_IPAM_TAKEN, ERR_IPAM_OUTSIDE
 */
export function choose(book: LeaseBook, request: AddressRequest): readonly Ip[] {
  const wishes = wishesBySubnet(request)
  const ranges = rangesBySubnet(request)
  const isUsed = (address: Ip) => book.holder(address) !== undefined
  const picks = request.subnets.map((subnet) => {
    const wish = wishes.get(subnet)
    if (wish !== undefined) return { subnet, address: untaken(book, wish, request), cursor: undefined }
    const pool = { ...book.subnet(subnet), isUsed }
    const within = ranges.get(subnet)
    if (within === undefined) {
      const pick = pickAddress(pool)
      if (pick !== undefined) return { subnet, ...pick }
    } else {
      const address = pickInRanges(pool, within)
      if (address !== undefined) return { subnet, address, cursor: undefined }
    }
    throw exhausted(book, subnet, within)
  })
  for (const { subnet, cursor } of picks) if (cursor !== undefined) book.subnet(subnet).cursor = cursor
  return picks.map(({ address }) => address)
}

function exhausted(book: LeaseBook, subnet: Cidr, ranges: readonly AddressRange[] | undefined): AppError {
  const { used, resting } = subnetUsage(book, subnet, poolCapacity(subnet))
  const where = ranges === undefined ? subnet : ranges.map(({ first, last }) => `${first}-${last}`).join(', ')
  const message = `no free address in ${where} (${used} of ${subnet} used): stop some container`
  return new AppError('ERR_IPAM_EXHAUSTED', message, { details: { subnet, used, resting } })
}

/** Subnets without a range of theirs are open. @throws ERR_IPAM_OUTSIDE */
function rangesBySubnet({ subnets, ranges = [] }: AddressRequest): ReadonlyMap<Cidr, readonly AddressRange[]> {
  const found = new Map<Cidr, AddressRange[]>()
  for (const range of ranges) {
    const subnet = subnets.find((candidate) => cidrContains(candidate, range.first))
    if (subnet === undefined || !cidrContains(subnet, range.last)) {
      const shown = subnets.join(', ')
      throw new AppError(
        'ERR_IPAM_OUTSIDE',
        `range ${range.first}-${range.last} is not in this node's subnets (${shown})`,
      )
    }
    found.set(subnet, [...(found.get(subnet) ?? []), range])
  }
  return found
}

function wishesBySubnet({ subnets, wanted = [] }: AddressRequest): ReadonlyMap<Cidr, Ip> {
  const wishes = new Map<Cidr, Ip>()
  for (const address of wanted) {
    const subnet = subnetOfWish(address, subnets)
    if (wishes.has(subnet)) {
      throw new AppError('ERR_IPAM_OUTSIDE', `${wishes.get(subnet)} and ${address} are both in ${subnet}: ask for one`)
    }
    wishes.set(subnet, address)
  }
  return wishes
}

function untaken(book: LeaseBook, wish: Ip, request: LeaseKey): Ip {
  const holder = book.holder(wish)
  if (holder === undefined || leaseKeyText(holder) === leaseKeyText(request)) return wish
  const by = `container ${holder.container} (${holder.ifname})`
  throw new AppError('ERR_IPAM_TAKEN', `address ${wish} is used by ${by}: ask for another or stop that container`)
}

/** An address that was chosen but not leased after all is the next one again. */
export function giveBack(book: LeaseBook, subnets: readonly Cidr[], address: Ip): void {
  const subnet = subnets.find((candidate) => cidrContains(candidate, address))
  if (subnet === undefined || book.holder(address) !== undefined) return
  const pool = book.subnet(subnet)
  const index = poolIndex(subnet, address)
  if (!pool.resting.has(address) && index < pool.cursor) pool.cursor = index
}
