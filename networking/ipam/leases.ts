import { AppError } from '../../core/base/errors.ts'
import { cidrContains } from '../../core/base/cidr.ts'
import { type Cidr, type Ip } from '../../core/base/ip.ts'
import { type Logger } from '../../core/base/log.ts'
import { type LeaseBook, makeLeaseBook, type SubnetUsage, subnetUsage } from './book.ts'
import { openJournal } from './journal.ts'
import { type Lease, type LeaseKey, leaseKeyOf, leaseKeyText, parseLeaseEntry } from './lease.ts'
import { pickAddress, poolCapacity, poolIndex, subnetOfWish } from './pool.ts'

/** What to give an address to. */
export interface LeaseRequest extends LeaseKey {
  /** The node's subnets of the network: one address of each is given. */
  readonly subnets: readonly Cidr[]
  readonly mac: string
  readonly hostLink: string
  /** Addresses that must be given; at most one in each subnet. */
  readonly wanted?: readonly Ip[]
}

/**
 * Durable leases of this node's addresses. Every change is on disk before its promise resolves; concurrent changes share
 * one sync. Calls for one key must not overlap.
 */
export interface Leases {
  /** Of the machine's boot; leases that carry another are of containers that are gone. */
  readonly bootId: string
  /**
   * Gives one address of each subnet. Asked again for the same key, it gives the same ones, if they are as wanted.
   * @throws ERR_IPAM_EXHAUSTED, ERR_IPAM_TAKEN and ERR_IPAM_OUTSIDE for a wanted address, ERR_IPAM_BUSY when calls
   *   overlap, ERR_IPAM_DISK_FULL and ERR_IPAM_JOURNAL with nothing changed
   */
  allocate(request: LeaseRequest): Promise<Lease>
  /** Idempotent. @returns what was released, if anything @throws ERR_IPAM_DISK_FULL, ERR_IPAM_JOURNAL */
  release(key: LeaseKey): Promise<Lease | undefined>
  get(key: LeaseKey): Lease | undefined
  /** The lease whose node's end has this name. */
  linkHolder(hostLink: string): Lease | undefined
  list(): readonly Lease[]
  usage(subnet: Cidr): SubnetUsage
  close(): Promise<void>
}

/** Where leases are kept. */
export interface LeasesOptions {
  readonly path: string
  readonly bootId: string
  readonly log: Logger
}

/** Addresses and keys whose lines are on their way to the disk. */
interface InFlight {
  readonly addresses: Set<Ip>
  readonly keys: Set<string>
}

/** @throws ERR_IPAM_JOURNAL when the journal cannot be opened */
export async function openLeases({ path, bootId, log }: LeasesOptions): Promise<Leases> {
  const book = makeLeaseBook()
  const journal = await openJournal({ path, log, parse: parseLeaseEntry, ...book })
  const inFlight: InFlight = { addresses: new Set(), keys: new Set() }

  const allocate = async (request: LeaseRequest): Promise<Lease> => {
    const key = leaseKeyText(request)
    if (inFlight.keys.has(key)) {
      throw new AppError('ERR_IPAM_BUSY', `another call for ${request.container} ${request.ifname} is under way`)
    }
    const held = book.lease(request)
    const addresses = held !== undefined && suits(held, request) ? held.addresses : choose(book, inFlight, request)
    const { mac, hostLink } = request
    const lease: Lease = { ...leaseKeyOf(request), addresses, mac, hostLink, bootId }
    if (held !== undefined && JSON.stringify(held) === JSON.stringify(lease)) return held
    inFlight.keys.add(key)
    for (const address of addresses) inFlight.addresses.add(address)
    try {
      await journal.append({ op: 'lease', lease })
    } catch (error) {
      for (const address of addresses) giveBack(book, request.subnets, address)
      throw error
    } finally {
      inFlight.keys.delete(key)
      for (const address of addresses) inFlight.addresses.delete(address)
    }
    return lease
  }

  return {
    bootId,
    allocate,
    release: async (key) => {
      const lease = book.lease(key)
      if (lease !== undefined) await journal.append({ op: 'free', key: leaseKeyOf(key) })
      return lease
    },
    get: book.lease,
    linkHolder: book.linkHolder,
    list: book.leases,
    usage: (subnet) => subnetUsage(book, subnet, poolCapacity(subnet)),
    close: journal.close,
  }
}

function suits(held: Lease, { subnets, wanted = [] }: LeaseRequest): boolean {
  const matches = subnets.every((subnet) => held.addresses.some((address) => cidrContains(subnet, address)))
  return matches && held.addresses.length === subnets.length && wanted.every((ip) => held.addresses.includes(ip))
}

/** All or none: nothing is marked before every subnet has an address. */
function choose(book: LeaseBook, inFlight: InFlight, request: LeaseRequest): readonly Ip[] {
  const { subnets, wanted = [] } = request
  const wishes = new Map<Cidr, Ip>()
  for (const address of wanted) {
    const subnet = subnetOfWish(address, subnets)
    if (wishes.has(subnet)) {
      throw new AppError('ERR_IPAM_OUTSIDE', `${wishes.get(subnet)} and ${address} are both in ${subnet}: ask for one`)
    }
    wishes.set(subnet, address)
  }
  const isUsed = (address: Ip) => inFlight.addresses.has(address) || book.holder(address) !== undefined
  const picks = subnets.map((subnet) => {
    const wish = wishes.get(subnet)
    if (wish !== undefined) return { subnet, address: untaken(book, inFlight, { wish, request }), cursor: undefined }
    const pick = pickAddress({ ...book.subnet(subnet), isUsed })
    if (pick !== undefined) return { subnet, ...pick }
    const { used, resting } = subnetUsage(book, subnet, poolCapacity(subnet))
    throw new AppError('ERR_IPAM_EXHAUSTED', `no free address in ${subnet} (${used} used): stop some container`, {
      details: { subnet, used, resting },
    })
  })
  for (const { subnet, cursor } of picks) if (cursor !== undefined) book.subnet(subnet).cursor = cursor
  return picks.map(({ address }) => address)
}

function untaken(
  book: LeaseBook,
  inFlight: InFlight,
  { wish, request }: { readonly wish: Ip; readonly request: LeaseRequest },
): Ip {
  const holder = book.holder(wish)
  const own = holder !== undefined && leaseKeyText(holder) === leaseKeyText(request)
  if (!inFlight.addresses.has(wish) && (holder === undefined || own)) return wish
  const by = holder === undefined ? 'another container' : `container ${holder.container} (${holder.ifname})`
  throw new AppError('ERR_IPAM_TAKEN', `address ${wish} is used by ${by}: ask for another or stop that container`)
}

function giveBack(book: LeaseBook, subnets: readonly Cidr[], address: Ip): void {
  const subnet = subnets.find((candidate) => cidrContains(candidate, address))
  if (subnet === undefined || book.holder(address) !== undefined) return
  const pool = book.subnet(subnet)
  const index = poolIndex(subnet, address)
  if (!pool.resting.has(address) && index < pool.cursor) pool.cursor = index
}
