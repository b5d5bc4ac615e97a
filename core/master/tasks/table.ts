import { type Clock } from '../../base/clock.ts'
import { errorMessage } from '../../base/errors.ts'
import { type Logger } from '../../base/log.ts'
import { type AgentId, type FrameworkId, type TaskId } from '../../model/ids.ts'
import { type Store, type StoreWrite } from '../../store/store.ts'
import { parseCachedTask, formatCachedTask } from './cache.ts'
import { type MasterTask } from './state.ts'

/**
 * The master's tasks. The agents have the truth about them; what is kept in the store is a cache, so that a new master's
 * snapshot loses no task while the agents are still coming back. It is written in batches, never waited for.
 */
export interface TaskTable {
  get(id: TaskId): MasterTask | undefined
  set(task: MasterTask): void
  delete(id: TaskId): void
  all(): Iterable<MasterTask>
  ofAgent(agentId: AgentId): readonly MasterTask[]
  ofFramework(frameworkId: FrameworkId): readonly MasterTask[]
  readonly size: number
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
  const tasks = new Map<TaskId, MasterTask>()
  const byAgent = new Map<AgentId, Set<TaskId>>()
  let dirty = new Set<TaskId>()
  let cancel: (() => void) | undefined
  const enter = (task: MasterTask) => {
    const { taskId, agentId } = task.info
    tasks.set(taskId, task)
    const ids = byAgent.get(agentId) ?? new Set()
    byAgent.set(agentId, ids.add(taskId))
  }
  const writeDirty = async () => {
    cancel?.()
    cancel = undefined
    const ids = dirty
    dirty = new Set()
    const writes = [...ids].map((id): StoreWrite => {
      const task = tasks.get(id)
      return { key: `${prefix}${id}`, value: task === undefined ? undefined : formatCachedTask(task) }
    })
    try {
      for (let at = 0; at < writes.length; at += batchSize) {
        await store.write(writes.slice(at, at + batchSize), { term })
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
      cancel ??= clock.after(retryAfterMs, () => void flush())
    }
  }
  const touch = (id: TaskId) => {
    dirty.add(id)
    cancel ??= clock.after(flushAfterMs, () => void flush())
  }
  for (const [key, { value }] of await store.list(prefix)) {
    const task = parseCachedTask(value)
    if (task === undefined) log.warn({ key }, 'a cached task can not be read, its agent will tell')
    else enter(task)
  }
  const ofAgent = (agentId: AgentId) =>
    [...(byAgent.get(agentId) ?? [])].map((id) => tasks.get(id)).filter((task) => task !== undefined)
  return {
    get: (id) => tasks.get(id),
    set: (task) => {
      enter(task)
      touch(task.info.taskId)
    },
    delete: (id) => {
      const agentId = tasks.get(id)?.info.agentId
      if (agentId === undefined) return
      tasks.delete(id)
      byAgent.get(agentId)?.delete(id)
      if (byAgent.get(agentId)?.size === 0) byAgent.delete(agentId)
      touch(id)
    },
    all: () => tasks.values(),
    ofAgent,
    ofFramework: (frameworkId) => [...tasks.values()].filter((task) => task.frameworkId === frameworkId),
    get size() {
      return tasks.size
    },
    close: writeDirty,
  }
}
