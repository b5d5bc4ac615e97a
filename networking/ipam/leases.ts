import { AppError } from '../../core/base/errors.ts'
import { type Cidr } from '../../core/base/ip.ts'
import { type Logger } from '../../core/base/log.ts'
import { makeLeaseBook, type SubnetUsage, subnetUsage } from './book.ts'
import { type AddressRequest, choose, giveBack, suits } from './choose.ts'
import { openJournal } from './journal.ts'
import { type Lease, type LeaseKey, leaseKeyOf, leaseKeyText } from './lease.ts'
import { parseLeaseEntry } from './lease-parse.ts'
import { poolCapacity } from './pool.ts'

/** What to give an address to, and what to keep with the lease. */
export interface LeaseRequest extends AddressRequest, LeaseExtras {
  readonly mac: string
  readonly hostLink: string
}

/** What else a lease says. */
export type LeaseExtras = Pick<Lease, 'state' | 'portMappings' | 'bandwidth' | 'aliases'>

/**
 * Durable leases of this node's addresses. Every change survives the end of this process before its promise resolves.
 * What is given is on the disk itself too; concurrent calls share one sync. What is given back, or marked, gets there with
 * the next sync: were it lost in a power failure, the lease would be of another boot, and released at the next start.
 */
export interface Leases {
  /** Of the machine's boot; leases that carry another are of containers that are gone. */
  readonly bootId: string
  /**
   * Gives one address of each subnet. Asked again for the same key, it gives the same ones, if they are as wanted.
   * @throws ERR_IPAM_EXHAUSTED, ERR_IPAM_TAKEN and ERR_IPAM_OUTSIDE for a wanted address, ERR_IPAM_DISK_FULL
   *   and ERR_IPAM_JOURNAL with nothing changed
   */
  allocate(request: LeaseRequest): Promise<Lease>
  /**
   * As `allocate`, for who has something to do while the disk works: the lease survives the end of this process at once.
   * @throws as `allocate`; what the disk refuses later rejects `durable`, and the lease must then be released
   */
  begin(request: LeaseRequest): BegunLease
  /**
   * Leases what another IPAM plugin chose, or will: without addresses it is an intent, to be adopted again with them.
   * @throws ERR_IPAM_TAKEN when another container has one of the addresses; ERR_IPAM_DISK_FULL, ERR_IPAM_JOURNAL
   */
  adopt(lease: Omit<Lease, 'bootId'>): Promise<Lease>
  /** Notes how far ADD or DEL has come. @throws ERR_IPAM_DISK_FULL, ERR_IPAM_JOURNAL */
  mark(key: LeaseKey, state: 'whole' | 'removing'): Promise<void>
  /** Idempotent. @returns what was released, if anything @throws ERR_IPAM_DISK_FULL, ERR_IPAM_JOURNAL */
  release(key: LeaseKey): Promise<Lease | undefined>
  get(key: LeaseKey): Lease | undefined
  /** The lease whose node's end has this name. */
  linkHolder(hostLink: string): Lease | undefined
  list(): readonly Lease[]
  usage(subnet: Cidr): SubnetUsage
  close(): Promise<void>
}

/** A lease on its way to the disk. */
export interface BegunLease {
  readonly lease: Lease
  /** Resolves when it is there. @throws ERR_IPAM_DISK_FULL, ERR_IPAM_JOURNAL */
  readonly durable: Promise<void>
}

/** Where leases are kept. */
export interface LeasesOptions {
  readonly path: string
  readonly bootId: string
  readonly log: Logger
}

/** @throws ERR_IPAM_JOURNAL when the journal cannot be opened */
export async function openLeases({ path, bootId, log }: LeasesOptions): Promise<Leases> {
  const book = makeLeaseBook()
  const journal = await openJournal({ path, log, parse: parseLeaseEntry, ...book })
  const onItsWay = (lease: Lease): BegunLease => {
    const durable = journal.synced()
    durable.catch(() => undefined) // whoever began it hears of it when they wait
    return { lease, durable }
  }

  const begin = (request: LeaseRequest): BegunLease => {
    const held = book.lease(request)
    const addresses = held !== undefined && suits(held, request) ? held.addresses : choose(book, request)
    const lease: Lease = { ...leaseKeyOf(request), ...partsOf(request), addresses, bootId }
    if (held !== undefined && JSON.stringify(held) === JSON.stringify(lease)) return onItsWay(held)
    try {
      journal.write({ op: 'lease', lease })
    } catch (error) {
      for (const address of addresses) giveBack(book, request.subnets, address)
      throw error
    }
    return onItsWay(lease)
  }

  const release = async (key: LeaseKey): Promise<Lease | undefined> => {
    const lease = book.lease(key)
    if (lease !== undefined) journal.write({ op: 'free', key: leaseKeyOf(key) })
    return lease
  }

  const allocate = async (request: LeaseRequest): Promise<Lease> => {
    const { lease, durable } = begin(request)
    try {
      await durable
    } catch (error) {
      if (book.lease(request) === lease) await release(lease)
      throw error
    }
    return lease
  }

  const adopt = async (parts: Omit<Lease, 'bootId'>): Promise<Lease> => {
    const lease: Lease = { ...parts, bootId }
    for (const address of lease.addresses) {
      const holder = book.holder(address)
      if (holder === undefined || leaseKeyText(holder) === leaseKeyText(lease)) continue
      throw new AppError('ERR_IPAM_TAKEN', `address ${address} is used by container ${holder.container}`)
    }
    journal.write({ op: 'lease', lease })
    await journal.synced()
    return lease
  }

  const mark = async (key: LeaseKey, state: 'whole' | 'removing'): Promise<void> => {
    const lease = book.lease(key)
    if (lease === undefined) return
    const { state: before = 'whole', ...rest } = lease
    if (before === state) return
    journal.write({ op: 'lease', lease: state === 'whole' ? rest : { ...rest, state } })
  }

  return {
    bootId,
    allocate,
    begin,
    adopt,
    mark,
    release,
    get: book.lease,
    linkHolder: book.linkHolder,
    list: book.leases,
    usage: (subnet) => subnetUsage(book, subnet, poolCapacity(subnet)),
    close: journal.close,
  }
}

function partsOf(request: LeaseRequest): Pick<Lease, 'mac' | 'hostLink'> & LeaseExtras {
  const { mac, hostLink, state, portMappings = [], bandwidth, aliases = [] } = request
  return {
    mac,
    hostLink,
    ...(state === undefined ? {} : { state }),
    ...(portMappings.length === 0 ? {} : { portMappings }),
    ...(bandwidth === undefined ? {} : { bandwidth }),
    ...(aliases.length === 0 ? {} : { aliases }),
  }
}
