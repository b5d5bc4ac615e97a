import { type FrameworkId, parseAgentId, parseFrameworkId, parseTaskId } from '../model/ids.ts'
import { type HealthCheck, type HealthProbe, type TaskInfo, type TaskState, type TaskStatus } from '../model/task.ts'
import {
  type HealthCheck as HealthCheckProto,
  type TaskInfo as TaskInfoProto,
  type TaskStatus as TaskStatusProto,
} from './gen/cluster.ts'
import { decodeContainer, decodeFetch, encodeContainer, encodeFetch } from './convert-container.ts'
import {
  decodeCommand,
  decodeExecutor,
  decodeNetworkRequest,
  encodeCommand,
  encodeExecutor,
  encodeNetworkRequest,
} from './convert-executor.ts'
import { decodeReservations, encodeReservations } from './convert-reservation.ts'
import {
  decodeDiscovery,
  decodeNetworkInfos,
  decodeResources,
  encodeDiscovery,
  encodeNetworkInfos,
  encodeResources,
} from './convert-resources.ts'
import { oneOf, parsed, portNumber, required } from './parse.ts'

const taskStates: readonly TaskState[] = [
  'TASK_STAGING',
  'TASK_STARTING',
  'TASK_RUNNING',
  'TASK_KILLING',
  'TASK_FINISHED',
  'TASK_FAILED',
  'TASK_KILLED',
  'TASK_ERROR',
  'TASK_LOST',
  'TASK_DROPPED',
  'TASK_UNREACHABLE',
  'TASK_GONE',
  'TASK_GONE_BY_OPERATOR',
  'TASK_UNKNOWN',
]

/** The model's task as it travels. */
export function encodeTaskInfo(info: TaskInfo): TaskInfoProto {
  return {
    taskId: info.taskId,
    name: info.name,
    agentId: info.agentId,
    resources: encodeResources(info.resources),
    reserved: encodeReservations(info.reserved),
    container: info.container === undefined ? undefined : encodeContainer(info.container),
    fetch: encodeFetch(info.fetch),
    executor: info.executor === undefined ? undefined : encodeExecutor(info.executor),
    groupId: info.groupId ?? '',
    data: info.data,
    command: encodeCommand(info.command),
    networks: info.networks.map(encodeNetworkRequest),
    healthCheck: info.healthCheck === undefined ? undefined : encodeHealthCheck(info.healthCheck),
    discovery: info.discovery === undefined ? undefined : encodeDiscovery(info.discovery),
    killGraceMs: info.killGraceMs,
    labels: { ...info.labels },
  }
}

/** @throws ERR_API_INVALID */
export function decodeTaskInfo(proto: TaskInfoProto | undefined, field: string): TaskInfo {
  const info = required(proto, field)
  const { healthCheck, discovery, reserved, container, fetch, executor, groupId, data } = info
  return {
    taskId: parsed(info.taskId, parseTaskId, `${field}.task_id`),
    name: info.name,
    agentId: parsed(info.agentId, parseAgentId, `${field}.agent_id`),
    resources: decodeResources(info.resources, `${field}.resources`),
    ...(reserved.length === 0 ? {} : { reserved: decodeReservations(reserved, `${field}.reserved`) }),
    command: decodeCommand(info.command, `${field}.command`),
    ...(container === undefined ? {} : { container: decodeContainer(container, `${field}.container`) }),
    ...(fetch.length === 0 ? {} : { fetch: decodeFetch(fetch) }),
    ...(executor === undefined ? {} : { executor: decodeExecutor(executor, `${field}.executor`) }),
    ...(groupId === '' ? {} : { groupId }),
    ...(data === undefined ? {} : { data }),
    networks: info.networks.map((request) => decodeNetworkRequest(request, `${field}.networks`)),
    ...(healthCheck === undefined ? {} : { healthCheck: decodeHealthCheck(healthCheck, `${field}.health_check`) }),
    ...(discovery === undefined ? {} : { discovery: decodeDiscovery(discovery, `${field}.discovery`) }),
    killGraceMs: info.killGraceMs,
    labels: info.labels,
  }
}

/** The model's task status as it travels; the framework's id goes with it, so that an update finds its framework. */
export function encodeTaskStatus(status: TaskStatus, frameworkId: FrameworkId): TaskStatusProto {
  return {
    taskId: status.taskId,
    state: status.state,
    reason: status.reason ?? '',
    message: status.message ?? '',
    source: status.source,
    timestampMs: Math.max(0, Math.round(status.timestampMs)),
    uuid: status.uuid ?? '',
    healthy: status.healthy,
    networks: encodeNetworkInfos(status.networks),
    frameworkId,
    data: status.data ?? '',
  }
}

/** @throws ERR_API_INVALID */
export function decodeTaskStatus(proto: TaskStatusProto | undefined, field: string): TaskStatus {
  const { taskId, state, reason, message, source, timestampMs, uuid, healthy, networks, data } = required(proto, field)
  return {
    taskId: parsed(taskId, parseTaskId, `${field}.task_id`),
    state: oneOf(state, taskStates, `${field}.state`),
    ...(reason === '' ? {} : { reason }),
    ...(message === '' ? {} : { message }),
    source: oneOf(source, ['MASTER', 'AGENT', 'EXECUTOR'], `${field}.source`),
    timestampMs,
    ...(uuid === '' ? {} : { uuid }),
    ...(healthy === undefined ? {} : { healthy }),
    networks: decodeNetworkInfos(networks, `${field}.networks`),
    ...(data === '' ? {} : { data }),
  }
}

/** @throws ERR_API_INVALID */
export function decodeFrameworkId(text: string, field: string): FrameworkId {
  return parsed(text, parseFrameworkId, field)
}

function encodeHealthCheck(check: HealthCheck): HealthCheckProto {
  const { gracePeriodMs, intervalMs, timeoutMs, maxConsecutiveFailures } = check
  return { probe: encodeProbe(check.probe), gracePeriodMs, intervalMs, timeoutMs, maxConsecutiveFailures }
}

function encodeProbe(probe: HealthProbe): HealthCheckProto['probe'] {
  switch (probe.kind) {
    case 'http':
      return { $case: 'http', value: { scheme: probe.scheme, path: probe.path, port: probe.port } }
    case 'tcp':
      return { $case: 'tcpPort', value: probe.port }
    case 'command':
      return { $case: 'command', value: probe.command }
  }
}

function decodeHealthCheck({ probe, ...times }: HealthCheckProto, field: string): HealthCheck {
  return { probe: decodeProbe(required(probe, `${field}.probe`), field), ...times }
}

function decodeProbe(probe: NonNullable<HealthCheckProto['probe']>, field: string): HealthProbe {
  switch (probe.$case) {
    case 'http': {
      const { scheme, path, port } = probe.value
      const known = oneOf(scheme, ['http', 'https'], `${field}.scheme`)
      return { kind: 'http', scheme: known, path, port: portNumber(port, `${field}.port`) }
    }
    case 'tcpPort':
      return { kind: 'tcp', port: portNumber(probe.value, `${field}.tcp_port`) }
    case 'command':
      return { kind: 'command', command: probe.value }
  }
}
