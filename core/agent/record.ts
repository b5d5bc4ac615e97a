import { type CniResult } from '../../cni-plugins/cni/result.ts'
import { type FrameworkId } from '../model/ids.ts'
import { isTerminal, type NetworkInfo, type PortMapping, type TaskInfo, type TaskStatus } from '../model/task.ts'

/** One attachment to a network: what ADD was called with, so that DEL is called with the same. */
export interface Attachment {
  readonly network: string
  readonly ifName: string
  /** Text of the configuration list as it was read, checkpointed before ADD. */
  readonly config: string
  readonly portMappings: readonly PortMapping[]
}

/** Why a task is being killed, which decides how it ends. `group`: another task of its group has ended. */
export type KillCause =
  | { readonly kind: 'asked' }
  | { readonly kind: 'unhealthy' | 'group'; readonly message: string }
  | { readonly kind: 'limit'; readonly reason: string; readonly message: string }

/** More than any executor leaves unacknowledged. */
const keepTold = 256

/** A step of a task's life as its journal keeps it. What a task is now is the fold of its events. */
export type TaskEvent =
  | {
      readonly kind: 'accepted'
      readonly frameworkId: FrameworkId
      readonly info: TaskInfo
      readonly containerId: string
      /** Of the machine: a container never outlives it. */
      readonly bootId: string
      readonly atMs: number
      /** Container id of the executor whose networks it shares, or which runs it. */
      readonly executor?: string
    }
  /** Its custom executor may have been told to launch it. */
  | { readonly kind: 'delivered' }
  | { readonly kind: 'attaching'; readonly attachments: readonly Attachment[] }
  | { readonly kind: 'attached'; readonly results: readonly CniResult[]; readonly networks: readonly NetworkInfo[] }
  | { readonly kind: 'started'; readonly pid: number; readonly atMs: number }
  | { readonly kind: 'killing'; readonly cause: KillCause; readonly graceMs: number }
  | { readonly kind: 'status'; readonly status: TaskStatus }
  | { readonly kind: 'health'; readonly healthy: boolean }
  | { readonly kind: 'acknowledged'; readonly uuid: string }
  | { readonly kind: 'cleaned' }

/** A task as the agent knows it. */
export interface TaskRecord {
  readonly frameworkId: FrameworkId
  readonly info: TaskInfo
  readonly containerId: string
  readonly bootId: string
  readonly acceptedAtMs: number
  /** Container id of its executor; absent: the task has none. */
  readonly executor?: string
  /** Its custom executor may know of it. */
  readonly delivered?: true
  readonly attachments: readonly Attachment[]
  /** What each ADD answered, in the order of the attachments; empty until all are attached. */
  readonly results: readonly CniResult[]
  /** Absent until every network is attached. */
  readonly networks?: readonly NetworkInfo[]
  /** Init process of the container, in the machine's process ids. */
  readonly pid?: number
  readonly startedAtMs?: number
  readonly killing?: { readonly cause: KillCause; readonly graceMs: number }
  readonly latest?: TaskStatus
  /** In order; the first is the one outstanding. */
  readonly unacknowledged: readonly TaskStatus[]
  readonly healthy?: boolean
  /** Uuids of the latest statuses that its custom executor told: told again they count once. */
  readonly told?: readonly string[]
  /** Container, namespace, addresses and cgroup are gone. */
  readonly cleaned: boolean
}

/** The record after one more event; undefined while nothing was accepted (a journal that was torn at its first line). */
export function stepRecord(record: TaskRecord | undefined, event: TaskEvent): TaskRecord | undefined {
  // A kill may come while the acceptance is written: it must not be taken back.
  if (event.kind === 'accepted') return record ?? newRecord(event)
  if (record === undefined) return undefined
  switch (event.kind) {
    case 'attaching':
      return { ...record, attachments: event.attachments }
    case 'attached':
      return { ...record, results: event.results, networks: event.networks }
    case 'delivered':
      return { ...record, delivered: true }
    case 'started':
      return { ...record, pid: event.pid, startedAtMs: event.atMs }
    case 'killing':
      return { ...record, killing: { cause: event.cause, graceMs: event.graceMs } }
    case 'status':
      return {
        ...record,
        ...toldBy(record, event.status),
        latest: event.status,
        unacknowledged: [...record.unacknowledged, event.status],
      }
    case 'health':
      return { ...record, healthy: event.healthy }
    case 'acknowledged':
      return { ...record, unacknowledged: record.unacknowledged.filter(({ uuid }) => uuid !== event.uuid) }
    case 'cleaned':
      return { ...record, cleaned: true }
  }
}

function toldBy({ told = [] }: TaskRecord, { source, uuid }: TaskStatus): Pick<TaskRecord, 'told'> {
  return source === 'EXECUTOR' && uuid !== undefined ? { told: [...told, uuid].slice(-keepTold) } : {}
}

/** What a whole journal amounts to. */
export function foldRecord(events: Iterable<TaskEvent>): TaskRecord | undefined {
  let record: TaskRecord | undefined
  for (const event of events) record = stepRecord(record, event)
  return record
}

/** True when the task will never change again. */
export function hasEnded(record: TaskRecord): boolean {
  return record.latest !== undefined && isTerminal(record.latest.state)
}

/** True when nothing is left to do for it: the agent may forget it. */
export function isForgettable(record: TaskRecord): boolean {
  return record.cleaned && hasEnded(record) && record.unacknowledged.length === 0
}

/** The status that a registration carries: the latest, with the latest health; before the first one, TASK_STAGING. */
export function latestStatus(record: TaskRecord): TaskStatus {
  const status: TaskStatus = record.latest ?? {
    taskId: record.info.taskId,
    state: 'TASK_STAGING',
    source: 'AGENT',
    timestampMs: record.acceptedAtMs,
    networks: [],
  }
  return record.healthy === undefined ? status : { ...status, healthy: record.healthy }
}

/** A task that was accepted, and nothing more. */
export function newRecord(event: Omit<TaskEvent & { readonly kind: 'accepted' }, 'kind'>): TaskRecord {
  return {
    frameworkId: event.frameworkId,
    info: event.info,
    containerId: event.containerId,
    bootId: event.bootId,
    acceptedAtMs: event.atMs,
    ...(event.executor === undefined ? {} : { executor: event.executor }),
    attachments: [],
    results: [],
    unacknowledged: [],
    cleaned: false,
  }
}
