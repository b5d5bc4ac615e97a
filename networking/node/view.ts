import { type Ip, ipFamily } from '../../core/base/ip.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { dnsAddress, vxlanOverheadBytes } from '../protocol.ts'
import { type CniView } from './cni-view.ts'

/** Search list of containers: short names of services, then of their VIPs. */
const search = ['marathon.mesos', 'marathon.l4lb.thisdcos.directory'] as const

/** Names with fewer dots are tried with the search list first; 1 keeps lookups of full names to one query. */
const resolverOptions = ['ndots:1', 'timeout:1', 'attempts:3'] as const

/** What the CNI plugin needs of a snapshot: this node's part of each network. Pure. */
export function cniView(
  snapshot: ClusterSnapshot,
  node: { readonly name: NodeName; readonly underlay: Ip; readonly underlayMtuBytes: number },
): CniView {
  const mtuBytes = node.underlayMtuBytes - vxlanOverheadBytes[ipFamily(node.underlay)]
  const own = new Map(snapshot.nodes.get(node.name)?.subnets.map(({ network, subnets }) => [network, subnets]))
  const networks = [...snapshot.networks.values()].map(
    ({ name, subnets }) => [name, { subnets: own.get(name) ?? [], wholeSubnets: subnets, mtuBytes }] as const,
  )
  return {
    networks: new Map(networks),
    dns: { nameservers: [dnsAddress], search: [...search], options: [...resolverOptions] },
  }
}
