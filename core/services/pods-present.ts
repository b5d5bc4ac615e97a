import { type AppRecord, wantedInstances } from './app.ts'
import { type Instance, isServing } from './instance.ts'
import { type JsonObject } from '../scheduling/json.ts'
import { podOverhead } from './pods-parse.ts'
import { type AppFacts } from './present.ts'
import { instanceIdOf } from './present-instance.ts'
import { formatVersion } from './version.ts'

/** A pod as GET /v2/pods has it. Source: marathon, types/pod.raml. */
export function podJson({ definition, version }: AppRecord): JsonObject {
  const { pod, id, labels, networks, secrets, instances, constraints, unreachableStrategy, killSelection } = definition
  return {
    ...{ id, labels, networks, secrets, ...pod },
    version: formatVersion(version),
    executorResources: { ...podOverhead, disk: 0 },
    scaling: { kind: 'fixed', instances },
    scheduling: {
      backoff: {
        backoff: definition.backoffSeconds,
        backoffFactor: definition.backoffFactor,
        maxLaunchDelay: definition.maxLaunchDelaySeconds,
      },
      upgrade: definition.upgradeStrategy,
      placement: {
        constraints: constraints.map(([fieldName, operator, value]) => ({ fieldName, operator, value })),
        acceptedResourceRoles: definition.acceptedResourceRoles,
      },
      ...{ killSelection, unreachableStrategy },
    },
  }
}

/** A pod's state, and that of its instances. Source: marathon, types/podStatus.raml. */
export function podStatusJson({ record, instances }: AppFacts, nowMs: number): JsonObject {
  const isStable = instances.filter(isServing).length >= wantedInstances(record)
  const now = new Date(nowMs).toISOString()
  return {
    id: record.definition.id,
    spec: podJson(record),
    status: record.goal === 'delete' ? 'TERMINAL' : isStable ? 'STABLE' : 'DEGRADED',
    statusSince: formatVersion(record.version),
    instances: instances.map((instance) => podInstanceJson(instance, nowMs)),
    terminationHistory: [],
    lastUpdated: now,
    lastChanged: now,
  }
}

/** One instance of a pod, with its containers. */
export function podInstanceJson(instance: Instance, nowMs: number): JsonObject {
  const now = new Date(nowMs).toISOString()
  const since = new Date(instance.startedAtMs ?? instance.createdAtMs).toISOString()
  return {
    id: instanceIdOf(instance),
    status: stateOf(instance),
    statusSince: since,
    agentHostname: instance.place.hostname,
    agentId: instance.agentId,
    networks: instance.networks.map(({ name, addresses }) => ({ name, addresses })),
    containers: (instance.members ?? []).map((member) => ({
      name: member.name,
      status: member.state,
      statusSince: new Date(member.sinceMs).toISOString(),
      containerId: `${instance.id}.${member.name}`,
      ...(member.message === undefined ? {} : { message: member.message }),
      ...(member.checked && member.healthy !== undefined
        ? { conditions: [{ name: 'healthy', value: String(member.healthy), lastChanged: now, lastUpdated: now }] }
        : {}),
      lastUpdated: now,
      lastChanged: new Date(member.sinceMs).toISOString(),
    })),
    specReference: `/v2/pods${instance.appId}::versions/${formatVersion(instance.configVersion)}`,
    lastUpdated: now,
    lastChanged: since,
  }
}

function stateOf(instance: Instance): string {
  const { phase, goal } = instance
  if (goal.kind === 'stop' || phase.kind === 'killing' || phase.kind === 'ended') return 'TERMINAL'
  if (phase.kind === 'staged') return 'STAGING'
  return isServing(instance) ? 'STABLE' : 'DEGRADED'
}
