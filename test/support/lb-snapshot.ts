import { parseCidr } from '../../core/base/cidr.ts'
import { parseIp } from '../../core/base/ip.ts'
import { diffSnapshots } from '../../core/model/delta.ts'
import { parseAgentId, parseMac, parseNetworkName, parseNodeName, parseTaskId } from '../../core/model/ids.ts'
import {
  type ClusterSnapshot,
  type Network,
  type Node,
  type RunningTask,
  type VipAddress,
} from '../../core/model/snapshot.ts'
import { type Policy } from '../../core/model/policy.ts'
import { vipKey } from '../../core/model/vip.ts'
import { type SnapshotChange } from '../../networking/node/stage.ts'

/** A network of a test. */
export function testNetwork(name: string, vni: number, ...subnets: readonly string[]): Network {
  return { name: parseNetworkName(name), vni, subnets: subnets.map(parseCidr) }
}

/** A node of a test. */
export function testNode(name: string, underlay: string, ...vteps: readonly string[]): Node {
  return {
    name: parseNodeName(name),
    underlay: parseIp(underlay),
    vtep: { addresses: vteps.map(parseIp), mac: parseMac('70:b3:d5:00:00:01') },
    subnets: [],
  }
}

/** What a test says of a task; the rest is usual. */
export interface TestTask extends Partial<Pick<RunningTask, 'state' | 'health' | 'portMappings' | 'framework'>> {
  readonly node: string
  /** Addresses on the first network; none: host network. */
  readonly addresses?: readonly string[]
  readonly port: number
  readonly protocols?: readonly ('tcp' | 'udp')[]
  readonly labels: Readonly<Record<string, string>>
}

/** A task of a test with one discovery port. */
export function testTask(id: string, task: TestTask): RunningTask {
  const { node, addresses = [], port, protocols = ['tcp'], labels, ...rest } = task
  return {
    id: parseTaskId(id),
    name: id,
    framework: 'weft',
    node: parseNodeName(node),
    agentId: parseAgentId('agent-S0'),
    state: 'TASK_RUNNING',
    health: 'unchecked',
    networks: [{ name: addresses.length === 0 ? '' : 'dcos', addresses: addresses.map(parseIp) }],
    portMappings: [],
    ports: [],
    discovery: { name: id, visibility: 'CLUSTER', ports: [{ number: port, protocols, labels }] },
    ...rest,
  }
}

/** An allocated named VIP of framework `weft`. */
export function testVip(name: string, ...addresses: readonly string[]): VipAddress {
  return { name, framework: 'weft', addresses: addresses.map(parseIp) }
}

/** A snapshot of these parts. */
export function testSnapshot(
  version: number,
  parts: {
    readonly networks?: readonly Network[]
    readonly nodes?: readonly Node[]
    readonly tasks?: readonly RunningTask[]
    readonly vips?: readonly VipAddress[]
    readonly policies?: readonly Policy[]
  },
): ClusterSnapshot {
  const { networks = [], nodes = [], tasks = [], vips = [], policies = [] } = parts
  return {
    version,
    networks: new Map(networks.map((network) => [network.name, network])),
    nodes: new Map(nodes.map((node) => [node.name, node])),
    tasks: new Map(tasks.map((task) => [task.id, task])),
    vips: new Map(vips.map((vip) => [vipKey(vip.name, vip.framework), vip])),
    policies: new Map(policies.map((policy) => [policy.name, policy])),
  }
}

/** The change between two snapshots, as a stage gets it. */
export function testChange(previous: ClusterSnapshot, next: ClusterSnapshot): SnapshotChange {
  return { previous, next, delta: diffSnapshots(previous, next) }
}
