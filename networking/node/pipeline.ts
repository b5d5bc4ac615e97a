import { type ClusterSnapshot, emptySnapshot } from '../../core/model/snapshot.ts'
import { type Repair, type SnapshotChange, type Stage, type StageSteps } from './stage.ts'

/** Is told what each round took: for metrics. */
export interface PipelineObserver {
  step(step: {
    readonly stage: Stage['name']
    readonly step: 'add' | 'remove' | 'audit'
    readonly seconds: number
    /** Absent: it went well. */
    readonly error?: unknown
  }): void
  round(round: {
    readonly kind: 'apply' | 'audit'
    readonly seconds: number
    readonly result: 'ok' | 'failed'
    readonly version: number
    readonly repairs: readonly Repair[]
  }): void
}

type StepName = Parameters<PipelineObserver['step']>[0]['step']

/**
 * Applies snapshots to the stages, one at a time. Additions run in the order of the stages (overlay, isolation, load
 * balancer, names) and removals after them in the reverse order, so that a name never leads to an address that is not
 * programmed, and an address is taken away after the last name that leads to it.
 */
export class Pipeline {
  readonly #stages: readonly Stage[]
  readonly #observer: PipelineObserver | undefined
  #current: ClusterSnapshot = emptySnapshot
  /** A step failed: the kernel is not what the snapshot says until an audit has passed. */
  #inDoubt = true
  #queue: Promise<unknown> = Promise.resolve()

  constructor(stages: readonly Stage[], observer?: PipelineObserver) {
    this.#stages = stages
    this.#observer = observer
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
    return this.#exclusive(() => this.#round('apply', () => this.#apply(change, options)))
  }

  /** Reads the kernel back and repairs what differs from what was applied last. */
  audit(options: { readonly signal: AbortSignal }): Promise<readonly Repair[]> {
    return this.#exclusive(() => this.#round('audit', () => this.#audit(this.#current, options)))
  }

  async #apply(change: SnapshotChange, options: { readonly signal: AbortSignal }): Promise<readonly Repair[]> {
    const steps = this.#stages.map((stage) => ({ stage: stage.name, steps: stage.plan(change) }))
    this.#current = change.next
    if (this.#inDoubt) return this.#audit(change.next, options)
    const errors = await this.#perform(steps, options)
    if (errors.length === 0) return []
    this.#inDoubt = true
    throw new AggregateError(errors, `version ${change.next.version} is not wholly programmed`)
  }

  async #audit(snapshot: ClusterSnapshot, options: { readonly signal: AbortSignal }): Promise<readonly Repair[]> {
    const repairs: Repair[] = []
    const errors: unknown[] = []
    for (const stage of this.#stages) {
      const audit = async () => {
        repairs.push(...(await stage.audit(snapshot, options)))
      }
      await this.#attempt(stage.name, 'audit', audit).catch((error: unknown) => errors.push(error))
    }
    this.#inDoubt = errors.length > 0
    if (errors.length > 0) throw new AggregateError(errors, 'the kernel could not be repaired')
    return repairs
  }

  async #perform(all: readonly NamedSteps[], options: { readonly signal: AbortSignal }): Promise<readonly unknown[]> {
    const errors: unknown[] = []
    const fail = (error: unknown) => void errors.push(error)
    for (const { stage, steps } of all) await this.#attempt(stage, 'add', () => steps.add(options)).catch(fail)
    for (const { stage, steps } of all.toReversed()) {
      await this.#attempt(stage, 'remove', () => steps.remove(options)).catch(fail)
    }
    return errors
  }

  async #attempt(stage: Stage['name'], step: StepName, run: () => Promise<void>): Promise<void> {
    const startedMs = performance.now()
    const tell = (more: { readonly error?: unknown }) =>
      this.#observer?.step({ stage, step, seconds: (performance.now() - startedMs) / 1000, ...more })
    try {
      await run()
      tell({})
    } catch (error) {
      tell({ error })
      throw error
    }
  }

  async #round(kind: 'apply' | 'audit', run: () => Promise<readonly Repair[]>): Promise<readonly Repair[]> {
    const startedMs = performance.now()
    const tell = (result: 'ok' | 'failed', repairs: readonly Repair[]) => {
      const seconds = (performance.now() - startedMs) / 1000
      this.#observer?.round({ kind, seconds, result, version: this.#current.version, repairs })
    }
    try {
      const repairs = await run()
      tell('ok', repairs)
      return repairs
    } catch (error) {
      tell('failed', [])
      throw error
    }
  }

  #exclusive<T>(task: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(task)
    this.#queue = run.catch(() => undefined) // told to the caller of `run`
    return run
  }
}

interface NamedSteps {
  readonly stage: Stage['name']
  readonly steps: StageSteps
}
