import { openOrder } from './order.ts'

/** What counts for shares: ports and sets don't. */
export interface Scalars {
  readonly cpuMillis: number
  readonly memMb: number
  readonly diskMb: number
}

/** What the cluster has, shared by all sorters of an allocator. `epoch` counts its changes. */
export interface ClusterTotal {
  cpuMillis: number
  memMb: number
  diskMb: number
  epoch: number
}

/**
 * Clients (roles of one level, or the frameworks of a role) in the order of dominant resource fairness: who has the smallest
 * share comes first. The order is kept, not recomputed: a grant moves one client. Only a change of the cluster's total moves
 * all of them; it is carried out when the order is next asked for.
 *
 * share = max over cpus, mem, disk (allocated ÷ cluster total) ÷ weight; ties: fewer allocations, then name.
 * Source: mesos, src/master/allocator/mesos/sorter/drf/sorter.cpp.
 */
export interface Sorter<Client extends string> {
  /** Adds an inactive client, or gives a known one another weight. */
  add(client: Client, weight: number): void
  remove(client: Client): void
  /** An inactive client keeps its share but is not in the order. */
  setActive(client: Client, state: 'active' | 'inactive'): void
  isActive(client: Client): boolean
  hasActive(): boolean
  /** `sign`: 1 for a grant, -1 for its end. */
  tally(client: Client, amount: Scalars, sign: 1 | -1): void
  allocated(client: Client): Scalars
  /** How many grants a client holds. */
  grants(client: Client): number
  /** Dominant share divided by weight; 0 for an unknown client. */
  share(client: Client): number
  /** The neediest active client that `accept` takes; it costs as many steps as clients are passed over. */
  find(accept: (client: Client) => boolean): Client | undefined
  /** All active clients, the neediest first: a copy. */
  order(): readonly Client[]
}

interface Entry<Client> {
  readonly client: Client
  weight: number
  active: boolean
  cpuMillis: number
  memMb: number
  diskMb: number
  allocations: number
  share: number
}

const nothing: Scalars = { cpuMillis: 0, memMb: 0, diskMb: 0 }

/** Opens an empty sorter that reads `total`. */
export function openSorter<Client extends string>(total: ClusterTotal): Sorter<Client> {
  const entries = new Map<Client, Entry<Client>>()
  const order = openOrder<Entry<Client>>(compare)
  let activeCount = 0
  let epoch = total.epoch
  const refresh = () => {
    if (epoch === total.epoch) return
    epoch = total.epoch
    for (const entry of entries.values()) entry.share = shareOf(entry, total)
    order.rebuild([...entries.values()].filter(({ active }) => active))
  }
  /** Changes an entry and puts it where it then belongs; an order that is to be made anew is left alone. */
  const move = (entry: Entry<Client>, change: () => void) => {
    if (epoch !== total.epoch) {
      change()
      return
    }
    if (entry.active) order.remove(entry)
    change()
    entry.share = shareOf(entry, total)
    if (entry.active) order.insert(entry)
  }
  const activate = (entry: Entry<Client>, active: boolean) => {
    if (entry.active === active) return
    activeCount += active ? 1 : -1
    move(entry, () => (entry.active = active))
  }
  return {
    add: (client, weight) => {
      const known = entries.get(client)
      if (known !== undefined) move(known, () => (known.weight = weight))
      else entries.set(client, { client, weight, active: false, ...nothing, allocations: 0, share: 0 })
    },
    remove: (client) => {
      const entry = entries.get(client)
      if (entry !== undefined) activate(entry, false)
      entries.delete(client)
    },
    setActive: (client, state) => {
      const entry = entries.get(client)
      if (entry !== undefined) activate(entry, state === 'active')
    },
    isActive: (client) => entries.get(client)?.active === true,
    hasActive: () => activeCount > 0,
    tally: (client, amount, sign) => {
      const entry = entries.get(client)
      if (entry !== undefined) move(entry, () => addTo(entry, amount, sign))
    },
    allocated: (client) => entries.get(client) ?? nothing,
    grants: (client) => entries.get(client)?.allocations ?? 0,
    share: (client) => {
      refresh()
      return entries.get(client)?.share ?? 0
    },
    find: (accept) => {
      refresh()
      return order.find(({ client }) => accept(client))?.client
    },
    order: () => {
      refresh()
      return order.items().map(({ client }) => client)
    },
  }
}

function addTo(entry: Entry<string>, amount: Scalars, sign: 1 | -1): void {
  entry.cpuMillis += sign * amount.cpuMillis
  entry.memMb += sign * amount.memMb
  entry.diskMb += sign * amount.diskMb
  entry.allocations += sign
}

function shareOf({ cpuMillis, memMb, diskMb, weight }: Entry<string>, total: ClusterTotal): number {
  const part = (allocated: number, whole: number) => (whole > 0 ? allocated / whole : 0)
  const dominant = Math.max(part(cpuMillis, total.cpuMillis), part(memMb, total.memMb), part(diskMb, total.diskMb))
  return dominant / weight
}

function compare(a: Entry<string>, b: Entry<string>): number {
  if (a.share !== b.share) return a.share - b.share
  if (a.allocations !== b.allocations) return a.allocations - b.allocations
  return a.client < b.client ? -1 : Number(a.client > b.client)
}
