import { type Clock } from '../base/clock.ts'
import { errorMessage } from '../base/errors.ts'
import { type Logger } from '../base/log.ts'
import { type Containerizer } from './containerizer/containerizer.ts'
import { type KillCause, latestStatus, type TaskRecord } from './record.ts'

/** How often usage is looked at. Source: mesos, container_disk_watch_interval. */
export const defaultDiskWatchMs = 15_000

/** A task as this watch needs it. */
export interface DiskUser {
  readonly record: TaskRecord
  kill(cause: KillCause, graceMs: number): void
}

/** What the watch of disk limits works with. */
export interface DiskWatchOptions {
  readonly tasks: () => Iterable<DiskUser>
  readonly usage: NonNullable<Containerizer['diskUsage']>
  readonly intervalMs: number
  readonly clock: Clock
  readonly log: Logger
}

/**
 * Kills tasks whose sandbox and written layer have grown over their `disk`; a task that asks for none has no limit. One
 * look after another, so that a slow disk is not asked twice at once. Ends with the signal.
 */
export async function watchDisk(
  options: DiskWatchOptions,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  while (!signal.aborted) {
    for (const task of [...options.tasks()].filter(isLimited)) await look(options, task, signal)
    await options.clock.sleep(options.intervalMs, { signal }).catch(() => undefined) // the signal: the loop ends
  }
}

function isLimited({ record }: DiskUser): boolean {
  const runs = latestStatus(record).state === 'TASK_RUNNING' && record.killing === undefined
  return runs && record.info.resources.diskMb > 0
}

async function look({ usage, log }: DiskWatchOptions, task: DiskUser, signal: AbortSignal): Promise<void> {
  const { containerId, info } = task.record
  const limitMb = info.resources.diskMb
  try {
    const usedMb = Math.ceil((await usage(containerId, { signal })) / 2 ** 20)
    if (usedMb <= limitMb) return
    const message = `killed by the agent: its sandbox took ${usedMb} MB of disk, it has ${limitMb} MB`
    task.kill({ kind: 'limit', reason: 'REASON_CONTAINER_LIMITATION_DISK', message }, info.killGraceMs)
  } catch (error) {
    if (!signal.aborted) log.warn({ task: info.taskId, reason: errorMessage(error) }, 'disk usage can not be told')
  }
}
