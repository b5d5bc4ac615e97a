import { type NodeName, type TaskId } from '../../model/ids.ts'
import { type Node, type RunningTask, type VipAddress } from '../../model/snapshot.ts'
import { vipKey } from '../../model/vip.ts'
import { vipNames } from '../networks/vips.ts'
import { type NodeRecord, type RegistryChange } from '../registry/state.ts'
import { type SnapshotKeeper } from './keeper.ts'

/** Turns what the master knows into entities of the snapshot. */
export interface Publisher {
  /** Durable changes of networks, nodes, VIP addresses and policies. */
  registry(change: RegistryChange): void
  /** A task that runs, or undefined when it does not (any more). */
  task(id: TaskId, task: RunningTask | undefined): void
  /** True when a task of the snapshot is behind the VIP. */
  isVipInUse(key: string): boolean
}

/**
 * A VIP is in the snapshot while a task of the snapshot asks for it, and not before its address is durable. `self` is the
 * node on which this master runs.
 */
export function openPublisher(keeper: SnapshotKeeper, self: NodeName): Publisher {
  const addresses = new Map<string, VipAddress>()
  const users = new Map<string, Set<TaskId>>()
  const wantedBy = new Map<TaskId, readonly string[]>()
  const release = (id: TaskId) => {
    for (const key of wantedBy.get(id) ?? []) {
      const left = users.get(key)
      left?.delete(id)
      if (left?.size !== 0) continue
      users.delete(key)
      keeper.vips.delete(key)
    }
    wantedBy.delete(id)
  }
  const claim = (task: RunningTask) => {
    if (wantedBy.has(task.id)) return
    const keys = namesOf(task).map((name) => vipKey(name, task.framework))
    wantedBy.set(task.id, keys)
    for (const key of keys) {
      users.set(key, (users.get(key) ?? new Set()).add(task.id))
      const address = addresses.get(key)
      if (address !== undefined) keeper.vips.set(key, address)
    }
  }
  return {
    registry: ({ networks, nodes, vips, policies }) => {
      for (const [name, network] of networks ?? []) setOrDelete(keeper.networks, name, network)
      for (const [name, node] of nodes ?? []) {
        setOrDelete(keeper.nodes, name, node === undefined ? undefined : toNode(node, self))
      }
      for (const [name, policy] of policies ?? []) setOrDelete(keeper.policies, name, policy)
      for (const [key, vip] of vips ?? []) {
        setOrDelete({ set: (k, v) => addresses.set(k, v), delete: (k) => addresses.delete(k) }, key, vip)
        setOrDelete(keeper.vips, key, users.has(key) ? vip : undefined)
      }
    },
    task: (id, task) => {
      if (task === undefined) {
        keeper.tasks.delete(id)
        release(id)
        return
      }
      claim(task)
      keeper.tasks.set(id, task)
    },
    isVipInUse: (key) => users.has(key),
  }
}

/** Labels that mean nothing were refused at launch; a task that an agent brings with such ones has no VIP. */
function namesOf({ discovery }: RunningTask): readonly string[] {
  try {
    return vipNames(discovery)
  } catch {
    return [] // ERR_VIP_LABEL
  }
}

function toNode({ daemon: _, ...node }: NodeRecord, self: NodeName): Node {
  return node.name === self ? { ...node, master: 'leader' } : node
}

interface Target<Key, Value> {
  set(key: Key, value: Value): void
  delete(key: Key): void
}

function setOrDelete<Key, Value>(target: Target<Key, Value>, key: Key, value: Value | undefined): void {
  if (value === undefined) target.delete(key)
  else target.set(key, value)
}
