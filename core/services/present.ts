import { ipFamily } from '../base/ip.ts'
import { type TaskStatus } from '../model/task.ts'
import { type AppRecord } from './app.ts'
import { volumesFor } from './claim.ts'
import { persistentVolumes } from './residency.ts'
import { type Instance, isServing, shownState } from './instance.ts'
import { type JsonObject } from '../scheduling/json.ts'
import { instanceIdOf } from './present-instance.ts'
import { servicePorts } from './present-endpoints.ts'
import { type AppRuntime, type TaskFailure } from './runtime.ts'
import { formatVersion } from './version.ts'

/** Parts of an app that are only shown when asked for. Source: marathon, AppInfo.Embed. */
export type Embed = 'tasks' | 'counts' | 'deployments' | 'lastTaskFailure'

/** Everything that an app's JSON is made of. */
export interface AppFacts {
  readonly record: AppRecord
  readonly instances: readonly Instance[]
  readonly runtime: AppRuntime
}

/** An app as GET /v2/apps has it. */
export function appJson({ record, instances, runtime }: AppFacts, embed: ReadonlySet<Embed>): JsonObject {
  const { definition, version, scalingVersion, configVersion, deployment } = record
  return {
    ...definition,
    executor: '',
    version: formatVersion(version),
    versionInfo: {
      lastScalingAt: formatVersion(scalingVersion),
      lastConfigChangeAt: formatVersion(configVersion),
    },
    ...(embed.has('counts') ? counts(instances) : {}),
    ...(embed.has('deployments') ? { deployments: deployment === undefined ? [] : [{ id: deployment.id }] } : {}),
    ...(embed.has('tasks') ? { tasks: instances.map((instance) => taskJson(instance, record)) } : {}),
    ...(embed.has('lastTaskFailure') && runtime.lastFailure !== undefined
      ? { lastTaskFailure: failureJson(record, runtime.lastFailure) }
      : {}),
  }
}

function counts(instances: readonly Instance[]): JsonObject {
  const count = (test: (instance: Instance) => boolean): number => instances.filter(test).length
  return {
    tasksStaged: count(({ phase }) => phase.kind === 'staged'),
    tasksRunning: count(({ phase }) => phase.kind === 'running'),
    tasksHealthy: count((instance) => isServing(instance) && instance.health === 'checked'),
    tasksUnhealthy: count(({ phase }) => phase.kind === 'running' && phase.health === 'unhealthy'),
  }
}

function failureJson(record: AppRecord, failure: TaskFailure): JsonObject {
  return {
    appId: record.definition.id,
    host: failure.host,
    message: failure.message,
    state: failure.state,
    taskId: failure.taskId,
    timestamp: new Date(failure.timestampMs).toISOString(),
    version: formatVersion(failure.configVersion),
    slaveId: failure.agentId,
  }
}

/** An instance as GET /v2/tasks has it. */
export function taskJson(instance: Instance, record: AppRecord | undefined): JsonObject {
  const { id, appId, place, hostPorts, agentId, createdAtMs, startedAtMs, phase, configVersion, claim } = instance
  const answered = phase.kind === 'running' && (phase.health === 'healthy' || phase.health === 'unhealthy')
  return {
    id,
    appId,
    host: place.hostname,
    slaveId: agentId,
    state: shownState(instance),
    ports: hostPorts,
    servicePorts: record === undefined ? [] : servicePorts(record.definition),
    ipAddresses: addressesJson(instance.networks),
    healthCheckResults: answered
      ? [{ taskId: id, instanceId: instanceIdOf(instance), alive: phase.health === 'healthy' }]
      : [],
    stagedAt: new Date(createdAtMs).toISOString(),
    startedAt: startedAtMs === undefined ? null : new Date(startedAtMs).toISOString(),
    version: formatVersion(configVersion),
    localVolumes: claim === undefined ? [] : localVolumes(claim, record),
  }
}

/** Ids are those that {@link volumesFor} gives. Source: marathon, types/localVolume.raml. */
function localVolumes(claim: string, record: AppRecord | undefined): readonly JsonObject[] {
  const uuid = claim.slice(claim.lastIndexOf('.') + 1)
  const volumes = record === undefined ? [] : volumesFor(persistentVolumes(record.definition), uuid)
  return volumes.map(({ id, containerPath }) => ({
    runSpecId: record?.definition.id,
    containerPath,
    persistenceId: id,
  }))
}

function addressesJson(networks: Instance['networks']): readonly JsonObject[] {
  return networks.flatMap(({ addresses }) =>
    addresses.map((ipAddress) => ({ ipAddress, protocol: ipFamily(ipAddress) === 4 ? 'IPv4' : 'IPv6' })),
  )
}

/** The body of a status_update_event. */
export function statusEvent(instance: Instance, status: TaskStatus): JsonObject {
  const { id, appId, place, hostPorts, agentId, configVersion } = instance
  return {
    slaveId: agentId,
    taskId: id,
    taskStatus: status.state,
    message: status.message ?? '',
    appId,
    host: place.hostname,
    ipAddresses: addressesJson(status.networks),
    ports: hostPorts,
    version: formatVersion(configVersion),
  }
}
