import { parseNetworkName, type TaskId } from '../model/ids.ts'
import {
  type DiscoveryPort,
  type HealthCheck,
  type HealthProbe,
  type NetworkRequest,
  type TaskInfo,
} from '../model/task.ts'
import { type AppDefinition } from './app.ts'
import { containerOf } from './container.ts'
import { taskNameOf } from './ids.ts'
import { type Placement } from './place.ts'
import { type AppPort, appPorts, isHostMode } from './ports.ts'
import { secretVariables, taskEnvironment } from './task-env.ts'

/** A port of one task: the app's port and the host port that it got. */
export interface TaskPort {
  readonly port: AppPort
  readonly hostPort: number | undefined
  /** Inside the container; on the host's network the host port. */
  readonly containerPort: number
}

/** The task of a placement. */
export function taskInfoOf({ record, pool, resources, reserved = [], hostPorts }: Placement, taskId: TaskId): TaskInfo {
  const { definition } = record
  const ports = taskPorts(definition, hostPorts)
  const healthCheck = healthCheckOf(definition, ports)
  return {
    taskId,
    name: taskNameOf(definition.id),
    agentId: pool.agentId,
    resources,
    ...(reserved.length === 0 ? {} : { reserved }),
    command: {
      shell: definition.cmd !== undefined,
      // Arguments go to the entrypoint of an image, where there is one.
      value: definition.cmd ?? (definition.container?.docker === undefined ? (definition.args?.[0] ?? '') : ''),
      arguments: definition.args ?? [],
      env: taskEnvironment({ record, taskId, hostname: pool.place.hostname, ports }),
      ...secretEnv(definition),
      ...(definition.user === undefined ? {} : { user: definition.user }),
    },
    ...containerOf(definition),
    networks: networkRequests(definition, ports),
    ...(healthCheck === undefined ? {} : { healthCheck }),
    discovery: {
      name: taskNameOf(definition.id),
      // FRAMEWORK, which Marathon sends, would hide it from every other framework.
      visibility: 'CLUSTER',
      ports: ports.map((port) => discoveryPort(definition, port)),
    },
    killGraceMs: Math.round(definition.taskKillGracePeriodSeconds * 1000),
    labels: definition.labels,
  }
}

function secretEnv({ env, secrets }: AppDefinition): Pick<TaskInfo['command'], 'secretEnv'> {
  const variables = secretVariables(env, secrets)
  return Object.keys(variables).length === 0 ? {} : { secretEnv: variables }
}

/** The ports of an app, with the host ports of one instance. */
export function taskPorts(app: AppDefinition, hostPorts: readonly (number | undefined)[]): readonly TaskPort[] {
  return appPorts(app).map((port, i) => {
    const hostPort = hostPorts[i]
    const containerPort = port.containerPort === undefined || port.containerPort === 0 ? hostPort : port.containerPort
    return { port, hostPort, containerPort: containerPort ?? 0 }
  })
}

/** A host port leads to one network: the one that the mapping names, else the only one there is. */
export function networkRequests(app: AppDefinition, ports: readonly TaskPort[]): readonly NetworkRequest[] {
  if (isHostMode(app)) return []
  return app.networks.map(({ name = '', labels }, i) => ({
    name: parseNetworkName(name),
    labels,
    portMappings: ports.flatMap(({ port, hostPort, containerPort }) => {
      const isHere = port.networkNames[0] === undefined ? i === 0 : port.networkNames[0] === name
      if (hostPort === undefined || !isHere) return []
      return port.protocols.map((protocol) => ({ hostPort, containerPort, protocol }))
    }),
  }))
}

/** Marathon's rule: a port that has a number on the host is announced by it. Source: marathon, PortDiscovery. */
export function discoveryPort(app: AppDefinition, { port, hostPort, containerPort }: TaskPort): DiscoveryPort {
  const scope = hostPort === undefined ? 'container' : 'host'
  const network = port.networkNames[0] ?? (app.networks.length === 1 ? app.networks[0]?.name : undefined)
  return {
    number: hostPort ?? containerPort,
    ...(port.name === undefined ? {} : { name: port.name }),
    protocols: port.protocols,
    labels: {
      ...port.labels,
      'network-scope': scope,
      ...(network === undefined || isHostMode(app) ? {} : { 'network-name': network }),
    },
  }
}

function healthCheckOf(app: AppDefinition, ports: readonly TaskPort[]): HealthCheck | undefined {
  const check = app.healthChecks[0]
  if (check === undefined) return undefined
  return {
    probe: probeOf(check, check.port ?? ports[check.portIndex ?? 0]?.containerPort ?? 0),
    gracePeriodMs: Math.round(check.gracePeriodSeconds * 1000),
    intervalMs: Math.round(check.intervalSeconds * 1000),
    timeoutMs: Math.round(check.timeoutSeconds * 1000),
    maxConsecutiveFailures: check.maxConsecutiveFailures,
  }
}

/** The agent asks in the task's network namespace, so `port` is the one inside. */
function probeOf(check: AppDefinition['healthChecks'][number], port: number): HealthProbe {
  switch (check.protocol) {
    case 'COMMAND':
      return { kind: 'command', command: check.command?.value ?? '' }
    case 'TCP':
    case 'MESOS_TCP':
      return { kind: 'tcp', port }
    default:
      return {
        kind: 'http',
        scheme: check.protocol.endsWith('HTTPS') ? 'https' : 'http',
        path: check.path ?? '/',
        port,
      }
  }
}
