import { cidrOf, cidrParts } from '../../core/base/cidr.ts'
import { type Cidr, familyBits, type Ip, ipFamily } from '../../core/base/ip.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, type RunningTask } from '../../core/model/snapshot.ts'
import { taskVips } from '../../core/model/task-vips.ts'

/** Another node that carries backends of VIPs. */
export interface BackendPeer {
  readonly name: NodeName
  readonly underlay: Ip
}

/** The other nodes that carry backends, as the present snapshot says. Costs one look at each task, once for its life. */
export function openBackendPeers(snapshot: () => ClusterSnapshot, self: NodeName): () => readonly BackendPeer[] {
  const behindVips = new WeakMap<RunningTask, boolean>()
  let known: ClusterSnapshot | undefined
  let peers: readonly BackendPeer[] = []
  const isBehindVip = (task: RunningTask) => {
    const before = behindVips.get(task)
    const found = before ?? taskVips(task, 'pass-over').length > 0
    if (before === undefined) behindVips.set(task, found)
    return found
  }
  return () => {
    const now = snapshot()
    if (now === known) return peers
    known = now
    const names = new Set<NodeName>()
    for (const task of now.tasks.values()) if (!names.has(task.node) && isBehindVip(task)) names.add(task.node)
    names.delete(self)
    peers = [...names].flatMap((name) => {
      const node = now.nodes.get(name)
      return node === undefined ? [] : [{ name, underlay: node.underlay }]
    })
    return peers
  }
}

/** On which node an address is: its underlay address, or one of its part of a network. */
export function openPlaces(snapshot: () => ClusterSnapshot): (address: Ip) => NodeName | undefined {
  let known: ClusterSnapshot['nodes'] | undefined
  let places = new Map<Cidr, NodeName>()
  let lengths: readonly (readonly [4 | 6, number])[] = []
  const learn = (nodes: ClusterSnapshot['nodes']) => {
    known = nodes
    places = new Map()
    for (const { name, underlay, subnets } of nodes.values()) {
      places.set(cidrOf(underlay, familyBits(ipFamily(underlay))), name)
      for (const subnet of subnets.flatMap((share) => share.subnets)) places.set(subnet, name)
    }
    const all = [...places.keys()].map((cidr) => cidrParts(cidr))
    const pairs = new Map(all.map(({ family, length }) => [`${family} ${length}`, [family, length] as const]))
    lengths = [...pairs.values()]
  }
  return (address) => {
    const { nodes } = snapshot()
    if (nodes !== known) learn(nodes)
    const family = ipFamily(address)
    for (const [of, length] of lengths) {
      const found = of === family ? places.get(cidrOf(address, length)) : undefined
      if (found !== undefined) return found
    }
    return undefined
  }
}
