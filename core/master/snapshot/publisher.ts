import { type IpFamily, ipFamily } from '../../base/ip.ts'
import { type FrameworkId, type NodeName, type TaskId } from '../../model/ids.ts'
import { type FrameworkPlace, type Node, type RunningTask } from '../../model/snapshot.ts'
import { taskVipKeys } from '../../model/task-vips.ts'
import { type NodeRecord, type RegistryChange, type VipRecord } from '../registry/state.ts'
import { masterRole } from '../standby/role.ts'
import { type SnapshotKeeper } from './keeper.ts'
import { openVipUsers } from './vip-users.ts'

/** Turns what the master knows into entities of the snapshot. */
export interface Publisher {
  /** Durable changes of networks, nodes, VIP addresses and policies. */
  registry(change: RegistryChange): void
  /** A task that runs, or undefined when it does not (any more). */
  task(id: TaskId, task: RunningTask | undefined): void
  /** Where a framework runs, or undefined when it is torn down or that is not known. */
  framework(id: FrameworkId, place: FrameworkPlace | undefined): void
  /** True when a task of the snapshot is behind the VIP. */
  isVipInUse(key: string): boolean
}

/**
 * A VIP is in the snapshot while a task of the snapshot asks for it, and not before its address is durable; with its
 * addresses of those IP versions only over which a task can be reached, so that no name leads to an address without a
 * backend. `self` is the node on which this master runs. `onVipFreed`: the last task behind a VIP has gone.
 */
export function openPublisher(
  keeper: SnapshotKeeper,
  self: NodeName,
  onVipFreed: (key: string) => void = () => undefined,
): Publisher {
  const vips = new Map<string, VipRecord>()
  const users = openVipUsers()
  const show = (key: string) => {
    const { name, framework, addresses: all } = vips.get(key) ?? noVip
    const families = users.families(key)
    const addresses = all.filter((address) => families.has(ipFamily(address)))
    setOrDelete(keeper.vips, key, addresses.length === 0 ? undefined : { name, framework, addresses })
  }
  const use = (id: TaskId, task: RunningTask | undefined) => {
    const keys = task === undefined ? [] : taskVipKeys(task, 'pass-over') // what an agent brings may have any label
    const families = task === undefined || keys.length === 0 ? [] : familiesOf(task, keeper)
    for (const key of users.set(id, keys, families)) {
      show(key)
      if (!users.has(key)) onVipFreed(key)
    }
  }
  return {
    registry: ({ networks, nodes, vips: changed, policies }) => {
      for (const [name, network] of networks ?? []) setOrDelete(keeper.networks, name, network)
      for (const [name, node] of nodes ?? []) {
        setOrDelete(keeper.nodes, name, node === undefined ? undefined : toNode(node, self))
      }
      for (const [name, policy] of policies ?? []) setOrDelete(keeper.policies, name, policy)
      for (const [key, vip] of changed ?? []) {
        setOrDelete({ set: (k, v) => vips.set(k, v), delete: (k) => vips.delete(k) }, key, vip)
        show(key)
      }
    },
    task: (id, task) => {
      use(id, task)
      setOrDelete(keeper.tasks, id, task)
    },
    framework: (id, place) => setOrDelete(keeper.frameworks, id, place),
    isVipInUse: (key) => users.has(key),
  }
}

const noVip: VipRecord = { name: '', framework: '', addresses: [] }

/** Where a VIP reaches a task: its first network, or its node's address: portPlaces of lb/vip/desired.ts. */
function familiesOf({ networks, node, discovery }: RunningTask, keeper: SnapshotKeeper): readonly IpFamily[] {
  const [first] = networks
  const underlay = keeper.nodes.values.get(node)?.underlay
  const isOnHost = first === undefined || first.name === ''
  const onHost = isOnHost || discovery?.ports.some(({ labels }) => labels['network-scope'] === 'host') === true
  const addresses = [...(isOnHost ? [] : first.addresses), ...(onHost && underlay !== undefined ? [underlay] : [])]
  return [...new Set(addresses.map(ipFamily))]
}

function toNode({ daemon: _, masterPlace, ...node }: NodeRecord, self: NodeName): Node {
  const role = masterRole({ name: node.name, ...(masterPlace && { masterPlace }) }, self)
  return role === undefined ? node : { ...node, master: role }
}

interface Target<Key, Value> {
  set(key: Key, value: Value): void
  delete(key: Key): void
}

function setOrDelete<Key, Value>(target: Target<Key, Value>, key: Key, value: Value | undefined): void {
  if (value === undefined) target.delete(key)
  else target.set(key, value)
}
