import { type Name, nameKey, type NameKey, parentKey, parseName } from '../dns/name.ts'
import { type RdataOf } from '../dns/rdata.ts'
import { type Rename } from '../records/renames.ts'
import { type RrSet, type ZoneChange } from '../records/zone-change.ts'
import { type OwnerTable, packedOwners } from './owners.ts'
import { type Packed, type PackedChange, packRrsets } from './packed.ts'

/** A zone that is served here. */
export interface Zone {
  readonly apex: Name
  /** `loading`: ours, but nothing was ever told about it: SERVFAIL, never a false "no such name". */
  readonly state: 'loading' | 'ready'
  readonly soa: RdataOf<'SOA'>
}

/** What answers are made from. */
export interface ZoneReader {
  /** The zone that a name belongs to: the deepest one at or above it. */
  zoneOf(key: NameKey): Zone | undefined
  /** RRsets of an owner name; `undefined` where it has none. */
  rrsets(key: NameKey): readonly RrSet[] | undefined
  /** True when the name has records, or a name below it has: then it is no NXDOMAIN (RFC 8020). */
  exists(key: NameKey): boolean
  /** Grows with every change; what was derived from an older one is stale. */
  revision(): number
  /** Serial of every zone: the snapshot's version. */
  serial(): number
  /** Suffixes that mean other ones. */
  readonly renames?: readonly Rename[]
}

/** Zones that change. */
export interface ZoneStore extends ZoneReader {
  apply(change: ZoneChange): void
  /** The same for a change from another thread. */
  applyPacked(change: PackedChange): void
  /** Owner names with their RRsets: for listing. */
  owners(): IterableIterator<readonly [NameKey, readonly RrSet[]]>
  /** What makes an empty store the same as this one: for a server that begins anew. */
  whole(): PackedChange
}

/** Fixed parts of the SOA records. RFC 1035 §3.3.13. */
export interface ZoneAuthority {
  /** Name of the primary server of a zone. */
  readonly mname: (apex: Name) => Name
  readonly rname: (apex: Name) => Name
  readonly negativeTtlSeconds: number
  /** Absent: Mesos-DNS's. */
  readonly times?: Pick<RdataOf<'SOA'>, 'refreshSeconds' | 'retrySeconds' | 'expireSeconds'>
}

/** TTL of NS records. Source: reference/dns-proxy.md, Zones. */
const nsTtlSeconds = 3600

/** Source: Mesos-DNS defaults, reference/mesos-dns.md. */
const soaTimes = { refreshSeconds: 60, retrySeconds: 600, expireSeconds: 86400 } as const

/** Every name below it means the machine itself, where the zone is served. RFC 6761 §6.3. */
const localhost = nameKey(parseName('localhost'))
const belowLocalhost = `.${localhost}`

/** An empty store; `expected` are zones that are ours from the start, before anything is known of them. */
export function openZoneStore(options: {
  readonly authority: ZoneAuthority
  readonly expected: readonly Name[]
  readonly ttlSeconds: number
  readonly renames?: readonly Rename[]
  /** Absent: the store holds the records itself. */
  readonly owners?: OwnerTable
}): ZoneStore {
  const { authority, owners = packedOwners() } = options
  const { refreshSeconds, retrySeconds, expireSeconds } = authority.times ?? soaTimes
  const below = new Map<NameKey, number>()
  const apexes = new Map<NameKey, { readonly apex: Name; readonly state: Zone['state'] }>()
  for (const apex of options.expected) apexes.set(nameKey(apex), { apex, state: 'loading' })
  let version = 0
  let revision = 0
  const soaOf = (apex: Name): RdataOf<'SOA'> => ({
    type: 'SOA',
    mname: authority.mname(apex),
    rname: authority.rname(apex),
    serial: version % 2 ** 32,
    refreshSeconds,
    retrySeconds,
    expireSeconds,
    minimumSeconds: authority.negativeTtlSeconds,
  })
  const apexRrsets = (apex: Name): readonly RrSet[] => [
    { code: 6, ttlSeconds: options.ttlSeconds, data: [soaOf(apex)] },
    { code: 2, ttlSeconds: nsTtlSeconds, data: [{ type: 'NS', target: authority.mname(apex) }] },
  ]
  const setOwner = (key: NameKey, there: boolean, packed: () => Packed) => {
    if (owners.has(key) !== there) countAncestors(below, key, there ? 1 : -1)
    if (there) owners.set(key, packed)
    else owners.delete(key)
  }
  const isLoopback = (key: NameKey) => key.endsWith(belowLocalhost) && apexes.has(localhost)
  const begin = ({ version: next, apexes: { added, removed } }: Pick<ZoneChange, 'version' | 'apexes'>) => {
    revision++
    version = next
    for (const apex of removed) apexes.delete(nameKey(apex))
    for (const apex of added) apexes.set(nameKey(apex), { apex, state: 'ready' })
  }
  return {
    zoneOf: (key) => {
      for (let at: NameKey | undefined = key; at !== undefined; at = parentKey(at)) {
        const zone = apexes.get(at)
        if (zone !== undefined) return { ...zone, soa: soaOf(zone.apex) }
      }
      return undefined
    },
    rrsets: (key) => {
      const zone = apexes.get(key)
      const own = owners.rrsets(key) ?? (isLoopback(key) ? owners.rrsets(localhost) : undefined)
      return zone === undefined ? own : [...apexRrsets(zone.apex), ...(own ?? [])]
    },
    exists: (key) => owners.has(key) || apexes.has(key) || below.has(key) || isLoopback(key),
    revision: () => revision,
    serial: () => version % 2 ** 32,
    renames: options.renames ?? [],
    apply: (change) => {
      begin(change)
      for (const { owner, rrsets } of change.owners) {
        setOwner(nameKey(owner), rrsets.length > 0, () => packRrsets(rrsets))
      }
    },
    applyPacked: (change) => {
      begin(change)
      for (const [i, key] of change.keys.entries()) {
        const packed = change.packed[i] ?? ''
        setOwner(key, packed !== '', () => packed)
      }
    },
    owners: () => all(owners),
    whole: () => {
      const added = [...apexes.values()].filter(({ state }) => state === 'ready').map(({ apex }) => apex)
      const keys = [...owners.keys()]
      return { version, keys, packed: keys.map(owners.packed), apexes: { added, removed: [] } }
    },
  }
}

function* all(owners: OwnerTable): Generator<readonly [NameKey, readonly RrSet[]], undefined> {
  for (const key of owners.keys()) yield [key, owners.rrsets(key) ?? []]
}

/** Counts a name at each name above it, so that these are known to exist. */
function countAncestors(below: Map<NameKey, number>, key: NameKey, by: 1 | -1): void {
  for (let at = parentKey(key); at !== undefined; at = parentKey(at)) {
    const count = (below.get(at) ?? 0) + by
    if (count > 0) below.set(at, count)
    else below.delete(at)
  }
}
