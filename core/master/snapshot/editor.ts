import { type EntityDelta } from '../../model/snapshot.ts'

/** One table of the snapshot and what changed in it since the last version. */
export interface Editor<Key, Value> {
  /** The table with all changes; do not keep it: it goes on changing. */
  readonly values: ReadonlyMap<Key, Value>
  /** A value that says the same as the present one is no change. */
  set(key: Key, value: Value): void
  delete(key: Key): void
  /** The changes since the last call, which are then forgotten. */
  take(): EntityDelta<Key, Value>
}

/** Opens a table with the `initial` values, which count as already published. */
export function openEditor<Key, Value>(
  initial: Iterable<readonly [Key, Value]>,
  onChange: () => void,
): Editor<Key, Value> {
  const values = new Map(initial)
  let upserts = new Map<Key, Value>()
  let removals = new Set<Key>()
  return {
    values,
    set: (key, value) => {
      const before = values.get(key)
      if (before !== undefined && JSON.stringify(before) === JSON.stringify(value)) return
      values.set(key, value)
      upserts.set(key, value)
      removals.delete(key)
      onChange()
    },
    delete: (key) => {
      if (!values.delete(key)) return
      upserts.delete(key)
      removals.add(key)
      onChange()
    },
    take: () => {
      const delta = { upserts, removals }
      upserts = new Map()
      removals = new Set()
      return delta
    },
  }
}
