import { AppError } from '../base/errors.ts'
import { conflictError, termError } from './errors.ts'
import { openCandidates } from './leadership.ts'
import { type Store, type StoreWrite, type Versioned } from './store.ts'

/** A {@link Store} that forgets: for unit tests. It can be made to fail as a full disk does. */
export interface MemoryStore extends Store {
  /** While set, each write is refused with ERR_STORE_FULL. */
  full: boolean
}

/** Opens an empty memory store, or one with the contents of `entries`. */
export function openMemoryStore(entries: Iterable<readonly [string, string]> = []): MemoryStore {
  const values = new Map<string, Versioned>()
  const candidates = openCandidates()
  let term = 0
  let revision = 0
  let closed = false
  for (const [key, value] of entries) values.set(key, { value, revision: ++revision })
  const write = async (writes: readonly StoreWrite[], options: { readonly term: number }) => {
    if (closed) throw new AppError('ERR_STORE_CLOSED', 'the memory store is closed')
    if (options.term < term) throw termError(options.term, term)
    if (store.full) throw new AppError('ERR_STORE_FULL', 'the memory store plays a full disk')
    for (const { key, revision: expected } of writes) {
      const found = values.get(key)?.revision ?? 0
      if (expected !== undefined && expected !== found) throw conflictError(key, expected, found)
    }
    revision++
    for (const { key, value } of writes) {
      if (value === undefined) values.delete(key)
      else values.set(key, { value, revision })
    }
    return revision
  }
  const list = async (prefix: string) => {
    const found = [...values].filter(([key]) => key.startsWith(prefix))
    return new Map(found.toSorted(([a], [b]) => (a < b ? -1 : 1)))
  }
  const store: MemoryStore = {
    full: false,
    get: async (key) => values.get(key),
    list,
    write,
    elect: (candidate, { signal }) => candidates.elect(candidate, () => ++term, signal),
    watchLeader: ({ signal }) => candidates.watch(signal),
    close: async () => {
      closed = true
      candidates.close()
    },
  }
  return store
}
