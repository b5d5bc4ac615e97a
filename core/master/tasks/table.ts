import { type Clock } from '../../base/clock.ts'
import { errorMessage } from '../../base/errors.ts'
import { type Logger } from '../../base/log.ts'
import { type TaskId } from '../../model/ids.ts'
import { type Store, type StoreWrite } from '../../store/store.ts'
import { parseCachedTask, formatCachedTask } from './cache.ts'
import { type ExecutorTable, openExecutorTable } from './executors.ts'
import { openTaskIndex, type TaskIndex } from './lookup.ts'

/**
 * The master's tasks. The agents have the truth about them; what is kept in the store is a cache, so that a new master's
 * snapshot loses no task while the agents are still coming back. It is written in batches, and waited for only before a
 * task that clients reach is told to end: a new master must not send them to it again.
 */
export interface TaskTable extends TaskIndex {
  readonly executors: ExecutorTable
  /** Resolves when all that was set is written; what can't be written is tried again later. Never rejects. */
  written(): Promise<void>
  /** Writes what is not written yet. @throws what the store throws */
  close(): Promise<void>
}

/** What a task table needs. */
export interface TaskTableOptions {
  readonly store: Store
  readonly term: number
  readonly clock: Clock
  readonly log: Logger
}

const prefix = 'tasks/'
const flushAfterMs = 200
const retryAfterMs = 2_000

/** Tasks of one write: it need not be one, and ZooKeeper takes a megabyte at most. */
const batchSize = 250

/** Opens the table with what an earlier master cached; entries that can't be read are left out: agents know better. */
export async function openTaskTable(options: TaskTableOptions): Promise<TaskTable> {
  const { store, term, clock, log } = options
  const tasks = openTaskIndex()
  let dirty = new Set<TaskId>()
  let cancel: (() => void) | undefined
  const writeDirty = async () => {
    cancel?.()
    cancel = undefined
    const ids = dirty
    dirty = new Set()
    try {
      for (const batch of batchesOf([...ids])) {
        await store.write(
          batch.map((id): StoreWrite => {
            const task = tasks.get(id)
            return { key: `${prefix}${id}`, value: task === undefined ? undefined : formatCachedTask(task) }
          }),
          { term },
        )
        // A store may write without leaving this turn of events: 400,000 tasks at once would keep all others waiting.
        await new Promise((resolve) => setImmediate(resolve))
      }
    } catch (error) {
      for (const id of ids) dirty.add(id)
      throw error
    }
  }
  const flush = async () => {
    try {
      await writeDirty()
    } catch (error) {
      log.warn({ reason: errorMessage(error), tasks: dirty.size }, 'tasks could not be cached, trying again')
      cancel ??= clock.after(retryAfterMs, () => void written())
    }
  }
  let last: Promise<void> = Promise.resolve()
  /** One write after another: what an earlier one still writes is not dirty any more. */
  const written = () => {
    last = last.then(flush)
    return last
  }
  const touch = (id: TaskId) => {
    dirty.add(id)
    cancel ??= clock.after(flushAfterMs, () => void written())
  }
  for (const [key, { value }] of await store.list(prefix)) {
    const task = parseCachedTask(value)
    if (task === undefined) log.warn({ key }, 'a cached task can not be read, its agent will tell')
    else tasks.set(task)
  }
  return {
    ...tasks,
    executors: openExecutorTable(),
    set: (task) => {
      tasks.set(task)
      touch(task.info.taskId)
    },
    delete: (id) => {
      if (tasks.get(id) === undefined) return
      tasks.delete(id)
      touch(id)
    },
    get size() {
      return tasks.size
    },
    written,
    close: async () => {
      await last
      await writeDirty()
    },
  }
}

function batchesOf(ids: readonly TaskId[]): readonly (readonly TaskId[])[] {
  const starts = Array.from({ length: Math.ceil(ids.length / batchSize) }, (_, i) => i * batchSize)
  return starts.map((start) => ids.slice(start, start + batchSize))
}
