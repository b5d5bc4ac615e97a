import { cidrContains } from '../../core/base/cidr.ts'
import { type Cidr, type Ip } from '../../core/base/ip.ts'
import { type Lease, type LeaseEntry, type LeaseKey, leaseKeyText } from './lease.ts'
import { freshCursor } from './pool.ts'

/** Released addresses that are remembered for each subnet: more than any IPv4 subnet of a node has. */
const restingLimit = 65536

/** What is known of one subnet, kept up to date. */
export interface SubnetBook {
  readonly subnet: Cidr
  /** See PoolView; moved by whoever allocates. */
  cursor: bigint
  readonly resting: Set<Ip>
}

/** All leases and resting addresses: the fold of the journal. */
export interface LeaseBook {
  apply(entry: LeaseEntry): void
  dump(): readonly LeaseEntry[]
  /** Entries of {@link dump}, at most. */
  count(): number
  lease(key: LeaseKey): Lease | undefined
  leases(): readonly Lease[]
  holder(address: Ip): Lease | undefined
  /** Whose the node's end is. */
  linkHolder(hostLink: string): Lease | undefined
  /** Made when first asked for. */
  subnet(subnet: Cidr): SubnetBook
}

/** An empty book. */
export function makeLeaseBook(): LeaseBook {
  const leases = new Map<string, Lease>()
  const holders = new Map<Ip, Lease>()
  const links = new Map<string, Lease>()
  const subnets = new Map<Cidr, SubnetBook>()
  /** Resting addresses of subnets that nobody asked for yet. */
  const loose = new Set<Ip>()

  const restingOf = (address: Ip): Set<Ip> => {
    for (const { subnet, resting } of subnets.values()) if (cidrContains(subnet, address)) return resting
    return loose
  }

  const rest = (address: Ip) => {
    const resting = restingOf(address)
    resting.add(address)
    const [oldest] = resting.size > restingLimit ? resting : []
    if (oldest !== undefined) resting.delete(oldest)
  }

  const free = (key: string) => {
    const lease = leases.get(key)
    leases.delete(key)
    if (lease !== undefined && links.get(lease.hostLink) === lease) links.delete(lease.hostLink)
    for (const address of lease?.addresses ?? []) {
      if (holders.get(address) !== lease) continue
      holders.delete(address)
      rest(address)
    }
  }

  const apply = (entry: LeaseEntry) => {
    if (entry.op === 'rest') {
      for (const address of entry.addresses) if (!holders.has(address)) rest(address)
      return
    }
    const key = leaseKeyText(entry.op === 'lease' ? entry.lease : entry.key)
    free(key)
    if (entry.op === 'free') return
    leases.set(key, entry.lease)
    if (entry.lease.hostLink !== '') links.set(entry.lease.hostLink, entry.lease)
    for (const address of entry.lease.addresses) {
      holders.set(address, entry.lease)
      restingOf(address).delete(address)
    }
  }

  const makeSubnet = (subnet: Cidr): SubnetBook => {
    const resting = new Set([...loose].filter((address) => cidrContains(subnet, address)))
    for (const address of resting) loose.delete(address)
    const cursor = freshCursor({ subnet, resting, isUsed: (address) => holders.has(address) })
    const book = { subnet, cursor, resting }
    subnets.set(subnet, book)
    return book
  }

  const dump = (): readonly LeaseEntry[] => [
    ...[...subnets.values()].map(({ resting }): LeaseEntry => ({ op: 'rest', addresses: [...resting] })),
    { op: 'rest', addresses: [...loose] },
    ...[...leases.values()].map((lease): LeaseEntry => ({ op: 'lease', lease })),
  ]

  return {
    apply,
    dump,
    count: () => leases.size + subnets.size + 1,
    lease: (key) => leases.get(leaseKeyText(key)),
    leases: () => [...leases.values()],
    holder: (address) => holders.get(address),
    linkHolder: (hostLink) => links.get(hostLink),
    subnet: (subnet) => subnets.get(subnet) ?? makeSubnet(subnet),
  }
}

/** How full a subnet is. */
export interface SubnetUsage {
  readonly used: number
  readonly resting: number
  /** Addresses that a container could get now, resting ones included. */
  readonly free: bigint
}

/** Counts one subnet. */
export function subnetUsage(book: LeaseBook, subnet: Cidr, capacity: bigint): SubnetUsage {
  const addresses = book.leases().flatMap((lease) => lease.addresses)
  const used = addresses.filter((address) => cidrContains(subnet, address)).length
  return { used, resting: book.subnet(subnet).resting.size, free: capacity - BigInt(used) }
}
