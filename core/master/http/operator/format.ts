import { formatReservation, formatResources } from '../../../api/mesos/format-resources.ts'
import { formatStatus } from '../../../api/mesos/format-status.ts'
import { formatLabels } from '../../../api/mesos/parse-labels.ts'
import { shareOf } from '../../../model/reservation.ts'
import { type Resources } from '../../../model/resources.ts'
import { lifeOf } from '../../agents/decide-life.ts'
import { type AgentEntry, type FrameworkEntry } from '../../context.ts'
import { type MasterTask } from '../../tasks/state.ts'
import { formatAttribute } from '../scheduler/format-offer.ts'
import { without } from '../state/amounts.ts'
import { agentPid, type AgentUse, defaultAgentPort, formatDrain } from '../state/format-agent.ts'
import { type FrameworkUse } from '../state/format-framework.ts'

const everybody = { role: '*', style: 'reservations' } as const

/** Message Task. Source: mesos, v1/mesos.proto. */
export function formatTask({ info, frameworkId, role, status }: MasterTask): object {
  const { taskId, agentId, name, discovery, command } = info
  const { unreserved, reserved } = shareOf(info.resources, info.reserved)
  const as = { role, style: 'reservations' } as const
  const labels = formatLabels(info.labels)
  return {
    name,
    task_id: { value: taskId },
    framework_id: { value: frameworkId },
    ...(info.executor && { executor_id: { value: info.executor.id } }),
    agent_id: { value: agentId },
    state: status.state,
    resources: [...formatResources(unreserved, as), ...reserved.flatMap((each) => formatReservation(each, as))],
    statuses: [formatStatus(status, agentId)],
    ...(labels && { labels }),
    ...(command.user === undefined ? {} : { user: command.user }),
    ...(discovery && {
      discovery: {
        visibility: discovery.visibility,
        name: discovery.name,
        ports: { ports: discovery.ports.flatMap(portsOf) },
      },
    }),
  }
}

type DiscoveryPort = NonNullable<MasterTask['info']['discovery']>['ports'][number]

function portsOf({ number, name, protocols, labels: record }: DiscoveryPort): readonly object[] {
  const labels = formatLabels(record)
  return protocols.map((protocol) => ({
    number,
    ...(name === undefined ? {} : { name }),
    protocol,
    ...(labels && { labels }),
  }))
}

/** Message Response.GetAgents.Agent. Source: mesos, v1/master/master.proto. */
export function formatAgent(agent: AgentEntry, { available, offered }: AgentUse, version: string): object {
  const { record, state, registeredAtMs } = agent
  const { unreserved, reserved } = shareOf(record.total, record.reserved)
  const total = [...amounts(unreserved), ...reserved.flatMap((each) => unallocated(formatReservation(each, everybody)))]
  return {
    agent_info: {
      id: { value: record.id },
      hostname: record.underlay,
      port: defaultAgentPort,
      resources: total,
      attributes: Object.entries(record.attributes).map(([name, text]) => formatAttribute(name, text)),
    },
    active: state.kind === 'connected' && lifeOf(record) === 'active',
    deactivated: record.deactivated ?? false,
    version,
    pid: agentPid(record),
    ...(registeredAtMs === undefined ? {} : { registered_time: { nanoseconds: registeredAtMs * 1_000_000 } }),
    total_resources: total,
    allocated_resources: amounts(without(without(record.total, available), offered)),
    offered_resources: amounts(offered),
    ...(record.drain && { drain_info: formatDrain(record.drain) }),
    ...(record.drain && { estimated_drain_start_time: { nanoseconds: record.drain.sinceMs * 1_000_000 } }),
  }
}

/** Message Response.GetFrameworks.Framework. */
export function formatFramework(framework: FrameworkEntry, { used, offered }: FrameworkUse): object {
  const { state } = framework
  return {
    framework_info: formatFrameworkInfo(framework),
    active: state === 'connected',
    connected: state === 'connected',
    recovered: state === 'recovered',
    allocated_resources: amounts(used),
    offered_resources: amounts(offered),
  }
}

/** Message FrameworkInfo. */
export function formatFrameworkInfo({ id, info }: FrameworkEntry): object {
  const labels = formatLabels(info.labels)
  return {
    id: { value: id },
    name: info.name,
    user: info.user,
    roles: info.roles,
    failover_timeout: info.failoverTimeoutMs / 1000,
    checkpoint: info.checkpoint ?? true,
    hostname: info.hostname,
    capabilities: info.capabilities.map((type) => ({ type })),
    ...(info.principal === undefined ? {} : { principal: info.principal }),
    ...(info.webuiUrl === undefined ? {} : { webui_url: info.webuiUrl }),
    ...(labels && { labels }),
  }
}

/** Resources that are with nobody, or with many. */
export function amounts(resources: Resources): readonly object[] {
  return unallocated(formatResources(resources, everybody))
}

function unallocated(list: readonly object[]): readonly object[] {
  return list.map((resource) => ({ ...resource, allocation_info: undefined }))
}
