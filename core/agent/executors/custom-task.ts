import { type Logger } from '../../base/log.ts'
import { isTerminal, type NetworkInfo, type TaskState, type TaskStatus } from '../../model/task.ts'
import { type TaskEnd } from '../end-status.ts'
import { hasEnded, isForgettable, type KillCause, type TaskRecord } from '../record.ts'
import { interrupted } from '../recovery.ts'
import { acceptance, type LedgerDependencies, TaskLedger, type TaskOpening } from '../task-ledger.ts'
import { type ExecutorUpdate } from './custom-call.ts'

/** What tasks of custom executors share. */
export interface CustomTaskDependencies extends LedgerDependencies {
  readonly onEnded: (task: TaskRecord, state: TaskState) => void
  readonly onForgettable: (record: TaskRecord) => void
}

/** Who runs such a task. */
export interface TaskExecutor {
  /** The task is one of its own from now on. */
  join(task: CustomTask): void
  /** The task has ended. */
  leave(task: CustomTask): void
  /** The task shall end. */
  kill(task: CustomTask, graceMs: number): void
}

/** A task that a program of its framework runs: no container of its own, a journal and ordered updates as any other. */
export class CustomTask {
  readonly #deps: CustomTaskDependencies
  readonly #ledger: TaskLedger
  readonly #executor: TaskExecutor | undefined
  #left = false

  /** `executor` is absent after a restart that came before the executor was written down. */
  constructor(opening: TaskOpening, deps: CustomTaskDependencies, executor: TaskExecutor | undefined) {
    this.#deps = deps
    this.#ledger = new TaskLedger(opening, deps)
    this.#executor = executor
    if (!hasEnded(this.record)) executor?.join(this)
  }

  get record(): TaskRecord {
    return this.#ledger.record
  }

  get log(): Logger {
    return this.#ledger.log
  }

  /** Resolves when the task would be found again. @throws as Journal.append */
  accept(): Promise<void> {
    return this.#ledger.note(acceptance(this.record))
  }

  /** Resolves when it is durable that the executor may know of the task. @throws as Journal.append */
  delivered(): Promise<void> {
    return this.#ledger.note({ kind: 'delivered' })
  }

  /** Goes on where an earlier agent stopped. */
  async resume(): Promise<void> {
    this.#ledger.sendHead()
    if (!hasEnded(this.record) && this.#executor === undefined) await this.end(interrupted)
    this.#forgetIfDone()
  }

  /**
   * What the executor says; said twice it counts once. Resolves when it is durable: only then the executor may forget it.
   * @throws as Journal.append
   */
  async update(update: ExecutorUpdate, networks: readonly NetworkInfo[]): Promise<void> {
    const { told = [] } = this.record
    if (hasEnded(this.record) || told.includes(update.uuid)) await this.#ledger.note()
    else {
      const status: TaskStatus = { ...update, timestampMs: update.timestampMs ?? this.#deps.clock.nowMs(), networks }
      const before = isTerminal(status.state) ? [{ kind: 'cleaned' } as const] : []
      const written = this.#ledger.note(...before, { kind: 'status', status })
      this.log.info({ state: status.state, reason: status.reason, detail: status.message }, 'task changed')
      // Told although the disk may be full: the record has it, and the executor will say it again.
      await written.finally(() => this.#ledger.sendHead())
    }
    if (hasEnded(this.record)) this.#leave()
  }

  /** The agent's own word on how it ends. */
  async end(end: TaskEnd): Promise<void> {
    if (hasEnded(this.record)) return
    await this.#ledger.tell(end, { kind: 'cleaned' })
    this.#leave()
    this.#forgetIfDone()
  }

  /** Asks the executor to end it. A second call asks again. */
  kill(cause: KillCause, graceMs: number): void {
    if (hasEnded(this.record)) return
    this.log.info({ cause: cause.kind, graceMs }, 'killing task')
    if (this.record.killing === undefined) void this.#ledger.noteOrLog({ kind: 'killing', cause, graceMs })
    this.#executor?.kill(this, graceMs)
  }

  /** The master has the outstanding update. */
  acknowledge(uuid: string): void {
    void this.#ledger.acknowledge(uuid).then(() => this.#forgetIfDone())
  }

  /** Closes the journal; what the executor does goes on. */
  close(): Promise<void> {
    return this.#ledger.close()
  }

  #leave(): void {
    if (this.#left) return
    this.#left = true
    this.#executor?.leave(this)
    this.#deps.onEnded(this.record, this.record.latest?.state ?? 'TASK_LOST')
  }

  #forgetIfDone(): void {
    if (isForgettable(this.record)) this.#deps.onForgettable(this.record)
  }
}
