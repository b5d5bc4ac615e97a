import { z } from 'zod'
import { AppError } from '../../../base/errors.ts'
import { parseOfferId } from '../../../model/ids.ts'
import { type OfferOperation, type RefusedLaunch, type SchedulerCall } from '../../../model/scheduler.ts'
import { type TaskInfo } from '../../../model/task.ts'
import { parseResources } from './parse-resources.ts'
import { parseExecutor, parseTask, parseTaskPlace, type TaskOwner } from './parse-task.ts'
import { isUnsupported, malformed, readId, unsupported } from '../../../api/mesos/problem.ts'
import { executorWire, idValue, resourceWire, taskWire, type Wire } from '../../../api/mesos/wire.ts'

const filters = z.looseObject({ refuse_seconds: z.number().default(5) }).default({ refuse_seconds: 5 })
const resourceList = z.array(resourceWire).default([])

/** Message Offer.Operation. */
export const operationWire = z.looseObject({
  type: z.string(),
  id: idValue.optional(),
  launch: z.looseObject({ task_infos: z.array(taskWire).default([]) }).optional(),
  launch_group: z
    .looseObject({ executor: executorWire, task_group: z.looseObject({ tasks: z.array(taskWire).default([]) }) })
    .optional(),
  reserve: z.looseObject({ resources: resourceList }).optional(),
  unreserve: z.looseObject({ resources: resourceList }).optional(),
  create: z.looseObject({ volumes: resourceList }).optional(),
  destroy: z.looseObject({ volumes: resourceList }).optional(),
})

/** Call.Accept. */
export const acceptWire = z.looseObject({
  offer_ids: z.array(idValue).default([]),
  operations: z.array(operationWire).default([]),
  filters,
})

/** Call.Decline. */
export const declineWire = z.looseObject({ offer_ids: z.array(idValue).default([]), filters })

type OperationWire = Wire<typeof operationWire>

/** An operation on what is reserved. */
export type StorageOperation = Exclude<OfferOperation, { readonly kind: 'launch' | 'launch-group' }>

/** What the operations of one call come to. */
interface Parsed {
  readonly launches: TaskInfo[]
  readonly operations: OfferOperation[]
  readonly refused: RefusedLaunch[]
}

/**
 * ACCEPT. A task that can't be is refused by itself; an operation that can't be makes the whole call malformed, because there
 * is no event that would tell of it.
 * @throws ERR_SCHEDULER_MALFORMED, ERR_SCHEDULER_UNSUPPORTED
 */
export function parseAccept(wire: Wire<typeof acceptWire>, path: string, user: string): SchedulerCall {
  const parsed: Parsed = { launches: [], operations: [], refused: [] }
  wire.operations.forEach((operation, index) => {
    parseOperation(operation, `${path}.operations[${index}]`, { parsed, user })
  })
  const { launches, operations, refused } = parsed
  return {
    kind: 'accept',
    offerIds: parseOfferIds(wire.offer_ids, path),
    launches,
    ...(operations.length === 0 ? {} : { operations }),
    ...(refused.length === 0 ? {} : { refused }),
    refuseMs: wire.filters.refuse_seconds * 1_000,
  }
}

/** DECLINE. @throws ERR_SCHEDULER_MALFORMED */
export function parseDecline(wire: Wire<typeof declineWire>, path: string): SchedulerCall {
  const refuseMs = wire.filters.refuse_seconds * 1_000
  return { kind: 'decline', offerIds: parseOfferIds(wire.offer_ids, path), refuseMs }
}

function parseOfferIds(ids: readonly Wire<typeof idValue>[], path: string) {
  return ids.map((id, index) => readId(parseOfferId, id, `${path}.offer_ids[${index}]`))
}

interface Target {
  readonly parsed: Parsed
  readonly user: string
}

function parseOperation(wire: OperationWire, path: string, { parsed, user }: Target): void {
  switch (wire.type) {
    case 'LAUNCH': {
      const tasks = needed(wire.launch, `${path}.launch`).task_infos
      parsed.launches.push(...parseTasks(tasks, `${path}.launch.task_infos`, { owner: { user }, parsed }))
      break
    }
    case 'LAUNCH_GROUP':
      parseGroup(wire, path, { parsed, user })
      break
    case 'RESERVE':
    case 'UNRESERVE':
    case 'CREATE':
    case 'DESTROY':
      if (wire.id !== undefined) throw unsupported(`${path}.id`, 'operations have no status updates')
      parsed.operations.push(...parseStorage(wire, path))
      break
    default:
      throw unsupported(`${path}.type`, `the operation "${wire.type}" is not supported`)
  }
}

/** A group is launched as a whole or not at all: with one bad task all of them are refused. */
function parseGroup(wire: OperationWire, path: string, { parsed, user }: Target): void {
  const at = `${path}.launch_group`
  const { executor: executorJson, task_group: group } = needed(wire.launch_group, at)
  const [first] = group.tasks
  if (first === undefined) throw malformed(`${at}.task_group.tasks`, 'is empty')
  const tasksPath = `${at}.task_group.tasks`
  try {
    const executor = parseExecutor(executorJson, `${at}.executor`, user)
    const owner = { user, group: { id: first.task_id.value, executor } }
    const tasks = group.tasks.map((task, index) => parseTask(task, `${tasksPath}[${index}]`, owner))
    parsed.operations.push({ kind: 'launch-group', executor, tasks })
  } catch (error) {
    const problem = problemOf(error)
    const places = group.tasks.map((task, index) => parseTaskPlace(task, `${tasksPath}[${index}]`))
    parsed.refused.push(...places.map((place) => ({ ...place, problem })))
  }
}

function parseTasks(
  tasks: readonly Wire<typeof taskWire>[],
  path: string,
  { owner, parsed }: { readonly owner: TaskOwner; readonly parsed: Parsed },
): readonly TaskInfo[] {
  return tasks.flatMap((task, index) => {
    const at = `${path}[${index}]`
    const place = parseTaskPlace(task, at)
    try {
      return [parseTask(task, at, owner)]
    } catch (error) {
      parsed.refused.push({ ...place, problem: problemOf(error) })
      return []
    }
  })
}

/** What was found wrong with a task; anything else goes on. */
function problemOf(error: unknown): string {
  const isFinding = error instanceof AppError && error.code === 'ERR_SCHEDULER_MALFORMED'
  if (isFinding || isUnsupported(error)) return error.message
  throw error
}

/** RESERVE, UNRESERVE, CREATE and DESTROY: of an ACCEPT, or of an operator. @throws ERR_SCHEDULER_MALFORMED */
export function parseStorage(wire: OperationWire, path: string): readonly StorageOperation[] {
  const [kind, list, member] = storageOf(wire)
  const at = `${path}.${kind}.${member}`
  const { unreserved, reserved } = parseResources(needed(list, at), at)
  const { cpuMillis, memMb, diskMb, ports } = unreserved
  if (cpuMillis + memMb + diskMb + ports.length > 0 || reserved.length === 0) {
    throw malformed(at, 'name the reservation of each resource')
  }
  const isStatic = reserved.some((reservation) => reservation.kind === 'static')
  if (isStatic && member === 'resources') throw malformed(at, 'static reservations are made by the flags of an agent')
  if (kind === 'reserve' || kind === 'unreserve') return [{ kind, reservations: reserved }]
  if (reserved.some(({ volumes }) => volumes.length === 0))
    throw malformed(at, 'names no volume: give disk.persistence')
  return reserved.map((reservation) => ({ kind, reservation, volumes: reservation.volumes }))
}

type ResourceList = readonly Wire<typeof resourceWire>[]
type StorageKind = 'reserve' | 'unreserve' | 'create' | 'destroy'

function storageOf(wire: OperationWire): readonly [StorageKind, ResourceList | undefined, 'resources' | 'volumes'] {
  switch (wire.type) {
    case 'RESERVE':
      return ['reserve', wire.reserve?.resources, 'resources']
    case 'UNRESERVE':
      return ['unreserve', wire.unreserve?.resources, 'resources']
    case 'CREATE':
      return ['create', wire.create?.volumes, 'volumes']
    default:
      return ['destroy', wire.destroy?.volumes, 'volumes']
  }
}

function needed<T>(value: T | undefined, path: string): T {
  if (value === undefined) throw malformed(path, 'is missing')
  return value
}
