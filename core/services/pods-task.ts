import { type ContainerInfo, type VolumeMount } from '../model/container.ts'
import { type ExecutorInfo } from '../model/executor.ts'
import { parseExecutorId, parseTaskId, type TaskId } from '../model/ids.ts'
import { noResources, portsToRanges } from '../model/resources.ts'
import { type OfferOperation } from '../model/scheduler.ts'
import { type HealthCheck, type HealthProbe, type TaskInfo } from '../model/task.ts'
import { taskNameOf } from './ids.ts'
import { podOverhead } from './pods-parse.ts'
import { type PodContainer, type PodFields } from './pods-schema.ts'
import { type Placement } from './place.ts'
import { discoveryPort, networkRequests, type TaskPort, taskPorts } from './task.ts'
import { plainVariables, secretVariables, taskEnvironment } from './task-env.ts'

/** Without `lifecycle.killGracePeriodSeconds`. Source: marathon, --task_kill_grace_period of pods. */
const defaultGraceSeconds = 3

/** `web.<uuid>` and container `nginx` → `web.<uuid>.nginx`. */
export function memberId(instance: TaskId, container: string): TaskId {
  return parseTaskId(`${instance}.${container}`)
}

/** An instance of a pod as one LAUNCH_GROUP: its containers share the executor's network and volumes. */
export function podGroup(
  placement: Placement,
  pod: PodFields,
  instance: TaskId,
): OfferOperation & { readonly kind: 'launch-group' } {
  const { definition } = placement.record
  const ports = taskPorts(definition, placement.hostPorts)
  const executor: ExecutorInfo = {
    id: parseExecutorId(instance),
    kind: 'default',
    name: taskNameOf(definition.id),
    resources: { ...noResources, cpuMillis: Math.round(podOverhead.cpus * 1000), memMb: podOverhead.mem },
    networks: networkRequests(definition, ports),
    shutdownGraceMs: Math.max(...pod.containers.map(graceMs)),
    labels: definition.labels,
  }
  let next = 0
  const tasks = pod.containers.map((container) => {
    const mine = ports.slice(next, next + container.endpoints.length)
    next += container.endpoints.length
    return memberTask(placement, { pod, container, mine, ports, executor, instance })
  })
  return { kind: 'launch-group', executor, tasks }
}

interface Member {
  readonly pod: PodFields
  readonly container: PodContainer
  /** Those of the container. */
  readonly mine: readonly TaskPort[]
  /** Those of all containers: all can be asked over the shared network. */
  readonly ports: readonly TaskPort[]
  readonly executor: ExecutorInfo
  readonly instance: TaskId
}

function memberTask({ record, pool }: Placement, member: Member): TaskInfo {
  const { pod, container, mine, ports, executor, instance } = member
  const { definition } = record
  const { name, resources, exec, labels } = container
  const taskId = memberId(instance, name)
  const user = container.user ?? pod.user ?? definition.user
  const env = taskEnvironment({ record, taskId, hostname: pool.place.hostname, ports: mine })
  const own = { ...pod.environment, ...container.environment }
  const secretEnv = secretVariables(own, definition.secrets)
  const check = healthCheckOf(container, ports)
  const argv = 'argv' in exec.command ? exec.command.argv : []
  return {
    taskId,
    name,
    agentId: pool.agentId,
    resources: {
      cpuMillis: Math.round(resources.cpus * 1000),
      memMb: Math.ceil(resources.mem),
      diskMb: Math.ceil(resources.disk),
      ports: portsToRanges([...new Set(mine.flatMap(({ hostPort }) => hostPort ?? []))]),
    },
    command: {
      shell: 'shell' in exec.command,
      value: 'shell' in exec.command ? exec.command.shell : (argv[0] ?? ''),
      arguments: argv,
      env: { ...env, MARATHON_CONTAINER_ID: name, ...plainVariables(own) },
      ...(Object.keys(secretEnv).length === 0 ? {} : { secretEnv }),
      ...(user === undefined ? {} : { user }),
    },
    ...containerOf(pod, container),
    executor,
    groupId: instance,
    networks: [],
    ...(check === undefined ? {} : { healthCheck: check }),
    discovery: {
      name: taskNameOf(definition.id),
      visibility: 'CLUSTER',
      ports: mine.map((port) => discoveryPort(definition, port)),
    },
    killGraceMs: graceMs(container),
    labels: { ...definition.labels, ...labels },
  }
}

function graceMs({ lifecycle }: PodContainer): number {
  return Math.round((lifecycle.killGracePeriodSeconds ?? defaultGraceSeconds) * 1000)
}

function containerOf(
  pod: PodFields,
  { image, volumeMounts, artifacts }: PodContainer,
): Pick<TaskInfo, 'container' | 'fetch'> {
  const volumes = volumeMounts.map(({ name, mountPath, readOnly }): VolumeMount => {
    const host = pod.volumes.find((volume) => volume.name === name)?.host
    const source: VolumeMount['source'] =
      host === undefined ? { kind: 'shared', path: name } : { kind: 'host', path: host }
    return { containerPath: mountPath, mode: readOnly ? 'ro' : 'rw', source }
  })
  const container: ContainerInfo = {
    type: 'mesos',
    ...(image === undefined ? {} : { image: { kind: 'oci', reference: image.id, forcePull: image.forcePull } }),
    volumes,
  }
  const fetch = artifacts.map(({ uri, executable, extract, cache, destPath }) => ({
    ...{ uri, executable, extract, cache },
    ...(destPath === undefined ? {} : { outputFile: destPath }),
  }))
  return {
    ...(image === undefined && volumes.length === 0 ? {} : { container }),
    ...(fetch.length === 0 ? {} : { fetch }),
  }
}

function healthCheckOf({ healthCheck }: PodContainer, ports: readonly TaskPort[]): HealthCheck | undefined {
  if (healthCheck === undefined) return undefined
  return {
    probe: probeOf(healthCheck, ports),
    gracePeriodMs: Math.round(healthCheck.gracePeriodSeconds * 1000),
    intervalMs: Math.round(healthCheck.intervalSeconds * 1000),
    timeoutMs: Math.round(healthCheck.timeoutSeconds * 1000),
    maxConsecutiveFailures: healthCheck.maxConsecutiveFailures,
  }
}

function probeOf(
  { http, tcp, exec }: NonNullable<PodContainer['healthCheck']>,
  ports: readonly TaskPort[],
): HealthProbe {
  const portOf = (endpoint: string) => ports.find(({ port }) => port.name === endpoint)?.containerPort ?? 0
  if (http !== undefined) {
    const { endpoint, path, scheme } = http
    return { kind: 'http', scheme: scheme === 'HTTPS' ? 'https' : 'http', path, port: portOf(endpoint) }
  }
  if (tcp !== undefined) return { kind: 'tcp', port: portOf(tcp.endpoint) }
  return { kind: 'command', command: exec?.command.shell ?? '' }
}
