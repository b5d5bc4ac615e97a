import { type AgentId, type TaskId } from '../../model/ids.ts'
import { type TaskInfo } from '../../model/task.ts'
import { formatExecutor, formatTask } from '../../api/mesos/format-task.ts'
import { type ExecutorRecord } from './record.ts'

/** What an executor is told of the agent. */
export interface AgentFacts {
  readonly agentId?: AgentId
  readonly hostname: string
  /** Of its HTTP interface; absent: it has none. */
  readonly port?: number
}

/** An event of the v1 executor API. Source: mesos, executor.proto, message Event. */
export function subscribedEvent(record: ExecutorRecord, { agentId, hostname, port }: AgentFacts): object {
  const { info, frameworkId, framework, containerId } = record
  return event('SUBSCRIBED', {
    executor_info: formatExecutor(info, frameworkId),
    framework_info: { id: { value: frameworkId }, name: framework.name, user: framework.user },
    agent_info: { ...(agentId && { id: { value: agentId } }), hostname, ...(port === undefined ? {} : { port }) },
    container_id: { value: containerId },
  })
}

/** One task, or all of a group at once. */
export function launchEvent(tasks: readonly TaskInfo[], { frameworkId }: Pick<ExecutorRecord, 'frameworkId'>): object {
  const wires = tasks.map((info) => formatTask(info, frameworkId))
  if (tasks[0]?.groupId === undefined) return event('LAUNCH', { task: wires[0] })
  return event('LAUNCH_GROUP', { task_group: { tasks: wires } })
}

/** Asks for a task's end. */
export function killEvent(taskId: TaskId, graceMs: number): object {
  const policy = { grace_period: { nanoseconds: graceMs * 1_000_000 } }
  return event('KILL', { task_id: { value: taskId }, kill_policy: policy })
}

/** The agent has the update on its disk: the executor need not keep it. `uuid` in hexadecimal digits. */
export function acknowledgedEvent(taskId: TaskId, uuid: string): object {
  const octets = Buffer.from(uuid, 'hex').toString('base64')
  return event('ACKNOWLEDGED', { task_id: { value: taskId }, uuid: octets })
}

/** From the framework; octets in base64. */
export function messageEvent(data: string): object {
  return event('MESSAGE', { data })
}

/** The stream ends after it. */
export function errorEvent(message: string): object {
  return event('ERROR', { message })
}

/** It shall end its tasks, then itself. */
export const shutdownEvent = { type: 'SHUTDOWN' } as const

function event(type: string, body: object): object {
  return { type, [type.toLowerCase()]: body }
}
