import { type Ip } from '../base/ip.ts'
import { type AgentId, type ExecutorId, type FrameworkId, type NodeName, type TaskId } from '../model/ids.ts'
import { type Reservation } from '../model/reservation.ts'
import { type Resources } from '../model/resources.ts'
import { type TaskInfo, type TaskStatus } from '../model/task.ts'

/** A task that an agent has, as it tells a master. */
export interface AgentTask {
  readonly frameworkId: FrameworkId
  readonly info: TaskInfo
  readonly latest: TaskStatus
}

/** How an agent introduces itself; the first message of each session. */
export interface Registration {
  /** Absent the first time. */
  readonly agentId?: AgentId
  readonly nodeName: NodeName
  readonly underlay: Ip
  /** All that it has, reserved or not. */
  readonly resources: Resources
  /** What its flags reserve of it. */
  readonly reserved?: readonly Reservation[]
  /** What a master last told it to keep. */
  readonly kept?: readonly Reservation[]
  readonly attributes: Readonly<Record<string, string>>
  /** All that it has: running, or with updates that nobody has acknowledged. */
  readonly tasks: readonly AgentTask[]
  readonly bootId: string
  /** Highest term of a master that it has obeyed; 0 before the first. */
  readonly highestTerm: number
  /** Of its HTTP interface, at the underlay address; absent: it has none. */
  readonly httpPort?: number
}

/** Between a framework and its executor, either way; octets in base64. It may get lost. */
export interface ExecutorMessage {
  readonly kind: 'executor-message'
  readonly frameworkId: FrameworkId
  readonly executorId: ExecutorId
  readonly data: string
}

/** What an agent tells after it is registered. */
export type AgentReport =
  | { readonly kind: 'update'; readonly frameworkId: FrameworkId; readonly status: TaskStatus }
  | { readonly kind: 'health'; readonly taskId: TaskId; readonly healthy: boolean }
  | { readonly kind: 'pong' }
  /** The answer to `reservations`; the problem is empty when they are kept. */
  | { readonly kind: 'reservations-kept'; readonly problem: string }
  | ExecutorMessage
  /** Told once; `status` as a shell tells it, absent when nobody saw it. */
  | {
      readonly kind: 'executor-ended'
      readonly frameworkId: FrameworkId
      readonly executorId: ExecutorId
      readonly status?: number
    }

/** What an agent says: how it introduces itself, or a report. */
export type AgentMessage = { readonly kind: 'register'; readonly registration: Registration } | AgentReport

/** What a master orders, without its term. `refused` ends the session. */
export type AgentOrder =
  | { readonly kind: 'registered'; readonly agentId: AgentId; readonly pingIntervalMs: number }
  /** Tasks with the same group id start together, or none of them. `framework` is told to executors. */
  | {
      readonly kind: 'launch'
      readonly frameworkId: FrameworkId
      readonly tasks: readonly TaskInfo[]
      readonly framework?: { readonly name: string; readonly user: string }
    }
  | ExecutorMessage
  /** Without an executor: all of the framework. */
  | { readonly kind: 'shutdown-executor'; readonly frameworkId: FrameworkId; readonly executorId?: ExecutorId }
  | { readonly kind: 'kill'; readonly taskId: TaskId; readonly graceMs: number }
  | { readonly kind: 'acknowledge'; readonly taskId: TaskId; readonly uuid: string }
  | { readonly kind: 'ping' }
  /** All that is reserved there, to be kept on disk before anything else is obeyed; directories of destroyed volumes go. */
  | {
      readonly kind: 'reservations'
      readonly reserved: readonly Reservation[]
      readonly destroyed: readonly Reservation[]
    }
  /** `leader`: `address:port` of the master to go to instead. */
  | { readonly kind: 'refused'; readonly code: string; readonly reason: string; readonly leader?: string }

/** An order with the term of the master that gives it: an agent obeys no lower term than it has seen. */
export type AgentCommand = AgentOrder & { readonly term: number }
