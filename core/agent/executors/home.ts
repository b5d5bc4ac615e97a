import { mkdirSync, rmSync } from 'node:fs'
import { type CniResult } from '../../../cni-plugins/cni/result.ts'
import { type Clock } from '../../base/clock.ts'
import { AppError, errorMessage } from '../../base/errors.ts'
import { type Logger } from '../../base/log.ts'
import { type TaskId } from '../../model/ids.ts'
import { type NetworkInfo } from '../../model/task.ts'
import {
  attachContainer,
  type AttachDependencies,
  attachedNetwork,
  type AttachedNetwork,
  hostNetwork,
} from '../attach.ts'
import { type Journal } from '../checkpoint.ts'
import { type Containerizer } from '../containerizer/containerizer.ts'
import { type AgentPaths, containerPaths } from '../paths.ts'
import { type Attachment } from '../record.ts'
import { type TaskHome } from '../task.ts'
import { executorAcceptance, type ExecutorEvent, type ExecutorRecord, stepExecutor } from './record.ts'

/** First and longest wait before an undo that failed is tried again. */
const undoRetryMs = { min: 1000, max: 60_000 } as const

/** What executors share. */
export interface HomeDependencies extends AttachDependencies {
  readonly paths: AgentPaths
  readonly containerizer: Containerizer
  readonly clock: Clock
  readonly log: Logger
}

/** An executor and its journal. */
export interface ExecutorOpening {
  readonly record: ExecutorRecord
  readonly journal: Journal<ExecutorEvent>
}

/**
 * What the tasks of an executor share: its networks, one directory, and a journal by which a later agent finds them. It is
 * undone when it was closed and its last task has left.
 */
export class ExecutorHome implements TaskHome {
  readonly #deps: HomeDependencies
  readonly #journal: Journal<ExecutorEvent>
  readonly #log: Logger
  readonly #members = new Set<TaskId>()
  readonly #onUndone: () => void
  readonly #aborting = new AbortController()
  #record: ExecutorRecord
  #attaching: Promise<AttachedNetwork> | undefined
  #closed = false
  #barred = false
  #undoing = false
  #cancelRetry: () => void = () => undefined

  constructor({ record, journal }: ExecutorOpening, deps: HomeDependencies, onUndone: () => void) {
    this.#deps = deps
    this.#record = record
    this.#journal = journal
    this.#onUndone = onUndone
    this.#log = deps.log.child({ executor: record.info.id, container: record.containerId })
    mkdirSync(this.sandbox, { recursive: true, mode: 0o755 })
  }

  get record(): ExecutorRecord {
    return this.#record
  }

  get log(): Logger {
    return this.#log
  }

  get sandbox(): string {
    return containerPaths(this.#deps.paths, this.#record.containerId).sandbox
  }

  /** Where its network namespace is pinned. */
  get netns(): string {
    return this.#deps.netnsOf(this.#record.containerId)
  }

  /** False once no more tasks may enter. */
  get isOpen(): boolean {
    return !this.#closed && !this.#barred
  }

  get isEmpty(): boolean {
    return this.#members.size === 0
  }

  /** The task must leave before anything is undone. */
  enter(taskId: TaskId): void {
    this.#members.add(taskId)
  }

  /** The default executor lives as long as it has tasks. */
  leave(taskId: TaskId): void {
    this.#members.delete(taskId)
    if (this.isEmpty && (this.#closed || this.#record.info.kind === 'default')) this.close()
  }

  /** Takes no more tasks; undoes nothing yet. */
  bar(): void {
    this.#barred = true
  }

  /** Attaches the networks at the first call. */
  network(): Promise<AttachedNetwork> {
    this.#attaching ??= this.#attach()
    this.#attaching.catch(() => undefined) // told to each who waits for it
    return this.#attaching
  }

  /** Steps the record at once; resolves when the event is durable. @throws as Journal.append */
  note(event: ExecutorEvent): Promise<void> {
    this.#record = stepExecutor(this.#record, event) ?? this.#record
    return this.#journal.append(event)
  }

  /** For what is true whether or not it can be written. */
  async noteOrLog(event: ExecutorEvent): Promise<void> {
    try {
      await this.note(event)
    } catch (error) {
      this.#log.error({ error: errorMessage(error) }, 'can not checkpoint')
    }
  }

  /** Takes no more tasks; undoes all when those that are there have left. */
  close(): void {
    this.#closed = true
    if (!this.isEmpty || this.#undoing) return
    this.#undoing = true
    this.#aborting.abort()
    void this.#undo()
  }

  /** Stops timers and closes the journal; what runs goes on. */
  async detach(): Promise<void> {
    this.#closed = true
    this.#undoing = true
    this.#cancelRetry()
    await this.#journal.close()
  }

  async #attach(): Promise<AttachedNetwork> {
    const { containerId, info, networks, results, attachments } = this.#record
    if (networks !== undefined) {
      return info.networks.length === 0
        ? hostNetwork(this.#deps)
        : attachedNetwork(this.#deps, { containerId, results, networks })
    }
    if (attachments.length > 0) {
      throw new AppError('ERR_AGENT_RESTARTED', 'the agent was restarted while it attached the networks')
    }
    if (info.networks.length === 0) {
      const host = hostNetwork(this.#deps)
      await this.#journal.append(executorAcceptance(this.#record))
      await this.note({ kind: 'attached', results: [], networks: host.networks })
      return host
    }
    const steps = {
      attaching: async (made: readonly Attachment[]) => {
        await this.#journal.append(executorAcceptance(this.#record))
        await this.note({ kind: 'attaching', attachments: made })
      },
      attached: (answers: readonly CniResult[], all: readonly NetworkInfo[]) =>
        void this.noteOrLog({ kind: 'attached', results: answers, networks: all }),
    }
    const { signal } = this.#aborting
    return attachContainer(this.#deps, { containerId, requests: info.networks, ...steps }, { signal })
  }

  async #undo(retryMs: number = undoRetryMs.min): Promise<void> {
    const { containerizer, network, netnsOf, clock, paths } = this.#deps
    await this.#attaching?.catch(() => undefined) // told to each who waited for it
    const { containerId, attachments, results } = this.#record
    try {
      await containerizer.remove(containerId)
      if (attachments.length > 0) {
        await network.detach({ containerId, netns: netnsOf(containerId), attachments, results })
      }
      await this.#journal.close()
      rmSync(containerPaths(paths, containerId).root, { recursive: true, force: true })
      this.#onUndone()
    } catch (error) {
      this.#log.warn({ error: errorMessage(error), retryMs }, 'can not undo, trying again')
      this.#cancelRetry = clock.after(retryMs, () => void this.#undo(Math.min(undoRetryMs.max, retryMs * 2)))
    }
  }
}
