import { type IpFamily } from '../../base/ip.ts'
import { type TaskId } from '../../model/ids.ts'

/** Which tasks are behind each VIP, and over which IP versions they are reached there. */
export interface VipUsers {
  /** Replaces what was known of the task; `keys` empty: it is behind none. @returns VIPs for which something changed */
  set(id: TaskId, keys: readonly string[], families: readonly IpFamily[]): readonly string[]
  has(key: string): boolean
  /** IP versions that some task of the VIP is reached over; empty when no task is behind it. */
  families(key: string): ReadonlySet<IpFamily>
}

/** No tasks yet. */
export function openVipUsers(): VipUsers {
  const users = new Map<string, Map<TaskId, readonly IpFamily[]>>()
  const wanted = new Map<TaskId, { readonly keys: readonly string[]; readonly families: readonly IpFamily[] }>()
  return {
    set: (id, keys, families) => {
      const before = wanted.get(id)
      if (before?.keys.join() === keys.join() && before.families.join() === families.join()) return []
      for (const key of before?.keys ?? []) {
        users.get(key)?.delete(id)
        if (users.get(key)?.size === 0) users.delete(key)
      }
      if (keys.length === 0) wanted.delete(id)
      else wanted.set(id, { keys, families })
      for (const key of keys) users.set(key, (users.get(key) ?? new Map()).set(id, families))
      return [...new Set([...(before?.keys ?? []), ...keys])]
    },
    has: (key) => users.has(key),
    families: (key) => new Set([...(users.get(key)?.values() ?? [])].flat()),
  }
}
