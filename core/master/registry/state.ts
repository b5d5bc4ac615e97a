import { type Ip } from '../../base/ip.ts'
import { type AgentId, type FrameworkId, type Mac, type NetworkName, type NodeName } from '../../model/ids.ts'
import { type Policy } from '../../model/policy.ts'
import { type Reservation } from '../../model/reservation.ts'
import { type Resources } from '../../model/resources.ts'
import { type FrameworkInfo } from '../../model/scheduler.ts'
import { type Network, type NodeSubnet, type VipAddress } from '../../model/snapshot.ts'
import { type QuotaLimits } from '../allocator/quota.ts'
import { type NodeIndex } from '../networks/node-index.ts'

/** An admitted agent. */
export interface AgentRecord {
  readonly id: AgentId
  readonly nodeName: NodeName
  readonly underlay: Ip
  /** All that it has, reserved or not. */
  readonly total: Resources
  /** Which of it is reserved, by its flags or by frameworks, with the volumes there; absent: nothing. */
  readonly reserved?: readonly Reservation[]
  readonly attributes: Readonly<Record<string, string>>
  readonly bootId: string
  /** Of its HTTP interface, at the underlay address; absent: it told none. */
  readonly httpPort?: number
  /** Wall clock; set while it is unreachable. */
  readonly unreachableSinceMs?: number
  /** An operator wants nothing offered there; its tasks go on. */
  readonly deactivated?: true
  /** An operator wants its tasks ended; it is deactivated too. */
  readonly drain?: DrainRecord
}

/** How an agent is emptied. Source: mesos, mesos.proto, message DrainConfig. */
export interface DrainRecord {
  /** Cuts the kill grace of its tasks; absent: each has its own. */
  readonly maxGraceMs?: number
  /** What happens once it is empty. */
  readonly afterwards: 'stay' | 'gone'
  /** Wall clock. */
  readonly sinceMs: number
  /** It is empty: only an operator's word makes it work again. */
  readonly drained?: true
}

/** An agent that an operator gave up: its id is refused for ever. */
export interface GoneRecord {
  readonly id: AgentId
  readonly nodeName: NodeName
  /** Wall clock. */
  readonly sinceMs: number
}

/** A machine and what it was given. Freed only when the machine is removed. */
export interface NodeRecord {
  readonly name: NodeName
  readonly underlay: Ip
  readonly vtep: { readonly addresses: readonly Ip[]; readonly mac: Mac }
  readonly subnets: readonly NodeSubnet[]
  readonly agentId?: AgentId
  /** A node daemon has subscribed from there: convergence waits for it. */
  readonly daemon: boolean
  /** A master runs there; absent: none does. */
  readonly masterPlace?: MasterPlace
}

/** How a master is reached. */
export interface MasterPlace {
  /** `address:port` */
  readonly http: string
}

/** A framework that subscribed once. */
export interface FrameworkRecord {
  readonly id: FrameworkId
  readonly info: FrameworkInfo
  /** Wall clock; set while nobody is subscribed. */
  readonly disconnectedAtMs?: number
  /** Torn down: its id is never accepted again. */
  readonly removed: boolean
}

/** A named VIP and what it was given. */
export interface VipRecord extends VipAddress {
  /** Wall clock; since when no task is behind it, or when it was made. Means nothing while one is. */
  readonly freedAtMs?: number
  /** Its address is given to nobody else, however long it is unused. */
  readonly reserved?: true
}

/** The weight of a role; roles without one have 1. */
export interface WeightRecord {
  readonly role: string
  readonly weight: number
}

/** The limits of a top-level role. */
export interface QuotaRecord {
  readonly role: string
  readonly limits: QuotaLimits
}

/** All that a master keeps and can't learn again from agents. */
export interface RegistryTables {
  readonly agents: ReadonlyMap<AgentId, AgentRecord>
  readonly frameworks: ReadonlyMap<FrameworkId, FrameworkRecord>
  readonly networks: ReadonlyMap<NetworkName, Network>
  readonly nodes: ReadonlyMap<NodeName, NodeRecord>
  /** By vipKey. Kept while unused, so that a name gets the same address again. */
  readonly vips: ReadonlyMap<string, VipRecord>
  /** By name. */
  readonly policies: ReadonlyMap<string, Policy>
  /** By role. */
  readonly weights: ReadonlyMap<string, WeightRecord>
  /** By role. */
  readonly quotas: ReadonlyMap<string, QuotaRecord>
  readonly gone: ReadonlyMap<AgentId, GoneRecord>
}

/** What decisions are made on. */
export interface RegistryState extends RegistryTables {
  /** Follows `nodes`; absent: it is made when needed, by a look at each node. */
  readonly nodeIndex?: NodeIndex
}

/** Values to be set; undefined removes. */
export type TableChange<Table> =
  Table extends ReadonlyMap<infer Key, infer Value> ? ReadonlyMap<Key, Value | undefined> : never

/** What a decision changes. */
export type RegistryChange = { readonly [Name in keyof RegistryTables]?: TableChange<RegistryTables[Name]> }

/** A pure decision on the registry. It throws when it refuses. */
export type Decide = (state: RegistryState) => RegistryChange

/** True when nothing would be written. */
export function isEmptyChange(change: RegistryChange): boolean {
  return Object.values(change).every((table) => table.size === 0)
}
