import { type Resources } from '../../model/resources.ts'

/**
 * Clients (roles, or the frameworks of a role) in the order of dominant resource fairness: who has the smallest share
 * comes first. The order is kept, not recomputed: a grant moves one client, found and put back by binary search.
 *
 * share = max over cpus, mem, disk (allocated ÷ cluster total) ÷ weight; ties: fewer allocations, then name. Ports don't
 * count. Source: reference/mesos-core.md, Allocator.
 */
export interface Sorter<Client extends string> {
  add(client: Client, weight?: number): void
  remove(client: Client): void
  has(client: Client): boolean
  /** An inactive client keeps its share but is not in the order. */
  setActive(client: Client, state: 'active' | 'inactive'): void
  allocate(client: Client, resources: Resources): void
  recover(client: Client, resources: Resources): void
  setTotal(total: Resources): void
  /** Dominant share divided by weight, 0 to 1 ÷ weight; 0 for an unknown client. */
  share(client: Client): number
  /** The neediest active client that `accept` takes; it costs as many steps as clients are passed over. */
  find(accept: (client: Client) => boolean): Client | undefined
  /** All active clients, the neediest first: a copy. */
  order(): readonly Client[]
}

interface Entry<Client> {
  readonly client: Client
  readonly weight: number
  active: boolean
  cpuMillis: number
  memMb: number
  diskMb: number
  /** How often it was given something that it still has. */
  allocations: number
  share: number
}

/** Opens an empty sorter. */
export function openSorter<Client extends string>(): Sorter<Client> {
  const entries = new Map<Client, Entry<Client>>()
  let sorted: Entry<Client>[] = []
  let total: Resources = { cpuMillis: 0, memMb: 0, diskMb: 0, ports: [] }
  let stale = false
  /** Changes an entry and puts it where it then belongs. */
  const move = (entry: Entry<Client>, change: () => void) => {
    if (entry.active) sorted.splice(position(sorted, entry), 1)
    change()
    entry.share = shareOf(entry, total)
    if (entry.active) sorted.splice(position(sorted, entry), 0, entry)
  }
  const tally = (client: Client, { cpuMillis, memMb, diskMb }: Resources, sign: 1 | -1) => {
    const entry = entries.get(client)
    if (entry === undefined) return
    move(entry, () => {
      entry.cpuMillis += sign * cpuMillis
      entry.memMb += sign * memMb
      entry.diskMb += sign * diskMb
      entry.allocations += sign
    })
  }
  const refresh = () => {
    for (const entry of entries.values()) entry.share = shareOf(entry, total)
    sorted = sorted.toSorted(compare)
    stale = false
  }
  return {
    add: (client, weight = 1) => {
      if (entries.has(client)) return
      const entry = { client, weight, active: false, cpuMillis: 0, memMb: 0, diskMb: 0, allocations: 0, share: 0 }
      entries.set(client, entry)
      move(entry, () => (entry.active = true))
    },
    remove: (client) => {
      const entry = entries.get(client)
      if (entry === undefined) return
      move(entry, () => (entry.active = false))
      entries.delete(client)
    },
    has: (client) => entries.has(client),
    setActive: (client, state) => {
      const entry = entries.get(client)
      if (entry !== undefined) move(entry, () => (entry.active = state === 'active'))
    },
    allocate: (client, resources) => tally(client, resources, 1),
    recover: (client, resources) => tally(client, resources, -1),
    setTotal: (next) => {
      total = next
      stale = true // every share changes; sorted once, when the order is next asked for
    },
    share: (client) => {
      if (stale) refresh()
      return entries.get(client)?.share ?? 0
    },
    find: (accept) => {
      if (stale) refresh()
      return sorted.find(({ client }) => accept(client))?.client
    },
    order: () => {
      if (stale) refresh()
      return sorted.map(({ client }) => client)
    },
  }
}

function shareOf<Client>(entry: Entry<Client>, total: Resources): number {
  const part = (allocated: number, whole: number) => (whole > 0 ? allocated / whole : 0)
  const dominant = Math.max(
    part(entry.cpuMillis, total.cpuMillis),
    part(entry.memMb, total.memMb),
    part(entry.diskMb, total.diskMb),
  )
  return dominant / entry.weight
}

function compare<Client extends string>(a: Entry<Client>, b: Entry<Client>): number {
  if (a.share !== b.share) return a.share - b.share
  if (a.allocations !== b.allocations) return a.allocations - b.allocations
  return a.client < b.client ? -1 : Number(a.client > b.client)
}

/** Index of `entry` in an order that has it, or where it belongs in one that has it not. */
function position<Client extends string>(sorted: readonly Entry<Client>[], entry: Entry<Client>): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const other = sorted[middle]
    if (other !== undefined && compare(other, entry) < 0) low = middle + 1
    else high = middle
  }
  return low
}
