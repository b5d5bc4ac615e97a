import { networksOfTask } from '../../model/task.ts'
import { type Resources } from '../../model/resources.ts'
import { type ClusterSnapshot, type Network } from '../../model/snapshot.ts'
import { lifeOf } from '../agents/decide-life.ts'
import { type AgentEntry, type MasterContext } from '../context.ts'
import { type NodeRecord } from '../registry/state.ts'
import { masterRole } from '../standby/role.ts'
import { type MasterTask, vipLabels } from '../tasks/state.ts'
import { frameworkName } from '../tasks/tasks.ts'

/** A snapshot as JSON: lists instead of maps. */
export function snapshotView({ version, networks, nodes, tasks, vips, policies }: ClusterSnapshot) {
  return {
    version,
    networks: [...networks.values()],
    nodes: [...nodes.values()],
    tasks: [...tasks.values()],
    vips: [...vips.values()],
    policies: [...policies.values()],
  }
}

/** A machine: what it was given, what runs there, how far it is. */
export function nodeView(context: MasterContext, { daemon: _, masterPlace, ...node }: NodeRecord) {
  const role = masterRole({ name: node.name, ...(masterPlace && { masterPlace }) }, context.self)
  const agent = node.agentId === undefined ? undefined : context.agents.get(node.agentId)
  const { appliedVersion, connected, problem, health } = context.progress.of(node.name)
  return {
    ...node,
    ...(role === undefined ? {} : { master: role }),
    agentState: agent?.state.kind,
    agentLife: agent && lifeOf(agent.record),
    daemon: { connected, appliedVersion, problem, ...health },
  }
}

/** An agent: what it has, what of it is free. */
export function agentView(context: MasterContext, { record, state }: AgentEntry) {
  const { id, nodeName, underlay, total, attributes } = record
  const available: Resources = context.allocator.available(id)
  const tasks = context.tasks.ofAgent(id).map(({ info }) => info.taskId)
  const { reserved = [] } = record
  return {
    id,
    node: nodeName,
    underlay,
    state: state.kind,
    life: lifeOf(record),
    total,
    reserved,
    available,
    attributes,
    tasks,
  }
}

/** A task: who asked for it, where it is, how it is. */
export function taskView(context: MasterContext, task: MasterTask) {
  const { info, frameworkId, status, killing } = task
  const running = context.keeper.tasks.values.get(info.taskId)
  return {
    id: info.taskId,
    name: info.name,
    framework: frameworkName(context, frameworkId),
    frameworkId,
    node: context.agents.get(info.agentId)?.record.nodeName,
    agentId: info.agentId,
    state: running?.state ?? status.state,
    killing: killing !== undefined,
    endsByMs: endsByMs(context, task),
    health: running?.health,
    reason: status.reason,
    message: status.message,
    timestampMs: status.timestampMs,
    networks: status.networks,
    resources: info.resources,
    portMappings: networksOfTask(info).flatMap(({ portMappings }) => portMappings),
  }
}

/** When it ends at the latest: its grace begins when the nodes have turned away from it and its drain time is over. */
function endsByMs({ drains }: MasterContext, task: MasterTask): number | undefined {
  const { graceMs, sinceMs, toldMs } = task.killing ?? { graceMs: 0 }
  if (toldMs !== undefined) return toldMs + graceMs
  return sinceMs === undefined ? undefined : sinceMs + drains.longestMs(vipLabels(task)) + graceMs
}

/** A network, and each node's part of it; `usage` where the node has told it. */
export function networkView({ registrar, tasks, usage }: MasterContext, network: Network) {
  const nodes = [...registrar.state.nodes.values()].flatMap(({ name, subnets }) =>
    subnets
      .filter((share) => share.network === network.name)
      .map((share) => {
        const told = usage.of(name).flatMap(({ network: of, ...one }) => (of === network.name ? [one] : []))
        return { node: name, subnets: share.subnets, ...(told.length === 0 ? {} : { usage: told }) }
      }),
  )
  const users = [...tasks.all()].filter(({ info }) => networksOfTask(info).some(({ name }) => name === network.name))
  return { ...network, nodes, tasks: users.length }
}
