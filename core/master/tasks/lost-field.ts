import { decodeTaskInfo, encodeTaskInfo } from '../../api/convert-task.ts'
import { type TaskInfo } from '../../model/task.ts'

/** What a task may have beside its command and networks. */
const optional = ['container', 'fetch', 'executor', 'groupId', 'data', 'reserved'] as const

/**
 * A field of the task that cluster.proto does not carry: an agent would run the task without it. Tried, not listed, so that
 * it is right when the protocol learns the field. Undefined: the task arrives whole.
 */
export function findLostField(info: TaskInfo): string | undefined {
  const given = optional.filter((field) => info[field] !== undefined)
  if (given.length === 0) return undefined
  const arrived = decodeTaskInfo(encodeTaskInfo(info), 'task')
  return given.find((field) => arrived[field] === undefined)
}
