import { type ClusterSnapshot, type SnapshotDelta } from '../../core/model/snapshot.ts'

/** From one snapshot to the next. `delta` is their difference: stages that can, look at nothing else. */
export interface SnapshotChange {
  readonly previous: ClusterSnapshot
  readonly next: ClusterSnapshot
  readonly delta: SnapshotDelta
}

/** The two halves of a change. Each performs its part; it throws when something of it failed. */
export interface StageSteps {
  /** Makes what `next` needs. Runs in the order overlay, isolation, load balancer, names. */
  add(options: { readonly signal: AbortSignal }): Promise<void>
  /** Takes away what `next` has no more. Runs after all additions, in the reverse order. */
  remove(options: { readonly signal: AbortSignal }): Promise<void>
}

/** Something that was not as the snapshot says, and what was done: printed as the command an operator would type. */
export interface Repair {
  readonly stage: string
  readonly operation: string
}

/** One part of what a node programs. The pipeline composes them; they know nothing of each other. */
export interface Stage {
  readonly name: 'overlay' | 'isolation' | 'portmap' | 'lb' | 'gateway' | 'names'
  /** Pure: decides, performs nothing yet. */
  plan(change: SnapshotChange): StageSteps
  /** Reads the kernel back, repairs what differs from `snapshot`, sweeps what an earlier process left. */
  audit(snapshot: ClusterSnapshot, options: { readonly signal: AbortSignal }): Promise<readonly Repair[]>
}
