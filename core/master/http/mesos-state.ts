import { type Resources } from '../../model/resources.ts'
import { type Protocol, type TaskStatus } from '../../model/task.ts'
import { type AgentEntry, type FrameworkEntry, type MasterContext } from '../context.ts'
import { type MasterTask } from '../tasks/state.ts'

/** Port in `pid` fields, which clients parse and do not call. Source: mesos, the default port of an agent. */
const agentPort = 5051

/**
 * The cluster as Mesos's `/master/state` has it: as much of it as Mesos-DNS reads.
 * Source: reference/mesos-http-api.md, State.
 */
export function mesosState(context: MasterContext, about: { readonly version: string; readonly advertised: string }) {
  const { ids, self, agents, frameworks } = context
  const connected = [...agents.values()].filter(({ state }) => state.kind === 'connected')
  return {
    version: about.version,
    id: ids.masterId,
    pid: `master@${about.advertised}`,
    leader: `master@${about.advertised}`,
    hostname: self,
    cluster: 'weft',
    activated_slaves: connected.length,
    deactivated_slaves: agents.size - connected.length,
    slaves: [...agents.values()].map((agent) => stateOfAgent(context, agent)),
    frameworks: [...frameworks.values()]
      .filter(({ state }) => state !== 'removed')
      .map((framework) => stateOfFramework(context, framework)),
    completed_frameworks: [],
    orphan_tasks: [],
    unregistered_frameworks: [],
  }
}

function stateOfAgent({ allocator }: MasterContext, { record, state }: AgentEntry) {
  return {
    id: record.id,
    pid: `slave(1)@${record.underlay}:${agentPort}`,
    hostname: record.underlay,
    attributes: record.attributes,
    active: state.kind === 'connected',
    resources: formatResources(record.total),
    unreserved_resources: formatResources(record.total),
    available_resources: formatResources(allocator.available(record.id)),
  }
}

function stateOfFramework(context: MasterContext, { id, info, state }: FrameworkEntry) {
  // No `pid`: an HTTP framework must omit it; an empty string makes Mesos-DNS reject everything.
  return {
    id,
    name: info.name,
    user: info.user,
    roles: info.roles,
    role: info.roles[0] ?? '*',
    hostname: info.hostname,
    capabilities: info.capabilities,
    failover_timeout: info.failoverTimeoutMs / 1000,
    active: state === 'connected',
    connected: state === 'connected',
    recovered: state === 'recovered',
    tasks: context.tasks.ofFramework(id).map(stateOfTask),
    completed_tasks: [],
  }
}

function stateOfTask({ info, frameworkId, status, role }: MasterTask) {
  const { discovery } = info
  return {
    id: info.taskId,
    name: info.name,
    framework_id: frameworkId,
    executor_id: '',
    slave_id: info.agentId,
    state: status.state,
    role,
    resources: formatResources(info.resources),
    statuses: [stateOfStatus(status)],
    labels: Object.entries(info.labels).map(([key, value]) => ({ key, value })),
    ...(discovery === undefined
      ? {}
      : {
          discovery: {
            name: discovery.name,
            visibility: discovery.visibility,
            ports: { ports: discovery.ports.flatMap(statesOfPort) },
          },
        }),
  }
}

interface Port {
  readonly number: number
  readonly name?: string
  readonly protocols: readonly Protocol[]
  readonly labels: Readonly<Record<string, string>>
}

/** Mesos has one protocol for each port. */
function statesOfPort({ number, name, protocols, labels }: Port) {
  const list = Object.entries(labels).map(([key, value]) => ({ key, value }))
  return protocols.map((protocol) => ({
    number,
    protocol,
    ...(name === undefined ? {} : { name }),
    labels: { labels: list },
  }))
}

function stateOfStatus({ state, timestampMs, healthy, networks }: TaskStatus) {
  const infos = networks.map(({ name, addresses }) => ({
    ...(name === '' ? {} : { name }),
    ip_addresses: addresses.map((address) => ({ ip_address: address })),
  }))
  return {
    state,
    timestamp: timestampMs / 1000,
    ...(healthy === undefined ? {} : { healthy }),
    labels: [],
    container_status: { network_infos: infos },
  }
}

/** Always with ranges: Mesos-DNS refuses a single number. */
function formatResources({ cpuMillis, memMb, diskMb, ports }: Resources) {
  const ranges = ports.map(({ begin, end }) => `${begin}-${end}`).join(', ')
  return {
    cpus: cpuMillis / 1000,
    mem: memMb,
    disk: diskMb,
    gpus: 0,
    ...(ranges === '' ? {} : { ports: `[${ranges}]` }),
  }
}
