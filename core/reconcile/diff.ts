/** What leads from one keyed state to another. */
export interface KeyedDiff<Key, Value> {
  readonly added: ReadonlyMap<Key, Value>
  /** Wanted value of keys that exist with another one. */
  readonly changed: ReadonlyMap<Key, { readonly from: Value; readonly to: Value }>
  readonly removed: ReadonlyMap<Key, Value>
}

/** Compares two keyed states; `equal` decides what counts as a change (identity when absent). */
export function diffKeyed<Key, Value>(
  actual: ReadonlyMap<Key, Value>,
  desired: ReadonlyMap<Key, Value>,
  equal: (a: Value, b: Value) => boolean = Object.is,
): KeyedDiff<Key, Value> {
  const added = new Map<Key, Value>()
  const changed = new Map<Key, { readonly from: Value; readonly to: Value }>()
  const removed = new Map<Key, Value>()
  for (const [key, to] of desired) {
    const from = actual.get(key)
    if (from === undefined && !actual.has(key)) added.set(key, to)
    else if (from !== undefined && !equal(from, to)) changed.set(key, { from, to })
  }
  for (const [key, value] of actual) if (!desired.has(key)) removed.set(key, value)
  return { added, changed, removed }
}

/** True when nothing differs. */
export function isEmptyDiff<Key, Value>({ added, changed, removed }: KeyedDiff<Key, Value>): boolean {
  return added.size === 0 && changed.size === 0 && removed.size === 0
}
