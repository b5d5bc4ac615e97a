import { type ClusterSnapshot } from '../../model/snapshot.ts'
import { snapshotView } from '../http/views.ts'

/**
 * What a standby answers itself, from the leader's snapshot: with the leader's names of fields, less what only the leader
 * knows (tasks that do not run yet, what is free, reservations without tasks). Undefined: it has no such answer.
 */
export function relayedView(path: string, snapshot: ClusterSnapshot): unknown {
  const { networks, nodes, tasks, vips } = snapshot
  switch (path) {
    case '/weft/v1/snapshot':
      return snapshotView(snapshot)
    case '/weft/v1/networks':
      return { networks: [...networks.values()].map((network) => ({ ...network, ...partsOf(snapshot, network.name) })) }
    case '/weft/v1/tasks':
      return { tasks: [...tasks.values()] }
    case '/weft/v1/vips':
      return { vips: [...vips.values()], all: [...vips.values()].map((vip) => ({ ...vip, state: 'in-use' })) }
    case '/weft/v1/masters':
      return {
        masters: [...nodes.values()].flatMap(({ name, master }) => (master ? [{ node: name, role: master }] : [])),
      }
    default:
      return undefined
  }
}

function partsOf({ nodes, tasks }: ClusterSnapshot, network: string) {
  const parts = [...nodes.values()].flatMap(({ name, subnets }) =>
    subnets.filter((share) => share.network === network).map((share) => ({ node: name, subnets: share.subnets })),
  )
  const users = [...tasks.values()].filter((task) => task.networks.some(({ name }) => name === network))
  return { nodes: parts, tasks: users.length }
}
