import { type Name } from '../dns/name.ts'
import { type Rdata } from '../dns/rdata.ts'

/** All records of one owner and type. RFC 2181 §5. */
export interface RrSet {
  readonly code: number
  readonly ttlSeconds: number
  readonly data: readonly Rdata[]
}

/** What an owner name has from now on; no RRsets: the name is gone. */
export interface OwnerChange {
  readonly owner: Name
  readonly rrsets: readonly RrSet[]
}

/**
 * What a change of the cluster means for the zones: only names that differ. Plain data, so that it can go to another
 * thread as it is.
 */
export interface ZoneChange {
  /** Becomes the serial of every zone. */
  readonly version: number
  readonly owners: readonly OwnerChange[]
  readonly apexes: { readonly added: readonly Name[]; readonly removed: readonly Name[] }
}
