import { type ClusterSnapshot, emptySnapshot } from '../../core/model/snapshot.ts'
import { type Repair, type SnapshotChange, type Stage, type StageSteps } from './stage.ts'

/**
 * Applies snapshots to the stages, one at a time. Additions run in the order of the stages (overlay, isolation, load
 * balancer, names) and removals after them in the reverse order, so that a name never leads to an address that is not
 * programmed, and an address is taken away after the last name that leads to it.
 */
export class Pipeline {
  readonly #stages: readonly Stage[]
  #current: ClusterSnapshot = emptySnapshot
  /** A step failed: the kernel is not what the snapshot says until an audit has passed. */
  #inDoubt = true
  #queue: Promise<unknown> = Promise.resolve()

  constructor(stages: readonly Stage[]) {
    this.#stages = stages
  }

  /** What is programmed, or was tried last. */
  get current(): ClusterSnapshot {
    return this.#current
  }

  /**
   * Programs `change.next`. The first one, and one after a failure, is compared with the kernel instead of with the
   * snapshot before: what an earlier process left is adopted where it is right, and swept where it is not.
   * @throws AggregateError of all that failed, after everything was tried
   */
  apply(change: SnapshotChange, options: { readonly signal: AbortSignal }): Promise<readonly Repair[]> {
    return this.#exclusive(() => this.#apply(change, options))
  }

  /** Reads the kernel back and repairs what differs from what was applied last. */
  audit(options: { readonly signal: AbortSignal }): Promise<readonly Repair[]> {
    return this.#exclusive(() => this.#audit(this.#current, options))
  }

  async #apply(change: SnapshotChange, options: { readonly signal: AbortSignal }): Promise<readonly Repair[]> {
    const steps = this.#stages.map((stage) => stage.plan(change))
    this.#current = change.next
    if (this.#inDoubt) return this.#audit(change.next, options)
    const errors = await perform(steps, options)
    if (errors.length === 0) return []
    this.#inDoubt = true
    throw new AggregateError(errors, `version ${change.next.version} is not wholly programmed`)
  }

  async #audit(snapshot: ClusterSnapshot, options: { readonly signal: AbortSignal }): Promise<readonly Repair[]> {
    const repairs: Repair[] = []
    const errors: unknown[] = []
    for (const stage of this.#stages) {
      try {
        repairs.push(...(await stage.audit(snapshot, options)))
      } catch (error) {
        errors.push(error)
      }
    }
    this.#inDoubt = errors.length > 0
    if (errors.length > 0) throw new AggregateError(errors, 'the kernel could not be repaired')
    return repairs
  }

  #exclusive<T>(task: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(task)
    this.#queue = run.catch(() => undefined) // told to the caller of `run`
    return run
  }
}

async function perform(
  steps: readonly StageSteps[],
  options: { readonly signal: AbortSignal },
): Promise<readonly unknown[]> {
  const errors: unknown[] = []
  const attempt = async (step: Promise<void>) => {
    try {
      await step
    } catch (error) {
      errors.push(error)
    }
  }
  for (const step of steps) await attempt(step.add(options))
  for (const step of steps.toReversed()) await attempt(step.remove(options))
  return errors
}
