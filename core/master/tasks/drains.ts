import { type Clock } from '../../base/clock.ts'
import { type Logger } from '../../base/log.ts'
import { type TaskId } from '../../model/ids.ts'
import { type Progress } from '../snapshot/progress.ts'

/**
 * Kills that wait until the nodes know of them. A task behind a VIP is TASK_KILLING in the snapshot first, which takes its
 * weight away on every node; only then may its process be told to end, or connections that a node makes meanwhile are
 * refused. What is established lives on: until the process ends it, the kill grace at most.
 */
export interface Drains {
  /** Calls `send` for the task when all connected nodes have the present snapshot, or {@link drainLimitMs} later. Again: sets the grace anew. */
  kill(taskId: TaskId, graceMs: number): void
  /** What still waits is not sent: a new master sends it when the agents come back to it. */
  close(): void
}

/** What draining needs. */
export interface DrainsOptions {
  /** Publishes what was changed. @returns the version that has it */
  readonly publish: () => number
  readonly progress: Pick<Progress, 'wait'>
  readonly send: (taskId: TaskId, graceMs: number) => void
  readonly clock: Clock
  readonly log: Logger
}

/** Longest wait for the nodes: one that hangs does not keep tasks alive. */
export const drainLimitMs = 1_000

/** Opens it with nothing waiting. Kills of one turn of events share a version and a wait. */
export function openDrains({ publish, progress, send, clock, log }: DrainsOptions): Drains {
  const closing = new AbortController()
  const { signal } = closing
  const graces = new Map<TaskId, number>()
  let gathering: TaskId[] | undefined
  const drain = async (ids: readonly TaskId[]) => {
    const startedMs = clock.monotonicMs()
    const { version, missing } = await progress.wait(publish(), { timeoutMs: drainLimitMs, signal, of: 'connected' })
    const waitedMs = Math.round(clock.monotonicMs() - startedMs)
    if (missing.length > 0) {
      const nodes = missing.map(({ node }) => node)
      log.warn(
        { version, nodes, waitedMs, tasks: ids.length },
        'tasks end before these nodes have turned away from them',
      )
    }
    for (const id of ids) {
      const graceMs = graces.get(id)
      graces.delete(id)
      if (graceMs !== undefined) send(id, graceMs)
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
    close: () => closing.abort(),
  }
}
