import { type FrameworkId, parseAgentId, parseFrameworkId, parseNetworkName, parseTaskId } from '../model/ids.ts'
import {
  type HealthCheck,
  type HealthProbe,
  type NetworkRequest,
  type TaskInfo,
  type TaskState,
  type TaskStatus,
} from '../model/task.ts'
import {
  type HealthCheck as HealthCheckProto,
  type NetworkRequest as NetworkRequestProto,
  type TaskInfo as TaskInfoProto,
  type TaskStatus as TaskStatusProto,
} from './gen/cluster.ts'
import { decodeContainer, decodeFetch, encodeContainer, encodeFetch } from './convert-container.ts'
import { decodeReservations, encodeReservations } from './convert-reservation.ts'
import {
  decodeDiscovery,
  decodeNetworkInfos,
  decodePortMappings,
  decodeResources,
  encodeDiscovery,
  encodeNetworkInfos,
  encodePortMappings,
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
  const { shell, value, env, user } = info.command
  return {
    taskId: info.taskId,
    name: info.name,
    agentId: info.agentId,
    resources: encodeResources(info.resources),
    reserved: encodeReservations(info.reserved),
    container: info.container === undefined ? undefined : encodeContainer(info.container),
    fetch: encodeFetch(info.fetch),
    command: { shell, value, arguments: [...info.command.arguments], env: { ...env }, user: user ?? '' },
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
  const { user, ...command } = required(info.command, `${field}.command`)
  const { healthCheck, discovery, reserved, container, fetch } = info
  return {
    taskId: parsed(info.taskId, parseTaskId, `${field}.task_id`),
    name: info.name,
    agentId: parsed(info.agentId, parseAgentId, `${field}.agent_id`),
    resources: decodeResources(info.resources, `${field}.resources`),
    ...(reserved.length === 0 ? {} : { reserved: decodeReservations(reserved, `${field}.reserved`) }),
    command: { ...command, ...(user === '' ? {} : { user }) },
    ...(container === undefined ? {} : { container: decodeContainer(container, `${field}.container`) }),
    ...(fetch.length === 0 ? {} : { fetch: decodeFetch(fetch) }),
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
  }
}

/** @throws ERR_API_INVALID */
export function decodeTaskStatus(proto: TaskStatusProto | undefined, field: string): TaskStatus {
  const { taskId, state, reason, message, source, timestampMs, uuid, healthy, networks } = required(proto, field)
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
  }
}

/** @throws ERR_API_INVALID */
export function decodeFrameworkId(text: string, field: string): FrameworkId {
  return parsed(text, parseFrameworkId, field)
}

function encodeNetworkRequest({ name, labels, portMappings }: NetworkRequest): NetworkRequestProto {
  return { name, labels: { ...labels }, portMappings: encodePortMappings(portMappings) }
}

function decodeNetworkRequest({ name, labels, portMappings }: NetworkRequestProto, field: string): NetworkRequest {
  return {
    name: parsed(name, parseNetworkName, `${field}.name`),
    labels,
    portMappings: decodePortMappings(portMappings, `${field}.port_mappings`),
  }
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
