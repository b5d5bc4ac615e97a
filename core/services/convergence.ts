/** A node that lacks a version, and why when it says. */
export interface MissingNode {
  readonly node: string
  readonly problem?: string
}

/** Which versions of the cluster's snapshot the nodes have. */
export interface Convergence {
  /** The present version. */
  version(): number
  /** Publishes what was changed, if anything was. @returns the version that has it */
  publish(): number
  /** The last version that every node has that is waited for; Infinity when none is waited for. */
  converged(): number
  /** Nodes that are waited for and lack the version. */
  missing(version: number): readonly MissingNode[]
  /** Calls `listener` when a node has told something. @returns ends that */
  watch(listener: () => void): () => void
}

/** Of a cluster that does not tell of its nodes: none is waited for. */
export function noConvergence(version: () => number): Convergence {
  return { version, publish: version, converged: () => Infinity, missing: () => [], watch: () => () => undefined }
}
