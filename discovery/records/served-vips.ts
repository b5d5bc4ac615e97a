import { type EntityDelta, isServing } from '../../core/model/snapshot.ts'
import { taskVipKeys } from '../../core/model/task-vips.ts'
import { type NamedCluster, type NamedTask, type NamedVip, type RecordChange } from './cluster.ts'

/** Narrows a cluster, or a step of it, to those VIPs that some task serves. */
export interface ServedVips {
  change(change: RecordChange): RecordChange
  all(cluster: NamedCluster): NamedCluster
}

/** What is kept between two steps, so that a step costs what its own tasks cost. */
interface Count {
  readonly of: NamedCluster
  /** VIPs behind which a serving task is. */
  readonly keysOfTask: Map<string, readonly string[]>
  readonly serving: Map<string, number>
  vips: ReadonlyMap<string, NamedVip>
}

/**
 * A VIP has its name only while a connection to it would be taken: a client that resolves the name of a service whose
 * tasks have not passed their check yet, or are being killed, would be refused. The address stays reserved and local all
 * the while (lb).
 */
export function openServedVips(): ServedVips {
  let kept: Count | undefined
  const countOf = (cluster: NamedCluster): Count => {
    if (kept?.of === cluster) return kept
    const fresh: Count = { of: cluster, keysOfTask: new Map(), serving: new Map(), vips: new Map() }
    for (const [id, task] of cluster.tasks) recount(fresh, { id, task }, new Set())
    fresh.vips = new Map([...cluster.vips].filter(([key]) => fresh.serving.has(key)))
    return fresh
  }
  return {
    all: (cluster) => {
      kept = countOf(cluster)
      return { ...cluster, vips: kept.vips }
    },
    change: (change) => {
      const before = countOf(change.previous)
      const { next, delta } = change
      const touched = new Set<string>([...delta.vips.upserts.keys(), ...delta.vips.removals])
      for (const id of delta.tasks.removals) recount(before, { id, task: undefined }, touched)
      for (const id of delta.tasks.upserts.keys()) recount(before, { id, task: next.tasks.get(id) }, touched)
      const narrowed = narrow(before, next, touched)
      const previous = { ...change.previous, vips: before.vips }
      kept = { ...before, of: next, vips: narrowed.vips }
      return { previous, next: { ...next, vips: narrowed.vips }, delta: { ...delta, vips: narrowed.delta } }
    },
  }
}

/** Counts a task anew; `touched` gets the VIPs that it was or is behind. */
function recount(
  { keysOfTask, serving }: Count,
  { id, task }: { readonly id: string; readonly task: NamedTask | undefined },
  touched: Set<string>,
): void {
  const add = (keys: readonly string[], by: 1 | -1) => {
    for (const key of keys) {
      const count = (serving.get(key) ?? 0) + by
      if (count > 0) serving.set(key, count)
      else serving.delete(key)
      touched.add(key)
    }
  }
  add(keysOfTask.get(id) ?? [], -1)
  const keys = task !== undefined && isServing(task) ? taskVipKeys(task, 'pass-over') : []
  add(keys, 1)
  if (keys.length > 0) keysOfTask.set(id, keys)
  else keysOfTask.delete(id)
}

function narrow({ serving, vips }: Count, next: NamedCluster, touched: ReadonlySet<string>) {
  const upserts = new Map<string, NamedVip>()
  const removals = new Set<string>()
  for (const key of touched) {
    const vip = serving.has(key) ? next.vips.get(key) : undefined
    if (vip !== undefined && vip !== vips.get(key)) upserts.set(key, vip)
    else if (vip === undefined && vips.has(key)) removals.add(key)
  }
  const delta: EntityDelta<string, NamedVip> = { upserts, removals }
  if (upserts.size === 0 && removals.size === 0) return { vips, delta }
  const served = new Map([...vips].filter(([key]) => !removals.has(key)))
  for (const [key, vip] of upserts) served.set(key, vip)
  return { vips: served, delta }
}
