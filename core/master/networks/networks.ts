import { cidrContains, cidrOverlaps, cidrParts, parseCidr } from '../../base/cidr.ts'
import { AppError } from '../../base/errors.ts'
import { type Cidr } from '../../base/ip.ts'
import { type NetworkName } from '../../model/ids.ts'
import { type Network } from '../../model/snapshot.ts'
import { type Decide, type NodeRecord, type RegistryState } from '../registry/state.ts'
import { firstVni, lowestFree, lowestFreeSubnet } from './allocate.ts'
import { nodeSubnets } from './nodes.ts'
import { type NetworkPool, type Profile } from './profile.ts'

/** A network that somebody wants. */
export interface NetworkWish {
  readonly name: NetworkName
  /** At most one for each IP version; absent: one from each of the profile's pools. */
  readonly subnets?: readonly Cidr[]
  /** Absent: the lowest free one. */
  readonly vni?: number
}

/** Addresses that mean something else on every machine. Sources: RFC 6890, networking/protocol.ts (gateway, DNS). */
const reservedRanges: readonly (readonly [string, string])[] = [
  ['0.0.0.0/8', '"this network"'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local addresses'],
  ['198.51.100.0/24', 'the DNS servers of the nodes'],
  ['224.0.0.0/3', 'multicast and reserved addresses'],
  ['::/8', 'loopback and mapped addresses'],
  ['fe80::/10', 'link-local addresses'],
  ['ff00::/8', 'multicast'],
]

/**
 * Makes a network, and its part on every node.
 * @throws ERR_MASTER_NETWORK_EXISTS, ERR_MASTER_NETWORK_OVERLAP (names both), ERR_MASTER_NETWORK_SUBNET (a prefix that
 *   can't be used), ERR_MASTER_NETWORK_VNI, ERR_MASTER_NETWORKS_EXHAUSTED
 */
export function decideCreateNetwork(profile: Profile, wish: NetworkWish): Decide {
  return (state) => {
    if (state.networks.has(wish.name)) {
      throw new AppError('ERR_MASTER_NETWORK_EXISTS', `network "${wish.name}" is there already`)
    }
    const subnets = wish.subnets ?? defaultSubnets(profile, state)
    validateSubnets(profile, state, subnets)
    const network: Network = {
      name: wish.name,
      vni: wish.vni === undefined ? freeVni(state) : unusedVni(state, wish.vni),
      subnets,
    }
    const nodes = new Map<NodeRecord['name'], NodeRecord>()
    for (const node of state.nodes.values()) {
      const share = nodeSubnets(profile, network, [...state.nodes.values(), ...nodes.values()])
      if (share !== undefined) nodes.set(node.name, { ...node, subnets: [...node.subnets, share] })
    }
    return { networks: new Map([[network.name, network]]), nodes }
  }
}

/**
 * Removes a network and its part on every node; that no task uses it is for the caller to know.
 * @throws ERR_MASTER_NETWORK_UNKNOWN
 */
export function decideRemoveNetwork(name: NetworkName): Decide {
  return (state) => {
    if (!state.networks.has(name)) throw unknownNetwork(name)
    const nodes = new Map<NodeRecord['name'], NodeRecord>()
    for (const node of state.nodes.values()) {
      nodes.set(node.name, { ...node, subnets: node.subnets.filter(({ network }) => network !== name) })
    }
    return { networks: new Map([[name, undefined]]), nodes }
  }
}

/** The error for a network that is not there. */
export function unknownNetwork(name: string): AppError {
  return new AppError('ERR_MASTER_NETWORK_UNKNOWN', `there is no network "${name}"`)
}

/** Two VNIs that are equal modulo this have one id of nexthop objects: networking/overlay/remote-ids.ts. */
const vniModulus = 2 ** 16

function unusedVni({ networks }: RegistryState, vni: number): number {
  for (const other of networks.values()) {
    if (other.vni % vniModulus !== vni % vniModulus) continue
    const what = other.vni === vni ? 'the VNI' : `equal modulo ${vniModulus} to ${other.vni}, the VNI`
    throw new AppError('ERR_MASTER_NETWORK_VNI', `${vni} is ${what} of network "${other.name}": choose another`)
  }
  return vni
}

function freeVni({ networks }: RegistryState): number {
  const used = new Set([...networks.values()].map(({ vni }) => vni % vniModulus))
  const vni = lowestFree(used, firstVni, vniModulus)
  if (vni === undefined) throw exhausted('all VXLAN network identifiers are in use')
  return vni
}

function defaultSubnets(profile: Profile, { networks }: RegistryState): readonly Cidr[] {
  const { first, pools, vips, vteps } = profile
  if (networks.size === 0) return first
  if (pools.length === 0) throw subnetError('this profile has no pool of subnets: give the network one')
  const inUse = [...[...networks.values()].flatMap(({ subnets }) => subnets), ...vips, ...vteps]
  return pools.map((pool) => poolSubnet(pool, inUse))
}

function poolSubnet({ range, networkBits }: NetworkPool, inUse: readonly Cidr[]): Cidr {
  const taken: Cidr[] = []
  for (;;) {
    const candidate = lowestFreeSubnet(range, networkBits, taken)
    if (candidate === undefined)
      throw exhausted(`no free /${networkBits} is left in ${range}: give the network a subnet`)
    if (!inUse.some((subnet) => cidrOverlaps(subnet, candidate))) return candidate
    taken.push(candidate)
  }
}

function validateSubnets(profile: Profile, state: RegistryState, subnets: readonly Cidr[]): void {
  const families = subnets.map((subnet) => cidrParts(subnet).family)
  if (subnets.length === 0 || new Set(families).size !== families.length) {
    throw subnetError('a network has one subnet, or one of each IP version')
  }
  for (const subnet of subnets) {
    const { length, family } = cidrParts(subnet)
    const nodeBits = profile.nodeBits[family]
    if (length > nodeBits) throw subnetError(`${subnet} is too small: each node gets a /${nodeBits} of it`)
    const clash = findOverlap(profile, state, subnet)
    if (clash !== undefined) throw new AppError('ERR_MASTER_NETWORK_OVERLAP', `${subnet} overlaps ${clash}`)
  }
}

function findOverlap(profile: Profile, state: RegistryState, subnet: Cidr): string | undefined {
  for (const network of state.networks.values()) {
    const other = network.subnets.find((candidate) => cidrOverlaps(candidate, subnet))
    if (other !== undefined) return `${other} of network "${network.name}"`
  }
  for (const node of state.nodes.values()) {
    if (cidrContains(subnet, node.underlay)) return `${node.underlay}, the underlay address of node "${node.name}"`
  }
  const ranges: readonly (readonly [Cidr, string])[] = [
    ...profile.vips.map((range) => [range, 'the VIPs'] as const),
    ...profile.vteps.map((range) => [range, 'the VTEPs'] as const),
    ...reservedRanges.map(([range, use]) => [parseCidr(range), use] as const),
  ]
  const found = ranges.find(([range]) => cidrOverlaps(range, subnet))
  return found === undefined ? undefined : `${found[0]}, the range of ${found[1]}`
}

function subnetError(message: string): AppError {
  return new AppError('ERR_MASTER_NETWORK_SUBNET', message)
}

function exhausted(message: string): AppError {
  return new AppError('ERR_MASTER_NETWORKS_EXHAUSTED', message)
}
