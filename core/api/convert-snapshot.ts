import { parsePolicyName } from '../model/policy.ts'
import { parseAgentId, parseFrameworkId, parseMac, parseNetworkName, parseNodeName, parseTaskId } from '../model/ids.ts'
import {
  type ClusterSnapshot,
  type EntityDelta,
  type FrameworkPlace,
  type Network,
  type Node,
  type RunningTask,
  type SnapshotDelta,
  type VipAddress,
} from '../model/snapshot.ts'
import { changedFrameworks } from '../model/delta.ts'
import { vipKey } from '../model/vip.ts'
import { decodePolicy, encodePolicy } from './convert-policy.ts'
import {
  type Delta as DeltaProto,
  type FrameworkPlace as FrameworkPlaceProto,
  Health,
  MasterRole,
  type Network as NetworkProto,
  type Node as NodeProto,
  type RunningTask as RunningTaskProto,
  type Snapshot as SnapshotProto,
  type VipAddress as VipAddressProto,
} from './gen/cluster.ts'
import {
  decodeDiscovery,
  decodeNetworkInfos,
  decodePortMappings,
  decodePortRanges,
  encodeDiscovery,
  encodeNetworkInfos,
  encodePortMappings,
  encodePortRanges,
} from './convert-resources.ts'
import { parseIp } from '../base/ip.ts'
import { addresses, invalid, oneOf, parsed, prefixes } from './parse.ts'

/** A whole snapshot as it travels. */
export function encodeSnapshot({
  version,
  networks,
  nodes,
  tasks,
  vips,
  policies,
  frameworks,
}: ClusterSnapshot): SnapshotProto {
  return {
    version,
    networks: [...networks.values()].map(encodeNetwork),
    nodes: [...nodes.values()].map(encodeNode),
    tasks: [...tasks.values()].map(encodeRunningTask),
    vips: [...vips.values()].map(encodeVip),
    policies: [...policies.values()].map(encodePolicy),
    frameworks: [...(frameworks?.values() ?? [])].map(encodeFramework),
  }
}

/** @throws ERR_API_INVALID */
export function decodeSnapshot(proto: SnapshotProto): ClusterSnapshot {
  return {
    version: proto.version,
    networks: keyed(proto.networks.map(decodeNetwork), ({ name }) => name),
    nodes: keyed(proto.nodes.map(decodeNode), ({ name }) => name),
    tasks: keyed(proto.tasks.map(decodeRunningTask), ({ id }) => id),
    vips: keyed(proto.vips.map(decodeVip), ({ name, framework }) => vipKey(name, framework)),
    policies: keyed(proto.policies.map(decodePolicy), ({ name }) => name),
    ...(proto.frameworks.length === 0
      ? {}
      : { frameworks: keyed(proto.frameworks.map(decodeFramework), ({ id }) => id) }),
  }
}

/** A change as it travels. */
export function encodeDelta({
  version,
  networks,
  nodes,
  tasks,
  vips,
  policies,
  frameworks,
}: SnapshotDelta): DeltaProto {
  return {
    version,
    networks: [...networks.upserts.values()].map(encodeNetwork),
    nodes: [...nodes.upserts.values()].map(encodeNode),
    tasks: [...tasks.upserts.values()].map(encodeRunningTask),
    vips: [...vips.upserts.values()].map(encodeVip),
    policies: [...policies.upserts.values()].map(encodePolicy),
    removedNetworks: [...networks.removals],
    removedNodes: [...nodes.removals],
    removedTasks: [...tasks.removals],
    removedVips: [...vips.removals],
    removedPolicies: [...policies.removals],
    frameworks: [...(frameworks?.upserts.values() ?? [])].map(encodeFramework),
    removedFrameworks: [...(frameworks?.removals ?? [])],
  }
}

/** @throws ERR_API_INVALID */
export function decodeDelta(proto: DeltaProto): SnapshotDelta {
  const removedNetworks = proto.removedNetworks.map((name) => parsed(name, parseNetworkName, 'removed_networks'))
  const removedNodes = proto.removedNodes.map((name) => parsed(name, parseNodeName, 'removed_nodes'))
  const removedTasks = proto.removedTasks.map((id) => parsed(id, parseTaskId, 'removed_tasks'))
  const removedPolicies = proto.removedPolicies.map((name) => parsed(name, parsePolicyName, 'removed_policies'))
  const removedFrameworks = proto.removedFrameworks.map((id) => parsed(id, parseFrameworkId, 'removed_frameworks'))
  const vips = keyed(proto.vips.map(decodeVip), ({ name, framework }) => vipKey(name, framework))
  const frameworks = keyed(proto.frameworks.map(decodeFramework), ({ id }) => id)
  return {
    version: proto.version,
    networks: changes(
      keyed(proto.networks.map(decodeNetwork), ({ name }) => name),
      removedNetworks,
    ),
    nodes: changes(
      keyed(proto.nodes.map(decodeNode), ({ name }) => name),
      removedNodes,
    ),
    tasks: changes(
      keyed(proto.tasks.map(decodeRunningTask), ({ id }) => id),
      removedTasks,
    ),
    vips: changes(vips, proto.removedVips),
    policies: changes(
      keyed(proto.policies.map(decodePolicy), ({ name }) => name),
      removedPolicies,
    ),
    ...changedFrameworks(changes(frameworks, removedFrameworks)),
  }
}

function keyed<K, V>(values: readonly V[], key: (value: V) => K): ReadonlyMap<K, V> {
  return new Map(values.map((value) => [key(value), value]))
}

function changes<K, V>(upserts: ReadonlyMap<K, V>, removals: readonly K[]): EntityDelta<K, V> {
  return { upserts, removals: new Set(removals) }
}

function encodeNetwork({ name, vni, subnets, isolated }: Network): NetworkProto {
  return { name, vni, subnets: [...subnets], strict: isolated === 'strict' }
}

function decodeNetwork({ name, vni, subnets, strict }: NetworkProto): Network {
  if (vni === 0 || vni >= 2 ** 24) throw invalid('network.vni', `${vni} does not fit into 24 bits`)
  const isolated = strict ? ({ isolated: 'strict' } as const) : {}
  return {
    name: parsed(name, parseNetworkName, 'network.name'),
    vni,
    subnets: prefixes(subnets, 'network.subnets'),
    ...isolated,
  }
}

const masterRoles = { leader: MasterRole.MASTER_LEADER, standby: MasterRole.MASTER_STANDBY } as const

function encodeNode({ name, underlay, vtep, subnets, agentId, master }: Node): NodeProto {
  return {
    name,
    underlay,
    vtepAddresses: [...vtep.addresses],
    vtepMac: vtep.mac,
    subnets: subnets.map(({ network, subnets }) => ({ network, subnets: [...subnets] })),
    agentId: agentId ?? '',
    master: master === undefined ? MasterRole.MASTER_NONE : masterRoles[master],
  }
}

function decodeNode(proto: NodeProto): Node {
  const master = decodeMasterRole(proto.master)
  return {
    name: parsed(proto.name, parseNodeName, 'node.name'),
    underlay: parsed(proto.underlay, parseIp, 'node.underlay'),
    vtep: {
      addresses: addresses(proto.vtepAddresses, 'node.vtep_addresses'),
      mac: parsed(proto.vtepMac, parseMac, 'node.vtep_mac'),
    },
    subnets: proto.subnets.map(({ network, subnets }) => ({
      network: parsed(network, parseNetworkName, 'node.subnets.network'),
      subnets: prefixes(subnets, 'node.subnets.subnets'),
    })),
    ...(proto.agentId === '' ? {} : { agentId: parsed(proto.agentId, parseAgentId, 'node.agent_id') }),
    ...(master === undefined ? {} : { master }),
  }
}

/** A role of a later version counts as none. */
function decodeMasterRole(role: MasterRole): Node['master'] {
  if (role === MasterRole.MASTER_LEADER) return 'leader'
  return role === MasterRole.MASTER_STANDBY ? 'standby' : undefined
}

const healthValues = {
  unchecked: Health.HEALTH_UNCHECKED,
  pending: Health.HEALTH_PENDING,
  healthy: Health.HEALTH_HEALTHY,
  unhealthy: Health.HEALTH_UNHEALTHY,
} as const

function encodeRunningTask(task: RunningTask): RunningTaskProto {
  return {
    id: task.id,
    name: task.name,
    framework: task.framework,
    node: task.node,
    agentId: task.agentId,
    state: task.state,
    health: healthValues[task.health],
    networks: encodeNetworkInfos(task.networks),
    portMappings: encodePortMappings(task.portMappings),
    ports: encodePortRanges(task.ports),
    discovery: task.discovery === undefined ? undefined : encodeDiscovery(task.discovery),
    labels: { ...task.labels },
  }
}

function decodeRunningTask(proto: RunningTaskProto): RunningTask {
  const { discovery } = proto
  return {
    id: parsed(proto.id, parseTaskId, 'task.id'),
    name: proto.name,
    framework: proto.framework,
    node: parsed(proto.node, parseNodeName, 'task.node'),
    agentId: parsed(proto.agentId, parseAgentId, 'task.agent_id'),
    state: oneOf(proto.state, ['TASK_RUNNING', 'TASK_KILLING'], 'task.state'),
    health: decodeHealth(proto.health),
    networks: decodeNetworkInfos(proto.networks, 'task.networks'),
    portMappings: decodePortMappings(proto.portMappings, 'task.port_mappings'),
    ports: decodePortRanges(proto.ports, 'task.ports'),
    ...(discovery === undefined ? {} : { discovery: decodeDiscovery(discovery, 'task.discovery') }),
    ...(Object.keys(proto.labels).length === 0 ? {} : { labels: proto.labels }),
  }
}

/** A value of a later version counts as unhealthy: it is not known to serve. */
function decodeHealth(health: Health): RunningTask['health'] {
  switch (health) {
    case Health.HEALTH_UNCHECKED:
      return 'unchecked'
    case Health.HEALTH_PENDING:
      return 'pending'
    case Health.HEALTH_HEALTHY:
      return 'healthy'
    default:
      return 'unhealthy'
  }
}

function encodeVip({ name, framework, addresses }: VipAddress): VipAddressProto {
  return { name, framework, addresses: [...addresses] }
}

function decodeVip(proto: VipAddressProto): VipAddress {
  return { name: proto.name, framework: proto.framework, addresses: addresses(proto.addresses, 'vip.addresses') }
}

function encodeFramework({ id, name, addresses, port }: FrameworkPlace): FrameworkPlaceProto {
  return { id, name, addresses: [...addresses], port: port ?? 0 }
}

function decodeFramework(proto: FrameworkPlaceProto): FrameworkPlace {
  return {
    id: parsed(proto.id, parseFrameworkId, 'framework.id'),
    name: proto.name,
    addresses: addresses(proto.addresses, 'framework.addresses'),
    ...(proto.port === 0 ? {} : { port: proto.port }),
  }
}
