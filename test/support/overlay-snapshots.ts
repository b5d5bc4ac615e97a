import { cidrNth, cidrOf, cidrSubnet, parseCidr } from '../../core/base/cidr.ts'
import { type Ip, parseIp } from '../../core/base/ip.ts'
import { type NetworkName, parseMac, parseNetworkName, parseNodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, emptySnapshot, type Network, type Node } from '../../core/model/snapshot.ts'

/** Two networks: the default one, with IPv4 and IPv6, and one with IPv4 alone. */
export const twoNetworks: readonly Network[] = [
  { name: parseNetworkName('dcos'), vni: 1024, subnets: [parseCidr('10.80.0.0/14'), parseCidr('fd00:80::/48')] },
  { name: parseNetworkName('blue'), vni: 1025, subnets: [parseCidr('10.84.0.0/16')] },
]

/** A network of IPv4 alone, large enough for 16,000 nodes. */
export const largeNetwork: Network = { name: parseNetworkName('dcos'), vni: 1024, subnets: [parseCidr('10.0.0.0/8')] }

/** Node `index` (from 1) as a master would allocate it: lowest free VTEP address, MAC out of it, a /24 and a /64 each. */
export function allocatedNode(index: number, networks: readonly Network[] = twoNetworks, underlay?: Ip): Node {
  const vtep = cidrNth(parseCidr('100.97.0.0/16'), BigInt(index))
  const hex = (0x610000 + index).toString(16)
  const mac = parseMac(`70:b3:d5:${hex.slice(0, 2)}:${hex.slice(2, 4)}:${hex.slice(4)}`)
  const addresses = networks.some(({ subnets }) => subnets.length > 1)
    ? [cidrNth(parseCidr('fd01:a::/64'), BigInt(index))]
    : []
  return {
    name: parseNodeName(`n${index}`),
    underlay: underlay ?? cidrNth(parseCidr('198.18.0.0/15'), BigInt(index)),
    vtep: { addresses: [vtep, ...addresses], mac },
    subnets: networks.map(({ name, subnets }) => ({
      network: name,
      subnets: subnets.map((subnet) => cidrSubnet(subnet, subnet.includes(':') ? 64 : 24, BigInt(index))),
    })),
  }
}

/** A snapshot of these nodes and networks alone. */
export function overlaySnapshot(
  version: number,
  nodes: readonly Node[],
  networks: readonly Network[] = twoNetworks,
): ClusterSnapshot {
  return {
    ...emptySnapshot,
    version,
    networks: new Map(networks.map((network) => [network.name, network])),
    nodes: new Map(nodes.map((node) => [node.name, node])),
  }
}

/** An address that a container of the node may have: number `host` of its subnet of a network and family. */
export function containerAddress(
  node: Node,
  network: NetworkName,
  { family, host }: { family: 4 | 6; host: number },
): Ip {
  const subnets = node.subnets.find((each) => each.network === network)?.subnets ?? []
  const subnet = subnets.find((each) => each.includes(':') === (family === 6))
  return cidrNth(subnet ?? cidrOf(parseIp('0.0.0.0'), 0), BigInt(host))
}
