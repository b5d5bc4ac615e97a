import { AppError } from '../../base/errors.ts'
import { type Ip } from '../../base/ip.ts'
import { parseTaskId } from '../../model/ids.ts'
import { addResources, sumResources, type Resources } from '../../model/resources.ts'
import { type TaskInfo } from '../../model/task.ts'
import { type ExecutorRecord } from './record.ts'

/** How long an executor may take to subscribe. Source: mesos, executor_registration_timeout, executor_reregistration_timeout. */
export interface ExecutorPatience {
  /** From its launch, image and files apart. */
  readonly registrationMs: number
  /** From the agent's restart. */
  readonly reregistrationMs: number
}

/** As in Mesos. */
export const defaultPatience: ExecutorPatience = { registrationMs: 60_000, reregistrationMs: 2000 }

/** Waits that an executor is told of. Source: mesos, docs/configuration/agent.md, src/slave/constants.hpp. */
export const executorWaits = {
  /** How long it waits for an agent before it gives up. */
  recovery: '15mins',
  /** Its longest wait between two tries to subscribe. */
  backoff: '1secs',
} as const

/** Where an executor finds the folder with the agent's socket. */
export const socketMount = '/run/weft-agent'

/** The socket's name there. */
export const socketName = 'executor.sock'

/** Where an executor reaches its agent. */
export interface ExecutorEndpoint {
  /** `address:port`; absent: the agent serves no HTTP. */
  readonly tcp?: string
  /** Folder of the agent's machine with its socket; absent: it has none. */
  readonly socketDir?: string
}

/** The variables by which an executor finds its agent and proves who it is. Source: mesos, docs/executor-http-api.md. */
export function executorEnvironment(
  { info, token }: Pick<ExecutorRecord, 'info' | 'token'>,
  { tcp, socketDir }: ExecutorEndpoint,
): Readonly<Record<string, string>> {
  return {
    ...(tcp === undefined ? {} : { MESOS_AGENT_ENDPOINT: tcp }),
    ...(socketDir === undefined ? {} : { MESOS_DOMAIN_SOCKET: `${socketMount}/${socketName}` }),
    MESOS_EXECUTOR_AUTHENTICATION_TOKEN: token,
    MESOS_CHECKPOINT: '1',
    MESOS_RECOVERY_TIMEOUT: executorWaits.recovery,
    MESOS_SUBSCRIPTION_BACKOFF_MAX: executorWaits.backoff,
    MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD: formatDuration(info.shutdownGraceMs),
  }
}

/**
 * The executor as a containerizer runs it: under its own id, with what it and its tasks take. @throws ERR_AGENT_COMMAND
 */
export function executorTask({ info }: Pick<ExecutorRecord, 'info'>, tasks: readonly TaskInfo[]): TaskInfo {
  const { id, name, command, container, fetch, labels, networks } = info
  const [first] = tasks
  if (command === undefined || first === undefined) {
    throw new AppError('ERR_AGENT_COMMAND', `executor ${id} has no command: a custom executor needs one`)
  }
  const reserved = tasks.flatMap((task) => task.reserved ?? [])
  return {
    taskId: parseTaskId(id),
    name,
    agentId: first.agentId,
    resources: executorNeed(info.resources, tasks),
    // Persistent volumes of the tasks it begins with are mounted into it: its tasks have no containers of their own.
    ...(reserved.length === 0 ? {} : { reserved }),
    command,
    ...(container && { container }),
    ...(fetch && { fetch }),
    executor: info,
    networks,
    killGraceMs: info.shutdownGraceMs,
    labels,
  }
}

/** What an executor's control group is allowed: its own and that of its tasks. */
export function executorNeed(own: Resources, tasks: readonly TaskInfo[]): Resources {
  return addResources(own, sumResources(tasks.map(({ resources }) => resources)))
}

/** As Mesos writes durations. Source: mesos, stout/duration.hpp. */
function formatDuration(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}secs` : `${ms}ms`
}

/** `address:port`, an IPv6 address in brackets. */
export function formatEndpoint(address: Ip, port: number): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`
}
