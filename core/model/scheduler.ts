import { type Ip } from '../base/ip.ts'
import { type ExecutorInfo } from './executor.ts'
import { type AgentId, type ExecutorId, type FrameworkId, type OfferId, type TaskId } from './ids.ts'
import { type PersistentVolume, type Reservation } from './reservation.ts'
import { type Resources } from './resources.ts'
import { type TaskInfo, type TaskStatus } from './task.ts'

/** A framework as it introduces itself. Source: mesos, mesos.proto, message FrameworkInfo. */
export interface FrameworkInfo {
  readonly id?: FrameworkId
  readonly name: string
  readonly user: string
  readonly roles: readonly string[]
  /** How long its tasks live on after it disconnected. */
  readonly failoverTimeoutMs: number
  readonly capabilities: readonly string[]
  /** Where it runs, for the record `framework.mesos`. */
  readonly hostname: string
  /** Who it says it is; never changes. */
  readonly principal?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly webuiUrl?: string
  /** Kept for those who read it; agents checkpoint every task. Never changes. */
  readonly checkpoint?: boolean
}

/** A task of an ACCEPT that says what Weft can't do: told TASK_ERROR, as if the master had found it. */
export interface RefusedLaunch {
  readonly taskId: TaskId
  readonly agentId: AgentId
  /** Names the field. */
  readonly problem: string
}

/** Resources of one agent, given to one framework in one role for a while. */
export interface Offer {
  readonly id: OfferId
  readonly frameworkId: FrameworkId
  readonly agentId: AgentId
  readonly hostname: string
  readonly role: string
  /** Unreserved ones. */
  readonly resources: Resources
  /** The role's own reservations on that agent, as far as they are free. */
  readonly reserved?: readonly Reservation[]
  readonly attributes: Readonly<Record<string, string>>
  /** Containers that still fit there, by network; a network of which that is not known is left out. */
  readonly freeAddresses?: Readonly<Record<string, number>>
}

/** What is done with the resources of accepted offers, in order. Source: mesos, mesos.proto, message Offer.Operation. */
export type OfferOperation =
  | { readonly kind: 'launch'; readonly tasks: readonly TaskInfo[] }
  | { readonly kind: 'launch-group'; readonly executor: ExecutorInfo; readonly tasks: readonly TaskInfo[] }
  | { readonly kind: 'reserve' | 'unreserve'; readonly reservations: readonly Reservation[] }
  | {
      readonly kind: 'create' | 'destroy'
      /** Names the reservation; its `volumes` are ignored. */
      readonly reservation: Reservation
      readonly volumes: readonly PersistentVolume[]
    }

/** What a framework may ask. Source: mesos, scheduler.proto, message Call. */
export type SchedulerCall =
  | {
      readonly kind: 'accept'
      readonly offerIds: readonly OfferId[]
      readonly launches: readonly TaskInfo[]
      /** Carried out before `launches`. */
      readonly operations?: readonly OfferOperation[]
      readonly refused?: readonly RefusedLaunch[]
      readonly refuseMs: number
    }
  | { readonly kind: 'decline'; readonly offerIds: readonly OfferId[]; readonly refuseMs: number }
  /** No roles: all of the framework's. */
  | { readonly kind: 'revive' | 'suppress'; readonly roles?: readonly string[] }
  | { readonly kind: 'kill'; readonly taskId: TaskId; readonly agentId?: AgentId; readonly graceMs?: number }
  | { readonly kind: 'acknowledge'; readonly agentId: AgentId; readonly taskId: TaskId; readonly uuid: string }
  | {
      readonly kind: 'reconcile'
      readonly taskIds: readonly TaskId[]
      /** Where the framework believes them to be, as far as it says. */
      readonly agentOf?: ReadonlyMap<TaskId, AgentId>
    }
  /** Takes the place of what the framework said before; its id, user, principal and checkpoint stay. */
  | { readonly kind: 'update-framework'; readonly info: FrameworkInfo; readonly suppressed: readonly string[] }
  | { readonly kind: 'shutdown'; readonly agentId: AgentId; readonly executorId: ExecutorId }
  | { readonly kind: 'message'; readonly agentId: AgentId; readonly executorId: ExecutorId; readonly data: string }
  | { readonly kind: 'teardown' }

/** What a framework is told. Source: mesos, scheduler.proto, message Event. */
export type SchedulerEvent =
  | { readonly kind: 'subscribed'; readonly frameworkId: FrameworkId }
  | { readonly kind: 'offers'; readonly offers: readonly Offer[] }
  | { readonly kind: 'rescind'; readonly offerId: OfferId }
  | { readonly kind: 'update'; readonly status: TaskStatus; readonly agentId?: AgentId }
  /** With an executor: that one ended, with this wait status; without: the agent is lost. */
  | { readonly kind: 'failure'; readonly agentId: AgentId; readonly executorId?: ExecutorId; readonly status?: number }
  /** From an executor; octets in base64. */
  | { readonly kind: 'message'; readonly agentId: AgentId; readonly executorId: ExecutorId; readonly data: string }
  | { readonly kind: 'error'; readonly message: string }

/** A framework's subscription: how it calls the master. In process, or over HTTP behind the same shape. */
export interface SchedulerConnection {
  /** Calls in order; a call that the master refuses is answered by events, as in Mesos. */
  call(call: SchedulerCall): void
  /** Ends the subscription without tearing the framework down. */
  close(): void
}

/** How a subscription begins and ends. */
export interface SubscribeOptions {
  /** Roles in which nothing is offered until they are revived. */
  readonly suppressed?: readonly string[]
  /** Where the subscription came from; absent: out of the master's own process. */
  readonly from?: Ip
  /** The master ended the subscription, after its last event: torn down, refused, or another one took its place. */
  readonly onEnd?: () => void
  /**
   * It learns by itself which agents are being emptied, and moves its tasks: the master kills what is left of them on one only
   * after so long. Absent: at once, as Mesos does.
   */
  readonly movesWithinMs?: number
}

/** The master, as a framework sees it. Events come in order, never during `subscribe` itself. */
export interface SchedulerDriver {
  subscribe(
    framework: FrameworkInfo,
    onEvent: (event: SchedulerEvent) => void,
    options?: SubscribeOptions,
  ): SchedulerConnection
}
