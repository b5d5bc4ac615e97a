import { AppError } from '../../core/base/errors.ts'
import { type Cidr, type Ip } from '../../core/base/ip.ts'
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
  /**
   * Leases what another IPAM plugin chose, or will: without addresses it is an intent, to be adopted again with them.
   * @throws ERR_IPAM_TAKEN when another container has one of the addresses; ERR_IPAM_DISK_FULL, ERR_IPAM_JOURNAL
   */
  adopt(lease: Omit<Lease, 'bootId'>): Promise<Lease>
  /**
   * Notes how far ADD or DEL has come. It survives the end of this process at once; after a power failure every lease is
   * of another boot anyway. @throws ERR_IPAM_DISK_FULL, ERR_IPAM_JOURNAL
   */
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
    const addresses =
      held !== undefined && suits(held, request) ? held.addresses : choose(book, inFlight.addresses, request)
    const lease: Lease = { ...leaseKeyOf(request), ...partsOf(request), addresses, bootId }
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

  const adopt = async (parts: Omit<Lease, 'bootId'>): Promise<Lease> => {
    const lease: Lease = { ...parts, bootId }
    for (const address of lease.addresses) {
      const holder = book.holder(address)
      if (holder === undefined || leaseKeyText(holder) === leaseKeyText(lease)) continue
      throw new AppError('ERR_IPAM_TAKEN', `address ${address} is used by container ${holder.container}`)
    }
    await journal.append({ op: 'lease', lease })
    return lease
  }

  const mark = async (key: LeaseKey, state: 'whole' | 'removing'): Promise<void> => {
    const lease = book.lease(key)
    if (lease === undefined) return
    const { state: before = 'whole', ...rest } = lease
    if (before === state) return
    await journal.append({ op: 'lease', lease: state === 'whole' ? rest : { ...rest, state } }, 'later')
  }

  return {
    bootId,
    allocate,
    adopt,
    mark,
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
