import { type Clock } from '../base/clock.ts'
import { errorMessage } from '../base/errors.ts'
import { type Logger } from '../base/log.ts'
import { type TaskStatus } from '../model/task.ts'
import { type Journal } from './checkpoint.ts'
import { type TaskEnd } from './end-status.ts'
import { stepRecord, type TaskEvent, type TaskRecord } from './record.ts'
import { newUpdateUuid, type UpdateSender } from './updates.ts'

/** A task and its journal, which has all of the record, or (for a new task) nothing yet. */
export interface TaskOpening {
  readonly record: TaskRecord
  readonly journal: Journal<TaskEvent>
}

/** What a ledger works with. */
export interface LedgerDependencies {
  readonly updates: UpdateSender
  readonly clock: Clock
  readonly log: Logger
}

/** What is known of one task: the record, its journal, and which of its statuses the master must hear next. */
export class TaskLedger {
  readonly #deps: LedgerDependencies
  readonly #journal: Journal<TaskEvent>
  readonly #log: Logger
  #record: TaskRecord

  constructor({ record, journal }: TaskOpening, deps: LedgerDependencies) {
    this.#deps = deps
    this.#record = record
    this.#journal = journal
    this.#log = deps.log.child({ task: record.info.taskId, container: record.containerId })
  }

  get record(): TaskRecord {
    return this.#record
  }

  get log(): Logger {
    return this.#log
  }

  /** Steps the record at once; resolves when the events are durable. @throws as Journal.append */
  note(...events: readonly TaskEvent[]): Promise<void> {
    for (const event of events) this.#record = stepRecord(this.#record, event) ?? this.#record
    return this.#journal.append(...events)
  }

  /** For what is true whether or not it can be written: it stays queued. */
  async noteOrLog(...events: readonly TaskEvent[]): Promise<void> {
    try {
      await this.note(...events)
    } catch (error) {
      this.#log.error({ error: errorMessage(error) }, 'can not checkpoint')
    }
  }

  /** Tells the master how the task is now; resolves when that is durable (or can't be). */
  tell(end: TaskEnd, ...before: readonly TaskEvent[]): Promise<void> {
    return this.tellStatus(statusOf(this.#record, end, this.#deps.clock.nowMs()), ...before)
  }

  /** As {@link tell}, of a status that somebody else made. */
  async tellStatus(status: TaskStatus, ...before: readonly TaskEvent[]): Promise<void> {
    await this.noteOrLog(...before, { kind: 'status', status })
    const { state, reason, message: detail } = status
    this.#log.info({ state, reason, detail }, 'task changed')
    this.sendHead()
  }

  /** Sends the first status that the master has not acknowledged, if that is a new one. */
  sendHead(): void {
    const { frameworkId, info, unacknowledged } = this.#record
    this.#deps.updates.setHead({ taskId: info.taskId, frameworkId, status: unacknowledged[0] })
  }

  /** The master has the outstanding update; resolves when that is durable. Another uuid changes nothing. */
  acknowledge(uuid: string): Promise<void> {
    if (this.#record.unacknowledged[0]?.uuid !== uuid) return Promise.resolve()
    const written = this.noteOrLog({ kind: 'acknowledged', uuid })
    this.sendHead()
    return written
  }

  /** Closes the journal. */
  close(): Promise<void> {
    return this.#journal.close()
  }
}

/** The first event of a task's journal. */
export function acceptance(record: TaskRecord): TaskEvent {
  const { frameworkId, info, containerId, bootId, acceptedAtMs, executor } = record
  const home = executor === undefined ? {} : { executor }
  return { kind: 'accepted', frameworkId, info, containerId, bootId, atMs: acceptedAtMs, ...home }
}

function statusOf(record: TaskRecord, end: TaskEnd, timestampMs: number): TaskStatus {
  const { reason, message, healthy = record.healthy } = end
  return {
    taskId: record.info.taskId,
    state: end.state,
    source: 'AGENT',
    timestampMs,
    uuid: newUpdateUuid(),
    networks: record.networks ?? [],
    ...(reason === undefined ? {} : { reason }),
    ...(message === '' ? {} : { message }),
    ...(healthy === undefined ? {} : { healthy }),
  }
}
