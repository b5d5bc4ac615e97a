import { type Cidr, type Ip } from '../base/ip.ts'
import { type AgentId, type FrameworkId, type Mac, type NetworkName, type NodeName, type TaskId } from './ids.ts'
import { type Policy } from './policy.ts'
import { type DiscoveryInfo, type NetworkInfo, type PortMapping } from './task.ts'
import { type PortRange } from './resources.ts'

/** A virtual network of the cluster. */
export interface Network {
  readonly name: NetworkName
  /** VXLAN network identifier, 24 bits, one for each network. */
  readonly vni: number
  /** One prefix for each IP version that the network has; nodes get sub-prefixes of them. */
  readonly subnets: readonly Cidr[]
  /** Nothing is forwarded from or to it, even inside of it, unless a policy allows it; nodes still reach it. Absent: open. */
  readonly isolated?: 'strict'
}

/** A node's part of one network. */
export interface NodeSubnet {
  readonly network: NetworkName
  /** In the order of the network's subnets. */
  readonly subnets: readonly Cidr[]
}

/** A machine of the cluster: one node daemon runs on it. */
export interface Node {
  readonly name: NodeName
  /** The address by which the other machines reach it. */
  readonly underlay: Ip
  readonly vtep: { readonly addresses: readonly Ip[]; readonly mac: Mac }
  readonly subnets: readonly NodeSubnet[]
  /** When an agent runs there. */
  readonly agentId?: AgentId
  /** Absent where no master runs. */
  readonly master?: 'leader' | 'standby'
}

/** A running task, as discovery and the load balancer see it. */
export interface RunningTask {
  readonly id: TaskId
  readonly name: string
  /** Name (not id) of its framework. */
  readonly framework: string
  readonly node: NodeName
  readonly agentId: AgentId
  readonly state: 'TASK_RUNNING' | 'TASK_KILLING'
  /** `unchecked`: has no health check. `pending`: has one, with no answer yet. */
  readonly health: 'unchecked' | 'pending' | 'healthy' | 'unhealthy'
  readonly networks: readonly NetworkInfo[]
  readonly portMappings: readonly PortMapping[]
  /** Host ports it was given. */
  readonly ports: readonly PortRange[]
  readonly discovery?: DiscoveryInfo
  /** Absent: none. */
  readonly labels?: Readonly<Record<string, string>>
}

/** An address that the master allocated to a named VIP. */
export interface VipAddress {
  readonly name: string
  /** Name of the framework whose tasks are behind it. */
  readonly framework: string
  /** One for each IP version. */
  readonly addresses: readonly Ip[]
}

/** Where a framework's scheduler runs. */
export interface FrameworkPlace {
  readonly id: FrameworkId
  readonly name: string
  readonly addresses: readonly Ip[]
  /** Where it listens, when that is known. */
  readonly port?: number
}

/**
 * All that a node must program, at one version. A change of anything makes a new version; versions only grow, also over
 * a change of leader.
 */
export interface ClusterSnapshot {
  readonly version: number
  readonly networks: ReadonlyMap<NetworkName, Network>
  readonly nodes: ReadonlyMap<NodeName, Node>
  readonly tasks: ReadonlyMap<TaskId, RunningTask>
  /** By {@link vipKey}. */
  readonly vips: ReadonlyMap<string, VipAddress>
  /** By name. */
  readonly policies: ReadonlyMap<string, Policy>
  /** Absent or empty: nothing is known of them, as before 0.3. */
  readonly frameworks?: ReadonlyMap<FrameworkId, FrameworkPlace>
}

/** What changed between two snapshots. An upsert replaces the whole entity. */
export interface SnapshotDelta {
  readonly version: number
  readonly networks: EntityDelta<NetworkName, Network>
  readonly nodes: EntityDelta<NodeName, Node>
  readonly tasks: EntityDelta<TaskId, RunningTask>
  readonly vips: EntityDelta<string, VipAddress>
  readonly policies: EntityDelta<string, Policy>
  /** Absent: none changed. */
  readonly frameworks?: EntityDelta<FrameworkId, FrameworkPlace>
}

/** Changes of one kind of entity. */
export interface EntityDelta<Key, Value> {
  readonly upserts: ReadonlyMap<Key, Value>
  readonly removals: ReadonlySet<Key>
}

/** Before anything was ever known. */
export const emptySnapshot: ClusterSnapshot = {
  version: 0,
  networks: new Map(),
  nodes: new Map(),
  tasks: new Map(),
  vips: new Map(),
  policies: new Map(),
}

/** True when new connections and names may lead to the task: running, and its check (if any) has passed. */
export function isServing(task: Pick<RunningTask, 'state' | 'health'>): boolean {
  return task.state === 'TASK_RUNNING' && (task.health === 'unchecked' || task.health === 'healthy')
}
