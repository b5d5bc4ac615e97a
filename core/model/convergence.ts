import { type NodeName } from './ids.ts'

/** What a node says of the versions it has. */
export interface NodeProgress {
  readonly node: NodeName
  /** The last version that is wholly programmed there; 0 before the first. */
  readonly appliedVersion: number
  /** Why it is behind, when a round failed. */
  readonly problem?: string
  readonly connected: boolean
}

/** Has version N reached every node, and who is missing? */
export interface Convergence {
  readonly version: number
  readonly converged: boolean
  readonly missing: readonly NodeProgress[]
}

/** A node that left for good is not waited for: `nodes` names those that are. */
export function convergence(version: number, nodes: readonly NodeProgress[]): Convergence {
  const missing = nodes.filter(({ appliedVersion }) => appliedVersion < version)
  return { version, converged: missing.length === 0, missing }
}
