import { type ContainerInfo, type VolumeMount } from '../model/container.ts'
import { parseNetworkName, type TaskId } from '../model/ids.ts'
import { type CommandInfo, type TaskInfo } from '../model/task.ts'
import { type OfferPool } from '../scheduling/offers.ts'
import { taskNameOf } from './ids.ts'
import { resourcesOf } from './place.ts'
import { type Run } from './run.ts'
import { type JobFields } from './schema.ts'

/** The task of a run. Its name is the job's, so that it has the name of the job while it runs. */
export function taskInfoOf(
  run: Run,
  { taskId, pool }: { readonly taskId: TaskId; readonly pool: OfferPool },
): TaskInfo {
  const { definition, jobId } = run
  const spec = definition.run
  const name = taskNameOf(jobId)
  const container = containerOf(spec)
  return {
    taskId,
    name,
    agentId: pool.agentId,
    resources: resourcesOf(spec),
    command: commandOf(run, { taskId, hostname: pool.place.hostname }),
    ...(container === undefined ? {} : { container }),
    ...(spec.artifacts.length === 0 ? {} : { fetch: spec.artifacts }),
    networks: spec.networks.flatMap(({ mode, name: network, labels }) =>
      mode === 'container' && network !== undefined
        ? [{ name: parseNetworkName(network), labels, portMappings: [] }]
        : [],
    ),
    discovery: { name, visibility: 'CLUSTER', ports: [] },
    killGraceMs: Math.round(spec.taskKillGracePeriodSeconds * 1000),
    labels: definition.labels,
  }
}

function commandOf(
  run: Run,
  { taskId, hostname }: { readonly taskId: TaskId; readonly hostname: string },
): CommandInfo {
  const { cmd, args, env, user } = run.definition.run
  return {
    shell: cmd !== undefined,
    value: cmd ?? args?.[0] ?? '',
    arguments: args ?? [],
    env: {
      HOST: hostname,
      MESOS_TASK_ID: taskId,
      METRONOME_JOB_ID: run.jobId,
      METRONOME_JOB_RUN_ID: run.id,
      ...env,
    },
    ...(user === undefined ? {} : { user }),
  }
}

function containerOf({ docker, ucr, volumes }: JobFields['run']): ContainerInfo | undefined {
  const mounts = volumes.map(
    ({ containerPath, hostPath, mode }): VolumeMount => ({
      containerPath,
      mode: mode === 'RW' ? 'rw' : 'ro',
      source: { kind: 'host', path: hostPath },
    }),
  )
  if (docker !== undefined) {
    const image = { kind: 'oci', reference: docker.image, forcePull: docker.forcePullImage } as const
    return { type: 'docker', image, volumes: mounts, privileged: docker.privileged }
  }
  if (ucr !== undefined) {
    const image = { kind: 'oci', reference: ucr.image.id, forcePull: ucr.image.forcePull } as const
    return { type: 'mesos', image, volumes: mounts }
  }
  return mounts.length === 0 ? undefined : { type: 'mesos', volumes: mounts }
}
