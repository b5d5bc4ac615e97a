import { type NodeName } from './ids.ts'

/** What a node says of itself beside the versions it has. */
export interface NodeHealth {
  /** What is wrong on its ways to other nodes, and what to do; keeps no version from being applied. */
  readonly warnings: readonly string[]
  /** By stage: how much its auditor put right since its daemon started. */
  readonly repairs: Readonly<Record<string, number>>
}

/** What a node says of the versions it has. */
export interface NodeProgress {
  readonly node: NodeName
  /** The last version that is wholly programmed there; 0 before the first. */
  readonly appliedVersion: number
  /** Why it is behind, when a round failed. */
  readonly problem?: string
  readonly connected: boolean
  /** Absent: it has told none. */
  readonly health?: NodeHealth
}

/** Has version N reached every node, and who is missing? */
export interface Convergence {
  readonly version: number
  readonly converged: boolean
  readonly missing: readonly NodeProgress[]
  /** Nodes on whose ways to others something is wrong, whether they have the version or not; absent: none. */
  readonly warned?: readonly { readonly node: NodeName; readonly warnings: readonly string[] }[]
}

/** A node that left for good is not waited for: `nodes` names those that are. */
export function convergence(version: number, nodes: readonly NodeProgress[]): Convergence {
  const missing = nodes.filter(({ appliedVersion }) => appliedVersion < version)
  const warned = nodes.flatMap(({ node, health = { warnings: [] } }) =>
    health.warnings.length === 0 ? [] : [{ node, warnings: health.warnings }],
  )
  return { version, converged: missing.length === 0, missing, ...(warned.length === 0 ? {} : { warned }) }
}
