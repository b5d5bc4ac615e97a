import { cidrContains } from '../../core/base/cidr.ts'
import { parseIp } from '../../core/base/ip.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type Network, type Node, type VipAddress } from '../../core/model/snapshot.ts'
import { mangleDomain, mangleLabel } from '../dns/label.ts'
import { labelsOf, type Name, nameOfLabels } from '../dns/name.ts'
import { reverseName, reverseZones } from '../dns/reverse.ts'
import { directoryDomain, type NamesConfig, spartanDomain } from './config.ts'
import { addressRecords, type Contribution, pointerRecord, serviceRecords, usableName } from './owned.ts'

/** What generation depends on besides the entity itself. */
export interface GenerateContext {
  readonly config: NamesConfig
  /** The node on which the names are served. */
  readonly self: NodeName
}

/** Records and zones that are there whatever the cluster holds. */
export function staticContributions({ config }: GenerateContext): readonly Contribution[] {
  const apexes = [config.domain, directoryDomain, spartanDomain, ...config.reversePrefixes.flatMap(reverseZones)]
  return [
    ...apexes.map((owner): Contribution => ({ kind: 'apex', owner })),
    ...addressRecords(nameOfLabels(['ready', 'spartan']), [parseIp('127.0.0.1')]),
    ...addressRecords(nameServerName, config.nameServers),
    ...addressRecords(nameOfLabels(['ns1', ...labelsOf(config.domain)]), config.nameServers),
  ]
}

/** The name server of all zones but Mesos-DNS's own, whose is `ns1` of the domain. */
export const nameServerName: Name = nameOfLabels(['ns', 'spartan'])

/** A network's reverse zones. */
export function networkContributions(network: Network): readonly Contribution[] {
  return network.subnets.flatMap(reverseZones).map((owner) => ({ kind: 'apex', owner }))
}

/** Name of a node: `NODE.node.thisdcos.directory`. */
export function nodeDnsName(node: NodeName): Name {
  return nameOfLabels([node, 'node', ...labelsOf(directoryDomain)])
}

/**
 * A node's own names, and those that all agents share (`slave.D`, `_slave._tcp.D`). Nobody but its owner knows the other
 * addresses of the underlay, so the reverse zone is this one address.
 */
export function nodeContributions(node: Node, { config, self }: GenerateContext): readonly Contribution[] {
  const domain = labelsOf(config.domain)
  const name = nodeDnsName(node.name)
  const reverse = reverseName(node.underlay)
  const slave = nameOfLabels(['slave', ...domain])
  const agent = [
    ...addressRecords(slave, [node.underlay]),
    ...serviceRecords(nameOfLabels(['_slave', '_tcp', ...domain]), slave, config.ports.agent),
  ]
  const thisNode = nameOfLabels(['thisnode', ...labelsOf(directoryDomain)])
  return [
    ...addressRecords(name, [node.underlay]),
    { kind: 'apex', owner: reverse },
    pointerRecord(reverse, name),
    ...(node.agentId === undefined ? [] : agent),
    ...(node.name === self ? addressRecords(thisNode, [node.underlay]) : []),
  ]
}

/** Names of the masters: `leader`, `master`, `masterN` in the order of the nodes' names, their SRV, and DC/OS's. */
export function masterContributions(nodes: Iterable<Node>, { config }: GenerateContext): readonly Contribution[] {
  const domain = labelsOf(config.domain)
  const masters = [...nodes].filter(({ master }) => master !== undefined).sort((a, b) => (a.name < b.name ? -1 : 1))
  const addresses = masters.map(({ underlay }) => underlay)
  const leader = masters.filter(({ master }) => master === 'leader').map(({ underlay }) => underlay)
  const leaderName = nameOfLabels(['leader', ...domain])
  const directory = ['dcos', ...labelsOf(directoryDomain)]
  const services = ['_tcp', '_udp'].flatMap((protocol) =>
    serviceRecords(nameOfLabels(['_leader', protocol, ...domain]), leaderName, config.ports.master),
  )
  return [
    ...addressRecords(leaderName, leader),
    ...(leader.length === 0 ? [] : services),
    ...addressRecords(nameOfLabels(['master', ...domain]), addresses),
    ...addresses.flatMap((address, i) => addressRecords(nameOfLabels([`master${i}`, ...domain]), [address])),
    ...addressRecords(nameOfLabels(['leader', ...directory]), leader),
    ...addressRecords(nameOfLabels(['master', ...directory]), addresses),
  ]
}

/** `VIP.FRAMEWORK.l4lb.thisdcos.directory`, and the way back. */
export function vipContributions(vip: VipAddress, { config }: GenerateContext): readonly Contribution[] {
  const framework = mangleDomain(vip.framework, config.labels)
  if (framework.length === 0) return []
  const label = mangleLabel(vip.name, 'rfc1123')
  const name = usableName([label, ...framework, 'l4lb', ...labelsOf(directoryDomain)])
  if (name === undefined) return []
  const reverse = vip.addresses.flatMap((address): Contribution[] => {
    const owner = reverseName(address)
    const covered = config.reversePrefixes.some((prefix) => cidrContains(prefix, address))
    return covered ? [pointerRecord(owner, name)] : [{ kind: 'apex', owner }, pointerRecord(owner, name)]
  })
  return [...addressRecords(name, vip.addresses), ...reverse]
}
