import { isEmptyDelta, mergeDeltas } from '../../model/delta.ts'
import { type SnapshotDelta } from '../../model/snapshot.ts'

/** How many entities a delta names. */
export function deltaSize({ networks, nodes, tasks, vips, policies }: SnapshotDelta): number {
  const tables = [networks, nodes, tasks, vips, policies]
  return tables.reduce((sum, { upserts, removals }) => sum + upserts.size + removals.size, 0)
}

/** A delta that changes nothing and leads to `version`. */
export function emptyDelta(version: number): SnapshotDelta {
  const none = { upserts: new Map(), removals: new Set<never>() }
  return { version, networks: none, nodes: none, tasks: none, vips: none, policies: none }
}

/** The recent deltas, for nodes that reconnect. */
export interface History {
  push(delta: SnapshotDelta): void
  /**
   * One delta from `version` to now; undefined when `version` is too old, or is not one of ours: a standby may have got
   * two versions as one step, and what lies between is then another leader's knowledge.
   */
  since(version: number): SnapshotDelta | undefined
}

/**
 * Opens a history that begins at `version`. It is bounded by the entities that its deltas name: a node that is further
 * behind gets a full snapshot, which is then not larger by much.
 */
export function openHistory(version: number, maxEntities = 20_000): History {
  const deltas: SnapshotDelta[] = []
  let from = version
  let current = version
  let entities = 0
  const push = (delta: SnapshotDelta) => {
    deltas.push(delta)
    current = delta.version
    entities += deltaSize(delta) + 1
    while (entities > maxEntities && deltas.length > 0) {
      const oldest = deltas.shift()
      if (oldest === undefined) return
      from = oldest.version
      entities -= deltaSize(oldest) + 1
    }
  }
  const since = (version: number) => {
    if (version < from || version > current) return undefined
    if (version !== from && !deltas.some((delta) => delta.version === version)) return undefined
    const wanted = deltas.filter((delta) => delta.version > version)
    return wanted.reduce<SnapshotDelta>(mergeDeltas, emptyDelta(version))
  }
  return { push, since }
}

/** True when both the version and the entities stay as they are. */
export function isNoStep(delta: SnapshotDelta, version: number): boolean {
  return delta.version === version && isEmptyDelta(delta)
}
