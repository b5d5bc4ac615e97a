import { unreachable } from '../../base/errors.ts'
import { type AgentId, type FrameworkId, type NodeName } from '../../model/ids.ts'
import { type RunningTask } from '../../model/snapshot.ts'
import { isTerminal, networksOfTask, type TaskInfo, type TaskState, type TaskStatus } from '../../model/task.ts'
import { type VipLabels } from '../../model/task-vips.ts'

/** A task as the master follows it. */
export interface MasterTask {
  readonly info: TaskInfo
  readonly frameworkId: FrameworkId
  /** The role whose share its resources count for. */
  readonly role: string
  /** The latest that was heard. */
  readonly status: TaskStatus
  /** Set once somebody asked for its end. `toldMs`: when its agent was told, after it had drained. */
  readonly killing?: {
    readonly graceMs: number
    readonly sinceMs?: number | undefined
    readonly toldMs?: number | undefined
  }
  /** The latest update that its framework has not acknowledged: sent again when it subscribes. */
  readonly unacknowledged?: TaskStatus
}

/** What says behind which VIPs a task is. */
export function vipLabels({ info: { discovery, labels, resources } }: MasterTask): VipLabels {
  return { labels, ports: resources.ports, ...(discovery && { discovery }) }
}

/** What happens to a task. */
export type TaskEvent =
  | { readonly kind: 'update'; readonly status: TaskStatus }
  | { readonly kind: 'health'; readonly healthy: boolean; readonly timestampMs: number }
  | { readonly kind: 'kill'; readonly graceMs: number; readonly nowMs?: number }
  | { readonly kind: 'acknowledge'; readonly uuid: string }

/** The task after the event. A terminal state never changes again; an acknowledgement of another update changes nothing. */
export function stepTask(task: MasterTask, event: TaskEvent): MasterTask {
  switch (event.kind) {
    case 'update':
      return stepUpdate(task, event.status)
    case 'health':
      return isTerminal(task.status.state)
        ? task
        : { ...task, status: { ...task.status, healthy: event.healthy, timestampMs: event.timestampMs } }
    case 'kill':
      return {
        ...task,
        killing: { graceMs: event.graceMs, ...(event.nowMs === undefined ? {} : { sinceMs: event.nowMs }) },
      }
    case 'acknowledge': {
      if (task.unacknowledged?.uuid !== event.uuid) return task
      const { unacknowledged: _, ...rest } = task
      return rest
    }
    default:
      return unreachable(event)
  }
}

function stepUpdate(task: MasterTask, status: TaskStatus): MasterTask {
  const pending = status.uuid === undefined ? {} : { unacknowledged: status }
  if (isTerminal(task.status.state)) return { ...task, ...pending }
  // An update without addresses or health (KILLING, a repeated RUNNING) does not mean that they are gone.
  const networks = status.networks.length > 0 ? status.networks : task.status.networks
  const healthy = status.healthy ?? task.status.healthy
  return { ...task, ...pending, status: { ...status, networks, ...(healthy === undefined ? {} : { healthy }) } }
}

/** Where a task runs, for the snapshot. */
export interface TaskPlace {
  readonly node: NodeName
  readonly agentId: AgentId
  /** Name of its framework. */
  readonly framework: string
}

/** The task as nodes see it; undefined unless it is running (or on its way down). */
export function runningTask(task: MasterTask, place: TaskPlace): RunningTask | undefined {
  const { info, status, killing } = task
  if (status.state !== 'TASK_RUNNING' && status.state !== 'TASK_KILLING') return undefined
  return {
    id: info.taskId,
    name: info.name,
    framework: place.framework,
    node: place.node,
    agentId: place.agentId,
    state: killing === undefined ? status.state : 'TASK_KILLING',
    health: taskHealth(task),
    networks: status.networks,
    portMappings: networksOfTask(info).flatMap(({ portMappings }) => portMappings),
    ports: info.resources.ports,
    ...(info.discovery === undefined ? {} : { discovery: info.discovery }),
    ...(Object.keys(info.labels).length === 0 ? {} : { labels: info.labels }),
  }
}

function taskHealth({ info, status }: MasterTask): RunningTask['health'] {
  if (info.healthCheck === undefined) return 'unchecked'
  if (status.healthy === undefined) return 'pending'
  return status.healthy ? 'healthy' : 'unhealthy'
}

/** A status that the master says itself; it wants no acknowledgement. */
export interface MasterVerdict {
  readonly state: TaskState
  readonly reason: string
  readonly message: string
  readonly timestampMs: number
}

/** The status of a task on which the master, not its agent, has the word. */
export function masterStatus(
  { info }: { readonly info: Pick<TaskInfo, 'taskId'> },
  verdict: MasterVerdict,
): TaskStatus {
  return { taskId: info.taskId, source: 'MASTER', networks: [], ...verdict }
}

/**
 * The state in which a framework learns a fate: states that only PARTITION_AWARE frameworks know are LOST for the others.
 * Source: reference/mesos-core.md, Task states.
 */
export function stateFor(state: TaskState, capabilities: readonly string[]): TaskState {
  const needsCapability: readonly TaskState[] = [
    'TASK_DROPPED',
    'TASK_UNREACHABLE',
    'TASK_GONE',
    'TASK_GONE_BY_OPERATOR',
    'TASK_UNKNOWN',
  ]
  return needsCapability.includes(state) && !capabilities.includes('PARTITION_AWARE') ? 'TASK_LOST' : state
}
