import { type NodeProgress } from '../../model/convergence.ts'
import { type SnapshotKeeper } from './keeper.ts'
import { type Progress } from './progress.ts'

/** A node whose daemon was silent for so long is not waited for any more by deployments. */
export const silentLimitMs = 10_000

/** How far the nodes are, for those who wait for them: a node that is silent holds nobody up for longer than {@link silentLimitMs}. */
export interface Reached {
  /** Publishes what was edited. @returns the version that has it */
  publish(): number
  /** The last version that every node has that is waited for; Infinity when none is waited for. */
  converged(): number
  /** Nodes that are waited for and lack the version. */
  missing(version: number): readonly NodeProgress[]
  /** Calls `listener` whenever a node has told something, or left. @returns ends that */
  watch(listener: () => void): () => void
}

/** Reads it from the progress of the nodes. */
export function openReached(keeper: SnapshotKeeper, progress: Progress): Reached {
  const missing = (version: number): readonly NodeProgress[] =>
    progress
      .check(version)
      .missing.filter(({ node, connected }) => connected || progress.silentForMs(node) < silentLimitMs)
  return {
    publish: () => keeper.flush(),
    converged: () =>
      missing(Number.MAX_SAFE_INTEGER).reduce((min, node) => Math.min(min, node.appliedVersion), Infinity),
    missing,
    watch: (listener) => progress.watch(listener),
  }
}
