import { type Clock } from '../../base/clock.ts'
import { hasCode } from '../../base/errors.ts'
import { type Logger } from '../../base/log.ts'
import { type TaskId } from '../../model/ids.ts'
import { taskVips, type VipLabels } from '../../model/task-vips.ts'
import { parseVipDrain } from '../../model/vip.ts'
import { type Progress } from '../snapshot/progress.ts'

/**
 * Kills that wait until the nodes know of them. A task behind a VIP is TASK_KILLING in the snapshot first, which takes its
 * weight away on every node; only then may its process be told to end, or connections that a node makes meanwhile are
 * refused. What is established lives on: for the drain time, in which the process is not told yet, and then until the
 * process ends it, the kill grace at most.
 */
export interface Drains {
  /** Calls `send` when all connected nodes have the present snapshot and the task's drain time is over. Again: sets the grace anew. */
  kill(taskId: TaskId, graceMs: number): void
  /** True from {@link kill} to `send`. */
  waits(taskId: TaskId): boolean
  /** Longest time from {@link kill} to `send` for such a task. */
  longestMs(task: VipLabels): number
  /** What still waits is not sent: a new master sends it when the agents come back to it. */
  close(): void
}

/** How long a task behind a VIP may be kept from being told to end. */
export interface DrainTimes {
  /** Longest wait for the nodes. */
  readonly waitMs: number
  /** Drain time of tasks whose labels say none. */
  readonly holdMs: number
}

/**
 * A node that starves for processor time comes round within this; one that hangs or was switched off is not connected any
 * more after 15 s (keepalive of gRPC), and keeps tasks alive so long meanwhile. No drain time: what a process does with its
 * connections within its kill grace is its own affair.
 */
export const defaultDrainTimes: DrainTimes = { waitMs: 10_000, holdMs: 0 }

/** What draining needs. */
export interface DrainsOptions {
  readonly times: DrainTimes
  /** Undefined: it has ended. */
  readonly labels: (taskId: TaskId) => VipLabels | undefined
  /** Publishes what was changed. @returns the version that has it */
  readonly publish: () => number
  readonly progress: Pick<Progress, 'wait'>
  /** Makes durable that the tasks are to end. */
  readonly keep: () => Promise<void>
  readonly send: (taskId: TaskId, graceMs: number) => void
  readonly clock: Clock
  readonly log: Logger
}

/** The longest drain time that one of the task's VIP ports asks for; `otherwise` when none does. */
export function taskHoldMs(task: VipLabels, otherwise: number): number {
  const asked = taskVips(task, 'pass-over').flatMap(({ port }) => {
    try {
      return [parseVipDrain(port.labels) ?? otherwise]
    } catch (error) {
      if (hasCode(error, 'ERR_VIP_DRAIN')) return [] // services refuse it; of another framework it counts as absent
      throw error
    }
  })
  return asked.length === 0 ? otherwise : Math.max(...asked)
}

/** Opens it with nothing waiting. Kills of one turn of events share a version and a wait. */
export function openDrains(options: DrainsOptions): Drains {
  const { times, labels, publish, progress, keep, send, clock, log } = options
  const closing = new AbortController()
  const { signal } = closing
  const graces = new Map<TaskId, number>()
  let gathering: TaskId[] | undefined
  const finish = (id: TaskId) => {
    const graceMs = graces.get(id)
    graces.delete(id)
    if (graceMs !== undefined && !signal.aborted) send(id, graceMs)
  }
  const turnAway = async (ids: readonly TaskId[]) => {
    const startedMs = clock.monotonicMs()
    const known = progress.wait(publish(), { timeoutMs: times.waitMs, signal, of: 'answering' })
    const [{ version, missing }] = await Promise.all([known, keep()])
    const waitedMs = Math.round(clock.monotonicMs() - startedMs)
    if (missing.length === 0) return
    const nodes = missing.map(({ node }) => node)
    log.warn({ version, nodes, waitedMs, tasks: ids.length }, 'tasks end before these nodes have turned away from them')
  }
  const drain = async (ids: readonly TaskId[]) => {
    await turnAway(ids)
    for (const id of ids) {
      const task = labels(id)
      const holdMs = task === undefined ? 0 : taskHoldMs(task, times.holdMs)
      if (holdMs === 0) finish(id)
      else clock.after(holdMs, () => finish(id))
    }
  }
  const gather = () => {
    const ids = gathering ?? []
    gathering = undefined
    drain(ids).catch(() => undefined) // AbortError: closed
  }
  return {
    kill: (taskId, graceMs) => {
      const waits = graces.has(taskId)
      graces.set(taskId, graceMs)
      if (waits || signal.aborted) return
      if (gathering === undefined) queueMicrotask(gather)
      gathering = [...(gathering ?? []), taskId]
    },
    waits: (taskId) => graces.has(taskId),
    longestMs: (task) => (taskVips(task, 'pass-over').length === 0 ? 0 : times.waitMs + taskHoldMs(task, times.holdMs)),
    close: () => closing.abort(),
  }
}
