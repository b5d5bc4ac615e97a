import { randomBytes } from 'node:crypto'
import { type Clock } from '../base/clock.ts'
import { type FrameworkId, type TaskId } from '../model/ids.ts'
import { type TaskStatus } from '../model/task.ts'

/** First and longest wait for an acknowledgement. Source: mesos, STATUS_UPDATE_RETRY_INTERVAL_MIN and _MAX. */
const retryMinMs = 10_000
const retryMaxMs = 600_000

/** How long to wait for the acknowledgement of a send; `attempt` 0 is the first. */
export function retryDelayMs(attempt: number): number {
  return Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(attempt, 16))
}

/** 16 random octets as 32 hexadecimal digits. */
export function newUpdateUuid(): string {
  return randomBytes(16).toString('hex')
}

/** Sends each task's updates in order, one outstanding, again and again until it is acknowledged. */
export interface UpdateSender {
  /** The first unacknowledged status of a task has become this one; undefined: there is none. */
  setHead(head: UpdateHead): void
  /** A session has begun: sends every head at once and starts their waits anew. */
  resendAll(): void
  /** Cancels every wait. */
  close(): void
}

/** The status that waits for its acknowledgement. */
export interface UpdateHead {
  readonly taskId: TaskId
  readonly frameworkId: FrameworkId
  readonly status: TaskStatus | undefined
}

interface Outstanding {
  readonly head: UpdateHead & { readonly status: TaskStatus }
  attempt: number
  cancel: () => void
}

/** Opens a sender; `send` may drop what it can't deliver. */
export function openUpdates(options: {
  readonly send: (frameworkId: FrameworkId, status: TaskStatus) => void
  readonly clock: Clock
}): UpdateSender {
  const outstanding = new Map<TaskId, Outstanding>()
  const transmit = (entry: Outstanding) => {
    entry.cancel()
    options.send(entry.head.frameworkId, entry.head.status)
    entry.cancel = options.clock.after(retryDelayMs(entry.attempt++), () => transmit(entry))
  }
  const setHead = ({ taskId, frameworkId, status }: UpdateHead) => {
    const before = outstanding.get(taskId)
    if (before?.head.status.uuid === status?.uuid) return
    before?.cancel()
    outstanding.delete(taskId)
    if (status === undefined) return
    const entry: Outstanding = { head: { taskId, frameworkId, status }, attempt: 0, cancel: () => undefined }
    outstanding.set(taskId, entry)
    transmit(entry)
  }
  const resendAll = () => {
    for (const entry of outstanding.values()) {
      entry.attempt = 0
      transmit(entry)
    }
  }
  const close = () => {
    for (const entry of outstanding.values()) entry.cancel()
    outstanding.clear()
  }
  return { setHead, resendAll, close }
}
