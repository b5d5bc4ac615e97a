/** A kept reply. */
export interface Cached {
  /** Without OPT, as it came; TTLs of then. Octets, since a decoded message takes ten times the room. */
  readonly bytes: Uint8Array
  readonly rcode: number
  readonly bornSeconds: number
  /** From then on it is stale. */
  readonly untilSeconds: number
}

/** Replies of others by question; which one goes when there is no room is decided by use. */
export interface Cache {
  get(key: string): Cached | undefined
  put(key: string, cached: Cached): void
  /** `evictions`: replies that went since there was no room. */
  readonly size: { readonly entries: number; readonly octets: number; readonly evictions: number }
}

/** What an entry takes besides the octets of key and message. */
const overheadOctets = 300

/** A cache that takes about so much memory at most. */
export function openCache(maxOctets: number): Cache {
  const entries = new Map<string, { readonly cached: Cached; readonly octets: number }>()
  let total = 0
  let evictions = 0
  const drop = (key: string) => {
    const entry = entries.get(key)
    if (entry === undefined) return
    total -= entry.octets
    entries.delete(key)
  }
  return {
    get: (key) => {
      const entry = entries.get(key)
      if (entry === undefined) return undefined
      // The order of a Map is the order of insertion: what was used last goes last.
      entries.delete(key)
      entries.set(key, entry)
      return entry.cached
    },
    put: (key, cached) => {
      drop(key)
      const octets = cached.bytes.length + key.length + overheadOctets
      if (octets > maxOctets >> 4) return
      entries.set(key, { cached, octets })
      total += octets
      for (const oldest of entries.keys()) {
        if (total <= maxOctets) break
        drop(oldest)
        evictions++
      }
    },
    get size() {
      return { entries: entries.size, octets: total, evictions }
    },
  }
}
