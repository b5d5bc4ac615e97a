import { type NameKey } from '../dns/name.ts'
import { type RrSet } from '../records/zone-change.ts'
import { type Packed, packRrsets, unpackRrsets } from './packed.ts'

/** What the owner names of the zones have. */
export interface OwnerTable {
  has(key: NameKey): boolean
  /** `undefined`: nothing. */
  rrsets(key: NameKey): readonly RrSet[] | undefined
  keys(): Iterable<NameKey>
  packed(key: NameKey): Packed
  /** From now on the name has that. */
  set(key: NameKey, packed: () => Packed): void
  delete(key: NameKey): void
}

/** A table that holds the records itself. */
export function packedOwners(): OwnerTable {
  const owners = new Map<NameKey, Packed>()
  return {
    has: (key) => owners.has(key),
    rrsets: (key) => {
      const packed = owners.get(key)
      return packed === undefined ? undefined : unpackRrsets(packed)
    },
    keys: () => owners.keys(),
    packed: (key) => owners.get(key) ?? '',
    set: (key, packed) => owners.set(key, packed()),
    delete: (key) => owners.delete(key),
  }
}

/**
 * A table of names whose records somebody else holds, and gives when they are asked for: what makes the changes needs them
 * too, and they are held once.
 */
export function borrowedOwners(rrsets: OwnerTable['rrsets']): OwnerTable {
  const keys = new Set<NameKey>()
  return {
    has: (key) => keys.has(key),
    rrsets: (key) => (keys.has(key) ? rrsets(key) : undefined),
    keys: () => keys.values(),
    packed: (key) => packRrsets(rrsets(key) ?? []),
    set: (key) => keys.add(key),
    delete: (key) => keys.delete(key),
  }
}
