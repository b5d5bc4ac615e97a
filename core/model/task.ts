import { type Cidr, type Ip } from '../base/ip.ts'
import { type ContainerInfo, type FetchUri } from './container.ts'
import { type ExecutorInfo } from './executor.ts'
import { type AgentId, type FrameworkId, type NetworkName, type TaskId } from './ids.ts'
import { type Reservation } from './reservation.ts'
import { type Resources } from './resources.ts'

/** Transport of a port. */
export type Protocol = 'tcp' | 'udp'

/** Task states. Source: mesos, include/mesos/v1/mesos.proto, enum TaskState. */
export type TaskState =
  | 'TASK_STAGING'
  | 'TASK_STARTING'
  | 'TASK_RUNNING'
  | 'TASK_KILLING'
  | 'TASK_FINISHED'
  | 'TASK_FAILED'
  | 'TASK_KILLED'
  | 'TASK_ERROR'
  | 'TASK_LOST'
  | 'TASK_DROPPED'
  | 'TASK_UNREACHABLE'
  | 'TASK_GONE'
  | 'TASK_GONE_BY_OPERATOR'
  | 'TASK_UNKNOWN'

const terminalStates: ReadonlySet<TaskState> = new Set([
  'TASK_FINISHED',
  'TASK_FAILED',
  'TASK_KILLED',
  'TASK_ERROR',
  'TASK_LOST',
  'TASK_DROPPED',
  'TASK_GONE',
  'TASK_GONE_BY_OPERATOR',
])

/** True when a task in this state holds no resources any more and never changes again. */
export function isTerminal(state: TaskState): boolean {
  return terminalStates.has(state)
}

/** What to run: `shell` gives `value` to `/bin/sh -c`; otherwise `arguments` is the argv and `value` the program. */
export interface CommandInfo {
  readonly shell: boolean
  readonly value: string
  readonly arguments: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Variables that are secrets, by the name of the source: the master puts the values into `env` when it sends the task. */
  readonly secretEnv?: Readonly<Record<string, string>>
  readonly user?: string
}

/** A host port that leads to a container port. */
export interface PortMapping {
  readonly hostPort: number
  readonly containerPort: number
  readonly protocol: Protocol
}

/** A wish for a place on a virtual network: eth0 for the first, eth1 for the next. No request at all: host network. */
export interface NetworkRequest {
  readonly name: NetworkName
  readonly labels: Readonly<Record<string, string>>
  readonly portMappings: readonly PortMapping[]
}

/** How health is asked. The agent asks; HTTP passes on 200–399. */
export type HealthProbe =
  | { readonly kind: 'http'; readonly scheme: 'http' | 'https'; readonly path: string; readonly port: number }
  | { readonly kind: 'tcp'; readonly port: number }
  | { readonly kind: 'command'; readonly command: string }

/** A health check. Source: mesos, mesos.proto, message HealthCheck; failures count after the grace period only. */
export interface HealthCheck {
  readonly probe: HealthProbe
  readonly gracePeriodMs: number
  readonly intervalMs: number
  readonly timeoutMs: number
  /** Consecutive failures that get the task killed; 0: never killed, only reported. */
  readonly maxConsecutiveFailures: number
}

/** A port that the task serves, as DiscoveryInfo.ports has it. */
export interface DiscoveryPort {
  readonly number: number
  readonly name?: string
  /** Both: the port serves TCP and UDP. */
  readonly protocols: readonly Protocol[]
  /** `VIP_0` → `/web:80`, `network-scope` → `host | container`, `network-name`, … */
  readonly labels: Readonly<Record<string, string>>
}

/** What discovery may tell of a task. */
export interface DiscoveryInfo {
  readonly name: string
  readonly visibility: 'FRAMEWORK' | 'CLUSTER' | 'EXTERNAL'
  readonly ports: readonly DiscoveryPort[]
}

/** A task as a framework asks for it. */
export interface TaskInfo {
  readonly taskId: TaskId
  readonly name: string
  readonly agentId: AgentId
  /** All that it takes, reserved or not. */
  readonly resources: Resources
  /** How much of it comes from which reservation, with the volumes taken; absent: nothing. */
  readonly reserved?: readonly Reservation[]
  readonly command: CommandInfo
  /** Absent: the host's file system, read-only. */
  readonly container?: ContainerInfo
  readonly fetch?: readonly FetchUri[]
  /** Absent: the agent runs the command itself. */
  readonly executor?: ExecutorInfo
  /** Tasks launched by one LAUNCH_GROUP have the same: they start, and by default end, together. */
  readonly groupId?: string
  /** Opaque octets for a custom executor, in base64. */
  readonly data?: string
  readonly networks: readonly NetworkRequest[]
  readonly healthCheck?: HealthCheck
  readonly discovery?: DiscoveryInfo
  /** Between SIGTERM and SIGKILL. */
  readonly killGraceMs: number
  readonly labels: Readonly<Record<string, string>>
}

/** The networks of a task's network namespace: its executor's, where it has one, which its other tasks are in too. */
export function networksOfTask({ executor, networks }: Pick<TaskInfo, 'executor' | 'networks'>) {
  return executor?.networks ?? networks
}

/** Addresses that a task got on one network. An empty `name` is the host's network. */
export interface NetworkInfo {
  readonly name: string
  readonly addresses: readonly Ip[]
}

/** A step of a task's life, told by the agent (or by the master where no agent can). */
export interface TaskStatus {
  readonly taskId: TaskId
  readonly state: TaskState
  /** `REASON_…`. Source: reference/mesos-core.md, Reasons. */
  readonly reason?: string
  readonly message?: string
  readonly source: 'MASTER' | 'AGENT' | 'EXECUTOR'
  readonly timestampMs: number
  /** 16 octets as 32 hexadecimal digits; absent when no acknowledgement is wanted. */
  readonly uuid?: string
  /** Absent: no check, or none has an answer yet. */
  readonly healthy?: boolean
  readonly networks: readonly NetworkInfo[]
  /** Opaque octets of a custom executor for its framework, in base64. */
  readonly data?: string
}

/** A task as the master keeps it. */
export interface Task {
  readonly info: TaskInfo
  readonly frameworkId: FrameworkId
  readonly status: TaskStatus
}

/** A node's share of a network: used by agent and node daemon to configure CNI. */
export interface NetworkSubnet {
  readonly network: NetworkName
  readonly subnets: readonly Cidr[]
}
