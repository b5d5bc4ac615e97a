import { type CniResult } from '../../../cni-plugins/cni/result.ts'
import { type ExecutorInfo } from '../../model/executor.ts'
import { type FrameworkId } from '../../model/ids.ts'
import { type NetworkInfo } from '../../model/task.ts'
import { type Attachment } from '../record.ts'

/** A step of an executor's life as its journal keeps it. */
export type ExecutorEvent =
  | {
      readonly kind: 'accepted'
      readonly frameworkId: FrameworkId
      readonly framework: { readonly name: string; readonly user: string }
      readonly info: ExecutorInfo
      readonly containerId: string
      /** By which a custom executor proves who it is. */
      readonly token: string
      readonly bootId: string
      readonly atMs: number
    }
  | { readonly kind: 'attaching'; readonly attachments: readonly Attachment[] }
  | { readonly kind: 'attached'; readonly results: readonly CniResult[]; readonly networks: readonly NetworkInfo[] }
  | { readonly kind: 'started'; readonly pid: number }
  /** It has subscribed for the first time. */
  | { readonly kind: 'subscribed' }
  /** Its process has ended, or never will start; what is left is to be undone. */
  | { readonly kind: 'ended' }

/** An executor as its agent knows it. */
export interface ExecutorRecord {
  readonly frameworkId: FrameworkId
  readonly framework: { readonly name: string; readonly user: string }
  readonly info: ExecutorInfo
  readonly containerId: string
  readonly token: string
  readonly bootId: string
  readonly acceptedAtMs: number
  readonly attachments: readonly Attachment[]
  readonly results: readonly CniResult[]
  /** Absent until every network is attached. */
  readonly networks?: readonly NetworkInfo[]
  readonly pid?: number
  readonly subscribed?: true
  readonly ended?: true
}

/** The record after one more event; undefined while nothing was accepted. */
export function stepExecutor(record: ExecutorRecord | undefined, event: ExecutorEvent): ExecutorRecord | undefined {
  if (event.kind === 'accepted') {
    const { kind: _, atMs, ...facts } = event
    return record ?? { ...facts, acceptedAtMs: atMs, attachments: [], results: [] }
  }
  if (record === undefined) return undefined
  switch (event.kind) {
    case 'attaching':
      return { ...record, attachments: event.attachments }
    case 'attached':
      return { ...record, results: event.results, networks: event.networks }
    case 'started':
      return { ...record, pid: event.pid }
    case 'subscribed':
      return { ...record, subscribed: true }
    case 'ended':
      return { ...record, ended: true }
  }
}

/** What a whole journal amounts to. */
export function foldExecutor(events: Iterable<ExecutorEvent>): ExecutorRecord | undefined {
  let record: ExecutorRecord | undefined
  for (const event of events) record = stepExecutor(record, event)
  return record
}

/** The first event of an executor's journal. */
export function executorAcceptance(record: ExecutorRecord): ExecutorEvent {
  const { frameworkId, framework, info, containerId, token, bootId, acceptedAtMs: atMs } = record
  return { kind: 'accepted', frameworkId, framework, info, containerId, token, bootId, atMs }
}
