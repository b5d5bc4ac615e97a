import { type TaskInfo } from '../model/task.ts'
import { unlessAborted } from './abort.ts'
import { type Together } from './task.ts'

/** Tasks that are launched together: a group, or a task alone. */
export type LaunchUnit = readonly [TaskInfo, ...TaskInfo[]]

/** The launches of one order, those of a group together, in the order of their first tasks. */
export function launchUnits(tasks: readonly TaskInfo[]): readonly LaunchUnit[] {
  return groupUnits(tasks, (info) => info)
}

/** Things that stand for tasks, those of a group together, in the order of their first ones. */
export function groupUnits<T>(things: readonly T[], infoOf: (thing: T) => TaskInfo): readonly (readonly [T, ...T[]])[] {
  const units: [T, ...T[]][] = []
  const byGroup = new Map<string, T[]>()
  for (const thing of things) {
    const info = infoOf(thing)
    const key = info.groupId === undefined ? undefined : `${info.executor?.id ?? ''} ${info.groupId}`
    const known = key === undefined ? undefined : byGroup.get(key)
    if (known !== undefined) {
      known.push(thing)
      continue
    }
    const unit: [T, ...T[]] = [thing]
    units.push(unit)
    if (key !== undefined) byGroup.set(key, unit)
  }
  return units
}

/** True when the two are tasks of one group. */
export function isSameGroup(a: TaskInfo, b: TaskInfo): boolean {
  return a.groupId !== undefined && a.groupId === b.groupId && a.executor?.id === b.executor?.id
}

/**
 * Makes `count` tasks wait for each other: each calls what is returned when its container has started, and goes on when the
 * last one has. When one can't start the others must be
 * aborted.
 */
export function openTogether(count: number): Together {
  const all = Promise.withResolvers<void>()
  let missing = count
  return async ({ signal }) => {
    missing--
    if (missing === 0) all.resolve()
    await unlessAborted(all.promise, signal)
  }
}
