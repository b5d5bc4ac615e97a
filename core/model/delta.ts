import { type ClusterSnapshot, type EntityDelta, type SnapshotDelta } from './snapshot.ts'

/** `snapshot` with `delta` applied. Inputs stay as they are. */
export function applyDelta(snapshot: ClusterSnapshot, delta: SnapshotDelta): ClusterSnapshot {
  return {
    version: delta.version,
    networks: patch(snapshot.networks, delta.networks),
    nodes: patch(snapshot.nodes, delta.nodes),
    tasks: patch(snapshot.tasks, delta.tasks),
    vips: patch(snapshot.vips, delta.vips),
    policies: patch(snapshot.policies, delta.policies),
    ...frameworks(patch(snapshot.frameworks ?? new Map(), delta.frameworks ?? noChange())),
  }
}

/**
 * `second` after `first`, as one delta: how a slow reader gets few large deltas instead of a queue of small ones.
 */
export function mergeDeltas(first: SnapshotDelta, second: SnapshotDelta): SnapshotDelta {
  return {
    version: second.version,
    networks: merge(first.networks, second.networks),
    nodes: merge(first.nodes, second.nodes),
    tasks: merge(first.tasks, second.tasks),
    vips: merge(first.vips, second.vips),
    policies: merge(first.policies, second.policies),
    ...changedFrameworks(merge(first.frameworks ?? noChange(), second.frameworks ?? noChange())),
  }
}

/** What leads from `from` to `to`. Entities are compared by identity, then by their JSON text. */
export function diffSnapshots(from: ClusterSnapshot, to: ClusterSnapshot): SnapshotDelta {
  return {
    version: to.version,
    networks: diff(from.networks, to.networks),
    nodes: diff(from.nodes, to.nodes),
    tasks: diff(from.tasks, to.tasks),
    vips: diff(from.vips, to.vips),
    policies: diff(from.policies, to.policies),
    ...changedFrameworks(diff(from.frameworks ?? new Map(), to.frameworks ?? new Map())),
  }
}

/** True when it changes no entity. */
export function isEmptyDelta(delta: SnapshotDelta): boolean {
  const { networks, nodes, tasks, vips, policies, frameworks = noChange() } = delta
  return [networks, nodes, tasks, vips, policies, frameworks].every(
    ({ upserts, removals }) => upserts.size === 0 && removals.size === 0,
  )
}

/** The part of a delta that tells changes of frameworks: nothing when there are none. */
export function changedFrameworks(delta: NonNullable<SnapshotDelta['frameworks']>): Pick<SnapshotDelta, 'frameworks'> {
  return delta.upserts.size === 0 && delta.removals.size === 0 ? {} : { frameworks: delta }
}

function noChange<K, V>(): EntityDelta<K, V> {
  return { upserts: new Map(), removals: new Set() }
}

/** None are as good as unknown. */
function frameworks(places: NonNullable<ClusterSnapshot['frameworks']>): Pick<ClusterSnapshot, 'frameworks'> {
  return places.size === 0 ? {} : { frameworks: places }
}

function patch<K, V>(map: ReadonlyMap<K, V>, { upserts, removals }: EntityDelta<K, V>): ReadonlyMap<K, V> {
  if (upserts.size === 0 && removals.size === 0) return map
  const next = new Map(map)
  for (const key of removals) next.delete(key)
  for (const [key, value] of upserts) next.set(key, value)
  return next
}

function merge<K, V>(first: EntityDelta<K, V>, second: EntityDelta<K, V>): EntityDelta<K, V> {
  const upserts = new Map(first.upserts)
  const removals = new Set(first.removals)
  for (const key of second.removals) {
    upserts.delete(key)
    removals.add(key)
  }
  for (const [key, value] of second.upserts) {
    upserts.set(key, value)
    removals.delete(key)
  }
  return { upserts, removals }
}

function diff<K, V>(from: ReadonlyMap<K, V>, to: ReadonlyMap<K, V>): EntityDelta<K, V> {
  const upserts = new Map<K, V>()
  for (const [key, value] of to) {
    const before = from.get(key)
    if (before !== value && (before === undefined || JSON.stringify(before) !== JSON.stringify(value))) {
      upserts.set(key, value)
    }
  }
  const removals = new Set<K>()
  for (const key of from.keys()) if (!to.has(key)) removals.add(key)
  return { upserts, removals }
}
