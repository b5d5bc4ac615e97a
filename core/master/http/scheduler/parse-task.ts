import { parseAgentId, parseExecutorId, parseTaskId } from '../../../model/ids.ts'
import { type ExecutorInfo } from '../../../model/executor.ts'
import { addResources, sumResources } from '../../../model/resources.ts'
import { type CommandInfo, type DiscoveryInfo, type Protocol, type TaskInfo } from '../../../model/task.ts'
import { parseCommand, parseUris } from './parse-command.ts'
import { parseContainer } from './parse-container.ts'
import { parseHealthCheck } from './parse-health.ts'
import { parseLabels } from '../../../api/mesos/parse-labels.ts'
import { parseResources } from './parse-resources.ts'
import { malformed, readId, refuseFields, unsupported } from '../../../api/mesos/problem.ts'
import {
  type discoveryWire,
  type executorWire,
  type nanoseconds,
  type taskWire,
  type Wire,
} from '../../../api/mesos/wire.ts'

type TaskWire = Wire<typeof taskWire>

/** Between SIGTERM and SIGKILL. Source: mesos, mesos.proto, message KillPolicy. */
const defaultKillGraceMs = 3_000
/** Source: mesos, src/slave/constants.hpp, DEFAULT_EXECUTOR_SHUTDOWN_GRACE_PERIOD. */
const defaultShutdownGraceMs = 5_000

/** A command that a custom executor does not need. */
const noCommand: CommandInfo = { shell: false, value: '', arguments: [], env: {} }

/** Whose a task is: what it does not say itself. */
export interface TaskOwner {
  /** The framework's; empty: the agent's. */
  readonly user: string
  /** Of a task group: its executor. */
  readonly group?: { readonly id: string; readonly executor: ExecutorInfo }
}

/** The ids by which a refusal is told. @throws ERR_SCHEDULER_MALFORMED */
export function parseTaskPlace(wire: TaskWire, path: string): Pick<TaskInfo, 'taskId' | 'agentId'> {
  return {
    taskId: readId(parseTaskId, wire.task_id, `${path}.task_id`),
    agentId: readId(parseAgentId, wire.agent_id, `${path}.agent_id`),
  }
}

/**
 * TaskInfo. What Weft would ignore and Mesos would not is refused.
 * @throws ERR_SCHEDULER_UNSUPPORTED, ERR_SCHEDULER_MALFORMED with the path of the field below `path`
 */
export function parseTask(wire: TaskWire, path: string, owner: TaskOwner): TaskInfo {
  refuseFields(wire, path, ['check', 'max_completion_time', 'limits'])
  const executor = wire.executor && parseExecutor(wire.executor, `${path}.executor`, owner.user)
  const { unreserved, reserved } = parseResources(wire.resources, `${path}.resources`)
  const { container, networks } = parseContainer(wire.container, `${path}.container`)
  const runner = executor ?? owner.group?.executor
  const fetch = wire.command === undefined ? [] : parseUris(wire.command, `${path}.command`)
  const { health_check: health, discovery, data } = wire
  return {
    ...parseTaskPlace(wire, path),
    name: wire.name,
    resources: addResources(unreserved, sumResources(reserved.map(({ resources }) => resources))),
    ...(reserved.length === 0 ? {} : { reserved }),
    command: commandOf(wire, path, owner),
    ...(container && { container }),
    ...(fetch.length === 0 ? {} : { fetch }),
    ...(runner && { executor: runner }),
    ...(owner.group && { groupId: owner.group.id }),
    // Mesos's own executors don't look at it.
    ...(data !== undefined && runner?.kind === 'custom' ? { data } : {}),
    networks,
    ...(health && { healthCheck: parseHealthCheck(health, `${path}.health_check`) }),
    ...(discovery && { discovery: parseDiscovery(discovery, { path: `${path}.discovery`, name: wire.name }) }),
    killGraceMs: toMs(wire.kill_policy?.grace_period, `${path}.kill_policy.grace_period`) ?? defaultKillGraceMs,
    labels: parseLabels(wire.labels),
  }
}

/** Exactly one of command and executor; in a task group a command. Source: mesos, src/master/validation.cpp. */
function commandOf({ command, executor }: TaskWire, path: string, { user, group }: TaskOwner): CommandInfo {
  if (executor !== undefined && group !== undefined) {
    throw unsupported(`${path}.executor`, 'the tasks of a group have that of the group')
  }
  if (command !== undefined && executor === undefined) return parseCommand(command, `${path}.command`, user)
  if (executor === undefined)
    throw unsupported(path, 'Task should have at least one (but not both) of CommandInfo or ExecutorInfo present')
  if (command !== undefined) throw unsupported(`${path}.command`, 'Task has both CommandInfo and ExecutorInfo')
  return noCommand
}

/** ExecutorInfo. @throws as {@link parseTask} */
export function parseExecutor(wire: Wire<typeof executorWire>, path: string, user: string): ExecutorInfo {
  const kind = wire.type === 'DEFAULT' ? 'default' : 'custom'
  if (kind === 'default' && wire.command !== undefined) {
    throw unsupported(`${path}.command`, 'the default executor has no command')
  }
  if (kind === 'custom' && wire.command === undefined) throw malformed(`${path}.command`, 'is missing')
  refuseFields(wire, path, ['data'])
  const { unreserved, reserved } = parseResources(wire.resources, `${path}.resources`)
  if (reserved.length > 0) throw unsupported(`${path}.resources`, 'an executor can only have unreserved resources')
  const { container, networks } = parseContainer(wire.container, `${path}.container`)
  const fetch = wire.command === undefined ? [] : parseUris(wire.command, `${path}.command`)
  return {
    id: readId(parseExecutorId, wire.executor_id, `${path}.executor_id`),
    kind,
    name: wire.name,
    resources: unreserved,
    ...(wire.command && { command: parseCommand(wire.command, `${path}.command`, user) }),
    ...(container && { container }),
    ...(fetch.length === 0 ? {} : { fetch }),
    networks,
    shutdownGraceMs: toMs(wire.shutdown_grace_period, `${path}.shutdown_grace_period`) ?? defaultShutdownGraceMs,
    labels: parseLabels(wire.labels),
  }
}

interface DiscoveryPlace {
  readonly path: string
  /** Of the task: what discovery calls it when it says no name. */
  readonly name: string
}

function parseDiscovery(wire: Wire<typeof discoveryWire>, { path, name }: DiscoveryPlace): DiscoveryInfo {
  const ports = (wire.ports?.ports ?? []).map(({ number, name: portName, protocol, labels }, index) => ({
    number,
    ...(portName === undefined ? {} : { name: portName }),
    protocols: parseProtocols(protocol, `${path}.ports.ports[${index}].protocol`),
    labels: parseLabels(labels),
  }))
  return { name: wire.name ?? name, visibility: wire.visibility, ports }
}

/** `tcp`, `udp`, or both with a comma between, as Marathon writes. */
function parseProtocols(text: string, path: string): readonly Protocol[] {
  return text.split(',').map((part) => {
    const protocol = part.trim().toLowerCase()
    if (protocol === 'tcp' || protocol === 'udp') return protocol
    throw unsupported(path, `"${part}": tcp and udp are possible`)
  })
}

function toMs(wire: Wire<typeof nanoseconds> | undefined, path: string): number | undefined {
  if (wire === undefined) return undefined
  const ms = Math.round(wire.nanoseconds / 1_000_000)
  if (ms >= 0 && ms < 2 ** 32) return ms
  throw malformed(`${path}.nanoseconds`, 'is negative or longer than 49 days')
}
