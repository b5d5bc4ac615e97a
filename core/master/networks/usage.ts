import { type NetworkName, type NodeName } from '../../model/ids.ts'
import { type NodeSubnet } from '../../model/snapshot.ts'
import { networksOfTask, type Task } from '../../model/task.ts'
import { freeByNetwork, type SubnetUsage } from '../../model/usage.ts'

/**
 * How full each node's subnets are, as the nodes last said. Not durable: each node says it again when it connects, and
 * until then nothing is held back because of it.
 */
export interface UsageTable {
  of(node: NodeName): readonly SubnetUsage[]
  set(node: NodeName, usage: readonly SubnetUsage[]): void
  forget(node: NodeName): void
  /** Calls after each report; the returned function ends it. */
  onChange(listener: (node: NodeName) => void): () => void
}

/** Nothing known of any node. */
export function openUsageTable(): UsageTable {
  const table = new Map<NodeName, readonly SubnetUsage[]>()
  const listeners = new Set<(node: NodeName) => void>()
  return {
    of: (node) => table.get(node) ?? [],
    set: (node, usage) => {
      table.set(node, usage)
      for (const listener of [...listeners]) listener(node)
    },
    forget: (node) => table.delete(node),
    onChange: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

/** What room for containers follows from. */
export interface RoomInputs {
  readonly networks: Iterable<NetworkName>
  /** The node's part of each network. */
  readonly shares: readonly NodeSubnet[]
  readonly usage: readonly SubnetUsage[]
  /** Tasks of the node's agent. */
  readonly tasks: readonly Pick<Task, 'info' | 'status'>[]
}

/**
 * How many more containers fit on a node, for each network that is known to be limited: none where the node has no part of
 * a network; else what its daemon counted, less the tasks that are on their way there and may have no lease yet. A network
 * of which nothing was heard is left out.
 */
export function roomByNetwork({ networks, shares, usage, tasks }: RoomInputs): ReadonlyMap<NetworkName, number> {
  const room = new Map(freeByNetwork(usage))
  const own = new Set(shares.map(({ network }) => network))
  for (const name of networks) if (!own.has(name)) room.set(name, 0)
  const executors = new Set<string>()
  for (const { info, status } of tasks) {
    if (status.state !== 'TASK_STAGING' && status.state !== 'TASK_STARTING') continue
    if (info.executor !== undefined && executors.has(info.executor.id)) continue // one address for all its tasks
    if (info.executor !== undefined) executors.add(info.executor.id)
    for (const { name } of networksOfTask(info)) {
      const left = room.get(name)
      if (left !== undefined) room.set(name, Math.max(0, left - 1))
    }
  }
  return room
}
