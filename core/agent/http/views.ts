import { type Registration } from '../../api/messages.ts'
import { counter, gauge, type MetricFamily } from '../../base/metrics.ts'
import { type ContainerPaths } from '../paths.ts'
import { latestStatus, type TaskRecord } from '../record.ts'

/** What the pages tell of. */
export interface AgentView {
  readonly registration: Registration
  readonly tasks: readonly TaskRecord[]
  readonly pathsOf: (containerId: string) => ContainerPaths
  /** Ends by state since the start. */
  readonly ends: ReadonlyMap<string, number>
}

/** As `/state` of a Mesos agent, as far as clients look for sandboxes there: a task without executor is its own. */
export function stateView({ registration, tasks, pathsOf }: AgentView): object {
  const { agentId, nodeName, underlay, httpPort, attributes, resources } = registration
  const frameworks = Map.groupBy(tasks, ({ frameworkId }) => frameworkId)
  return {
    id: agentId,
    hostname: nodeName,
    pid: `slave(1)@${underlay.includes(':') ? `[${underlay}]` : underlay}:${httpPort ?? 0}`,
    attributes,
    resources: { cpus: resources.cpuMillis / 1000, mem: resources.memMb, disk: resources.diskMb },
    frameworks: [...frameworks].map(([id, own]) => ({ id, executors: executorsOf(own, pathsOf) })),
  }
}

function executorsOf(tasks: readonly TaskRecord[], pathsOf: AgentView['pathsOf']): readonly object[] {
  const byExecutor = Map.groupBy(tasks, ({ executor, containerId }) => executor ?? containerId)
  return [...byExecutor].map(([container, own]) => ({
    id: own[0]?.info.executor?.id ?? own[0]?.info.taskId,
    container,
    directory: pathsOf(container).sandbox,
    tasks: own.map((record) => ({
      id: record.info.taskId,
      name: record.info.name,
      state: latestStatus(record).state,
      directory: pathsOf(placeOf(record)).sandbox,
    })),
  }))
}

/** The container that it is in: a custom executor's own, for each of its tasks. */
function placeOf({ info, executor, containerId }: TaskRecord): string {
  return info.executor?.kind === 'custom' && executor !== undefined ? executor : containerId
}

/** As `/containers` of a Mesos agent. */
export function containersView({ tasks }: AgentView): readonly object[] {
  return tasks
    .filter(({ cleaned }) => !cleaned)
    .map((record) => ({
      container_id: placeOf(record),
      framework_id: record.frameworkId,
      executor_id: record.info.executor?.id ?? record.info.taskId,
      source: record.info.taskId,
      status: {
        ...(record.pid === undefined ? {} : { executor_pid: record.pid }),
        network_infos: (record.networks ?? []).map(({ name, addresses }) => ({
          ...(name === '' ? {} : { name }),
          ip_addresses: addresses.map((address) => ({ ip_address: address })),
        })),
      },
    }))
}

/** The agent's metrics. */
export function metricsView({ tasks, ends }: AgentView): readonly MetricFamily[] {
  const states = Map.groupBy(tasks, (record) => latestStatus(record).state)
  const waiting = tasks.reduce((sum, { unacknowledged }) => sum + unacknowledged.length, 0)
  const byState = ([state, value]: readonly [string, number]) => ({ labels: { state }, value })
  return [
    gauge(
      'agent_tasks',
      'Tasks that are not forgotten, by their latest state.',
      [...states].map(([state, own]) => byState([state, own.length])),
    ),
    gauge('agent_updates_unacknowledged', 'Statuses that the master has not acknowledged.', [{ value: waiting }]),
    counter('agent_task_ends_total', 'Ended tasks since the start, by state.', [...ends].map(byState)),
  ]
}
