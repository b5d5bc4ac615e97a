import { cidrContains } from '../../core/base/cidr.ts'
import { type Cidr, type Ip, parseIp } from '../../core/base/ip.ts'
import { mangleDomain, mangleLabel } from '../dns/label.ts'
import { labelsOf, type Name, nameOfLabels } from '../dns/name.ts'
import { reverseName, reverseZones } from '../dns/reverse.ts'
import { type NamedFramework, type NamedNode, type NamedVip } from './cluster.ts'
import { directoryDomain, type NamesConfig, spartanDomain } from './config.ts'
import { addressRecords, type Contribution, pointerRecord, serviceRecords, usableName } from './owned.ts'

/** What generation depends on besides the entity itself. */
export interface GenerateContext {
  readonly config: NamesConfig
  /** The node on which the names are served. */
  readonly self: string
}

/** Records and zones that are there whatever the cluster holds. */
export function staticContributions({ config }: GenerateContext): readonly Contribution[] {
  const apex = (owner: Name): Contribution => ({ kind: 'apex', owner })
  const primary = config.soa?.mname ?? nameOfLabels(['ns1', ...labelsOf(config.domain)])
  const mesos = [apex(config.domain), ...addressRecords(primary, config.nameServers)]
  if (config.content === 'mesos-dns') return mesos
  const apexes = [
    directoryDomain,
    spartanDomain,
    zkDomain,
    localDomain,
    ...config.reversePrefixes.flatMap(reverseZones),
  ]
  return [
    ...mesos,
    ...apexes.map(apex),
    ...addressRecords(nameOfLabels(['ready', 'spartan']), [parseIp('127.0.0.1')]),
    ...addressRecords(nameServerName, config.nameServers),
    ...addressRecords(localDomain, [parseIp('127.0.0.1'), parseIp('::1')]),
    ...config.aliasZones.flatMap((zone) => [
      apex(zone.apex),
      ...zone.aliases.map(
        ({ owner, target }): Contribution => ({ kind: 'record', owner, data: { type: 'CNAME', target } }),
      ),
    ]),
  ]
}

/** Where DC/OS looks for ZooKeeper: on the masters. */
const zkDomain: Name = nameOfLabels(['zk'])

/** RFC 6761 §6.3. */
const localDomain: Name = nameOfLabels(['localhost'])

/** How many names `zk-N.zk` there are, however many masters. Source: dcos-net, dcos_dns_zk_record_server. */
const zkNames = 5

/** The name server of all zones but Mesos-DNS's own, whose is `ns1` of the domain. */
export const nameServerName: Name = nameOfLabels(['ns', 'spartan'])

/** A network's reverse zones. */
export function networkContributions(
  network: { readonly subnets: readonly Cidr[] },
  { config }: GenerateContext,
): readonly Contribution[] {
  if (config.content === 'mesos-dns') return []
  return network.subnets.flatMap(reverseZones).map((owner) => ({ kind: 'apex', owner }))
}

/** Name of a node: `NODE.node.thisdcos.directory`. */
export function nodeDnsName(node: string): Name {
  return nameOfLabels([node, 'node', ...labelsOf(directoryDomain)])
}

/** The names that all agents share: `slave.D`, `_slave._tcp.D`. */
function agentContributions(node: NamedNode, { config }: GenerateContext): readonly Contribution[] {
  if (node.agentId === undefined) return []
  const domain = labelsOf(config.domain)
  const slave = nameOfLabels(['slave', ...domain])
  const port = node.ports?.agent ?? config.ports.agent
  const service = { port, weight: config.serviceWeight }
  return [
    ...addressRecords(slave, [node.underlay]),
    ...serviceRecords(nameOfLabels(['_slave', '_tcp', ...domain]), slave, service),
  ]
}

/**
 * A node's own names, and those of agents. Nobody but its owner knows the other addresses of the underlay, so the reverse
 * zone is this one address.
 */
export function nodeContributions(node: NamedNode, context: GenerateContext): readonly Contribution[] {
  const agent = agentContributions(node, context)
  if (context.config.content === 'mesos-dns') return agent
  const name = nodeDnsName(node.name)
  const reverse = reverseName(node.underlay)
  const thisNode = nameOfLabels(['thisnode', ...labelsOf(directoryDomain)])
  return [
    ...addressRecords(name, [node.underlay]),
    { kind: 'apex', owner: reverse },
    pointerRecord(reverse, name),
    ...agent,
    ...(node.name === context.self ? addressRecords(thisNode, [node.underlay]) : []),
  ]
}

/** Names of the masters: `leader`, `master`, `masterN` in the order of the nodes' names, their SRV, and DC/OS's. */
export function masterContributions(nodes: Iterable<NamedNode>, { config }: GenerateContext): readonly Contribution[] {
  const domain = labelsOf(config.domain)
  const masters = [...nodes].filter(({ master }) => master !== undefined).sort((a, b) => (a.name < b.name ? -1 : 1))
  const addresses = [...new Set(masters.map(({ underlay }) => underlay))]
  const leaders = masters.filter(({ master }) => master === 'leader')
  const leader = leaders.map(({ underlay }) => underlay)
  const leaderName = nameOfLabels(['leader', ...domain])
  const service = { port: leaders[0]?.ports?.master ?? config.ports.master, weight: config.serviceWeight }
  const services = ['_tcp', '_udp'].flatMap((protocol) =>
    serviceRecords(nameOfLabels(['_leader', protocol, ...domain]), leaderName, service),
  )
  return [
    ...addressRecords(leaderName, leader),
    ...(leader.length === 0 ? [] : services),
    ...addressRecords(nameOfLabels(['master', ...domain]), addresses),
    ...addresses.flatMap((address, i) => addressRecords(nameOfLabels([`master${i}`, ...domain]), [address])),
    ...(config.content === 'all' ? directoryMasters(leader, addresses) : []),
  ]
}

/** `leader` and `master` of the directory, and `zk-1.zk` to `zk-5.zk`, over and over where there are fewer masters. */
function directoryMasters(leader: readonly Ip[], masters: readonly Ip[]): readonly Contribution[] {
  const directory = ['dcos', ...labelsOf(directoryDomain)]
  const zk = Array.from({ length: zkNames }, (_, i) => {
    const address = masters[i % masters.length]
    return addressRecords(nameOfLabels([`zk-${i + 1}`, ...labelsOf(zkDomain)]), address === undefined ? [] : [address])
  })
  return [
    ...addressRecords(nameOfLabels(['leader', ...directory]), leader),
    ...addressRecords(nameOfLabels(['master', ...directory]), masters),
    ...zk.flat(),
  ]
}

/** A framework's host, and the port of its driver: `FRAMEWORK.D`, `_framework._tcp.FRAMEWORK.D`. */
export function frameworkContributions(
  { name, addresses, port }: NamedFramework,
  config: NamesConfig,
): readonly Contribution[] {
  const labels = mangleDomain(name, config.labels)
  if (labels.length === 0) return []
  const domain = [...labels, ...labelsOf(config.domain)]
  const host = usableName(domain)
  const service = usableName(['_framework', '_tcp', ...domain])
  return [
    ...addressRecords(host, addresses),
    ...(port === undefined ? [] : serviceRecords(service, host, { port, weight: config.serviceWeight })),
  ]
}

/** `VIP.FRAMEWORK.l4lb.thisdcos.directory`, and the way back. */
export function vipContributions(vip: NamedVip, { config }: GenerateContext): readonly Contribution[] {
  if (config.content === 'mesos-dns') return []
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
