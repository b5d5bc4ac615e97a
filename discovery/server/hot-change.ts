import { type NameKey, parentKey } from '../dns/name.ts'
import { type HotStore } from './hot-store.ts'
import { type PackedChange } from './packed.ts'

/** Above it, forgetting everything costs less than naming each. */
const manyOwners = 20_000

/**
 * Makes responses that a change of the zones touched invalid. The names above an owner may begin or cease to exist with it
 * (RFC 8020), so what was said of them goes too.
 */
export function forgetChanged(store: HotStore, change: Omit<PackedChange, 'packed'>): void {
  store.setSerial(change.version % 2 ** 32)
  const { added, removed } = change.apexes
  if (added.length + removed.length > 0 || change.keys.length > manyOwners) {
    store.forgetAll()
    return
  }
  const keys = new Set<NameKey>()
  for (const owner of change.keys) {
    for (let key: NameKey | undefined = owner; key !== undefined; key = parentKey(key)) {
      if (keys.has(key)) break
      keys.add(key)
    }
  }
  store.forget(keys)
}
