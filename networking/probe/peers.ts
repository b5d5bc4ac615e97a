import { type Ip, ipFamily } from '../../core/base/ip.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'

/** Another node, as a probe sees it. */
export interface Peer {
  readonly name: NodeName
  readonly underlay: Ip
  /** Its VTEP address of IPv4; absent where no network has IPv4, because it is routed only then. */
  readonly vtep?: Ip
}

/** The nodes to probe: all others of the underlay's IP version. None while the node itself is not there. */
export function peersOf({ nodes, networks }: ClusterSnapshot, self: NodeName): readonly Peer[] {
  const own = nodes.get(self)
  if (own === undefined) return []
  const routed = [...networks.values()].some(({ subnets }) => subnets.some((subnet) => ipFamily(subnet) === 4))
  const isFour = (address: Ip) => ipFamily(address) === 4
  const probed = routed && own.vtep.addresses.some(isFour)
  return [...nodes.values()].flatMap(({ name, underlay, vtep }) => {
    if (name === self || ipFamily(underlay) !== ipFamily(own.underlay)) return []
    const address = probed ? vtep.addresses.find(isFour) : undefined
    return [{ name, underlay, ...(address === undefined ? {} : { vtep: address }) }]
  })
}

/** Tells addresses of nodes from all others, at the cost of one look-up as long as the nodes stay the same. */
export function peerAddresses(snapshot: () => ClusterSnapshot): (address: string) => boolean {
  let known: ClusterSnapshot['nodes'] | undefined
  let addresses: ReadonlySet<string> = new Set()
  return (address) => {
    const { nodes } = snapshot()
    if (nodes !== known) {
      addresses = new Set([...nodes.values()].flatMap(({ underlay, vtep }) => [underlay, ...vtep.addresses]))
      known = nodes
    }
    return addresses.has(address)
  }
}
