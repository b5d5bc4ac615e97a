import { type ExecutorInfo } from '../../model/executor.ts'
import { type FrameworkId } from '../../model/ids.ts'
import { type CommandInfo, type DiscoveryInfo, type HealthCheck, type TaskInfo } from '../../model/task.ts'
import { formatResources } from './format-resources.ts'
import { formatLabels } from './parse-labels.ts'

/** An agent does not know the role that its resources are allocated to. */
const ofAnyRole = { role: '*', style: 'role' } as const

/**
 * A task as its executor reads it: all that an executor may need to run it; images, volumes and reservations, which only an
 * agent can provide, are left out. Source: mesos, mesos.proto, message TaskInfo.
 */
export function formatTask(info: TaskInfo, frameworkId: FrameworkId): object {
  const { taskId, name, agentId, resources, executor, command, healthCheck, discovery, data, killGraceMs } = info
  const labels = formatLabels(info.labels)
  const hasCommand = command.value !== '' || command.arguments.length > 0
  return {
    name,
    task_id: { value: taskId },
    agent_id: { value: agentId },
    resources: formatResources(resources, ofAnyRole),
    ...(executor && { executor: formatExecutor(executor, frameworkId) }),
    ...(hasCommand ? { command: formatCommand(command) } : {}),
    ...(healthCheck && { health_check: formatHealthCheck(healthCheck) }),
    ...(discovery && { discovery: formatDiscovery(discovery) }),
    kill_policy: { grace_period: { nanoseconds: killGraceMs * 1_000_000 } },
    ...(data === undefined ? {} : { data }),
    ...(labels && { labels }),
  }
}

/** Message ExecutorInfo, as its executor reads it. */
export function formatExecutor(info: ExecutorInfo, frameworkId: FrameworkId): object {
  const { id, kind, name, command, resources, networks, shutdownGraceMs } = info
  const labels = formatLabels(info.labels)
  const container = { type: 'MESOS', network_infos: networks.map((each) => ({ name: each.name })) }
  return {
    type: kind === 'custom' ? 'CUSTOM' : 'DEFAULT',
    executor_id: { value: id },
    framework_id: { value: frameworkId },
    ...(name === '' ? {} : { name }),
    ...(command && { command: formatCommand(command) }),
    ...(networks.length === 0 ? {} : { container }),
    resources: formatResources(resources, ofAnyRole),
    shutdown_grace_period: { nanoseconds: shutdownGraceMs * 1_000_000 },
    ...(labels && { labels }),
  }
}

function formatCommand({ shell, value, arguments: argv, env, user }: CommandInfo): object {
  const variables = Object.entries(env).map(([name, text]) => ({ name, value: text, type: 'VALUE' }))
  return {
    shell,
    ...(value === '' ? {} : { value }),
    ...(argv.length === 0 ? {} : { arguments: argv }),
    ...(user === undefined ? {} : { user }),
    ...(variables.length === 0 ? {} : { environment: { variables } }),
  }
}

function formatHealthCheck(check: HealthCheck): object {
  return {
    ...formatProbe(check.probe),
    interval_seconds: check.intervalMs / 1000,
    timeout_seconds: check.timeoutMs / 1000,
    grace_period_seconds: check.gracePeriodMs / 1000,
    consecutive_failures: check.maxConsecutiveFailures,
  }
}

function formatProbe(probe: HealthCheck['probe']): object {
  switch (probe.kind) {
    case 'http':
      return { type: 'HTTP', http: { scheme: probe.scheme, port: probe.port, path: probe.path } }
    case 'tcp':
      return { type: 'TCP', tcp: { port: probe.port } }
    case 'command':
      return { type: 'COMMAND', command: { shell: true, value: probe.command } }
  }
}

function formatDiscovery({ name, visibility, ports }: DiscoveryInfo): object {
  const all = ports.map(({ number, name: portName, protocols, labels }) => {
    const pairs = formatLabels(labels)
    const named = portName === undefined ? {} : { name: portName }
    return { number, ...named, protocol: protocols.join(','), ...(pairs && { labels: pairs }) }
  })
  return { visibility, name, ...(all.length === 0 ? {} : { ports: { ports: all } }) }
}
