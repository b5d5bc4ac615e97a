import { type AgentOrder } from '../api/messages.ts'
import { type Clock } from '../base/clock.ts'
import { type Ip } from '../base/ip.ts'
import { type Logger } from '../base/log.ts'
import { type AgentId, type FrameworkId, type NodeName, type TaskId } from '../model/ids.ts'
import { type FrameworkInfo, type SchedulerEvent } from '../model/scheduler.ts'
import { type ReadSecret } from '../model/secret.ts'
import { type AgentState } from './agents/state.ts'
import { type Allocator } from './allocator/allocator.ts'
import { type Changes } from './changes.ts'
import { type MasterIds } from './ids.ts'
import { type Profile } from './networks/profile.ts'
import { type RoomWatch } from './networks/room.ts'
import { type UsageTable } from './networks/usage.ts'
import { type VipUse } from './networks/vips.ts'
import { type Offers } from './offers/offers.ts'
import { type Registrar } from './registry/registrar.ts'
import { type AgentRecord } from './registry/state.ts'
import { type SnapshotKeeper } from './snapshot/keeper.ts'
import { type Progress } from './snapshot/progress.ts'
import { type Publisher } from './snapshot/publisher.ts'
import { type Roster } from './standby/roster.ts'
import { type Drains } from './tasks/drains.ts'
import { type TaskTable } from './tasks/table.ts'

/** An agent's open session, as the rest of the master sees it. */
export interface AgentLink {
  send(order: AgentOrder): void
  isOpen(): boolean
  close(): void
}

/** An agent of the registry, and the connection to it. */
export interface AgentEntry {
  record: AgentRecord
  state: AgentState
  /** Set while connected. */
  link: AgentLink | undefined
  /** Wall clock; of its first registration with this master. */
  registeredAtMs?: number
  cancelPing: () => void
  /** Set while tasks of a framework that moves them are left alone on this draining agent. */
  cancelHold?: () => void
}

/**
 * A framework. `recovered`: known from the registry (or only from its tasks), not back yet; `removed`: torn down, what is
 * left of its tasks is being killed.
 */
export interface FrameworkEntry {
  readonly id: FrameworkId
  info: FrameworkInfo
  state: 'recovered' | 'connected' | 'disconnected' | 'removed'
  /** Set while connected. Events arrive in order, in a later microtask. */
  deliver: ((event: SchedulerEvent) => void) | undefined
  /** Ends the subscription from here; set as `deliver` is. */
  end: (() => void) | undefined
  /** Where its subscription came from; absent: not known, or out of this process. */
  from?: Ip | undefined
  /** How long its tasks on a draining agent are left to it; absent: not at all. */
  movesWithinMs?: number | undefined
  /** Roles in which it wants no offers. */
  suppressed: ReadonlySet<string>
  cancelFailover: () => void
  /** Asked for while agents were still coming back; answered when all, or the one named, are there or given up. */
  readonly unanswered: Map<TaskId, AgentId | undefined>
}

/** What happened so far; read by the metrics. */
export interface Counters {
  taskUpdates: number
  offersMade: number
  launches: number
  storeFailures: number
  registrations: number
  refusals: number
  unreachable: number
}

/** Everything that the parts of one master share for its term of office. */
export interface MasterContext {
  readonly term: number
  readonly self: NodeName
  readonly profile: Profile
  readonly pingIntervalMs: number
  readonly ids: MasterIds
  readonly clock: Clock
  readonly log: Logger
  /** Throws for each when the master has no secrets. */
  readonly readSecret: ReadSecret
  readonly registrar: Registrar
  readonly keeper: SnapshotKeeper
  readonly publisher: Publisher
  /** Who uses VIPs now. */
  readonly vipUse: () => VipUse
  readonly progress: Progress
  readonly usage: UsageTable
  readonly room: RoomWatch
  readonly allocator: Allocator
  readonly offers: Offers
  readonly tasks: TaskTable
  readonly drains: Drains
  readonly roster: Roster
  readonly agents: Map<AgentId, AgentEntry>
  readonly frameworks: Map<FrameworkId, FrameworkEntry>
  readonly counters: Counters
  /** Monotonic: when it began to lead. */
  readonly openedMs: number
  readonly changes: Changes
}
