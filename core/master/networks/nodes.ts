import { cidrContains, cidrParts } from '../../base/cidr.ts'
import { AppError } from '../../base/errors.ts'
import { type Cidr, type Ip } from '../../base/ip.ts'
import { type NodeName } from '../../model/ids.ts'
import { type Network, type NodeSubnet } from '../../model/snapshot.ts'
import { type Decide, type NodeRecord, type RegistryState } from '../registry/state.ts'
import { lowestFreeSubnet, vtepMac } from './allocate.ts'
import { indexNodes, type NodeIndex } from './node-index.ts'
import { type Profile } from './profile.ts'

/** A machine, as its agent or node daemon introduces it. */
export interface NodeWish {
  readonly name: NodeName
  readonly underlay: Ip
  /** `daemon`: said by a node daemon. `agent`, `master`: one of those runs there. */
  readonly by: 'agent' | 'daemon' | 'master'
}

/**
 * Admits a machine: a VTEP and a part of each network the first time, nothing new later on. A network that has no part left
 * is left out (the node works without it).
 * @throws ERR_MASTER_UNDERLAY_OVERLAP, ERR_MASTER_VTEPS_EXHAUSTED, ERR_MASTER_NODE_ADDRESS when another node has the address
 */
export function decideNode(profile: Profile, wish: NodeWish): Decide {
  return (state) => {
    const node = admitNode(profile, state, wish)
    return node === undefined ? {} : { nodes: new Map([[node.name, node]]) }
  }
}

/** The machine's record, or undefined when it is as it was. @throws as {@link decideNode} */
export function admitNode(profile: Profile, state: RegistryState, wish: NodeWish): NodeRecord | undefined {
  const known = state.nodes.get(wish.name)
  const daemon = wish.by === 'daemon' || (known?.daemon ?? false)
  if (known !== undefined && known.underlay === wish.underlay)
    return known.daemon === daemon ? undefined : { ...known, daemon }
  const index = state.nodeIndex ?? indexNodes(state.nodes.values())
  validateUnderlay(profile, { ...state, nodeIndex: index }, wish)
  if (known !== undefined) return { ...known, underlay: wish.underlay, daemon }
  const vteps = profile.vteps.map((range) => freeVtep(range, index))
  const [first] = vteps
  if (first === undefined) throw new AppError('ERR_MASTER_VTEPS_EXHAUSTED', 'the profile has no range for VTEPs')
  const shares = [...state.networks.values()].map((network) => freeShare(profile, network, index))
  return {
    name: wish.name,
    underlay: wish.underlay,
    vtep: { addresses: vteps, mac: vtepMac(first) },
    subnets: shares.filter((share) => share !== undefined),
    daemon,
  }
}

/** The same as {@link nodeSubnets}, by an index. */
function freeShare(profile: Profile, network: Network, index: NodeIndex): NodeSubnet | undefined {
  const bitsOf = (range: Cidr) => profile.nodeBits[cidrParts(range).family]
  const given = network.subnets.map((range) => index.freeSubnet(range, bitsOf(range)))
  const subnets = given.filter((subnet) => subnet !== undefined)
  return subnets.length === given.length ? { network: network.name, subnets } : undefined
}

/** The lowest free part of a network for one more node; undefined when a prefix of it has none left. */
export function nodeSubnets(profile: Profile, network: Network, nodes: readonly NodeRecord[]): NodeSubnet | undefined {
  const taken = nodes.flatMap(({ subnets }) =>
    subnets.filter((share) => share.network === network.name).flatMap((share) => share.subnets),
  )
  const subnets = network.subnets.map((range) =>
    lowestFreeSubnet(range, profile.nodeBits[cidrParts(range).family], taken),
  )
  const given = subnets.filter((subnet) => subnet !== undefined)
  return given.length === subnets.length ? { network: network.name, subnets: given } : undefined
}

/** Frees all that a machine was given. @throws ERR_MASTER_NODE_UNKNOWN */
export function decideRemoveNode(name: NodeName): Decide {
  return ({ nodes, agents }) => {
    const node = nodes.get(name)
    if (node === undefined) throw new AppError('ERR_MASTER_NODE_UNKNOWN', `there is no node "${name}"`)
    const there = [...agents.values()].filter(({ nodeName }) => nodeName === name)
    return { nodes: new Map([[name, undefined]]), agents: new Map(there.map(({ id }) => [id, undefined])) }
  }
}

/** Gives a part of each network to the nodes that have none because all were given away, as far as there are any now. */
export function decideFillShares(profile: Profile): Decide {
  return ({ nodes, networks }) => {
    const all = new Map(nodes)
    const change = new Map<NodeName, NodeRecord>()
    for (const network of networks.values()) {
      for (const node of [...all.values()]) {
        if (node.subnets.some((share) => share.network === network.name)) continue
        const share = nodeSubnets(profile, network, [...all.values()])
        if (share === undefined) break
        const next = { ...node, subnets: [...node.subnets, share] }
        all.set(node.name, next)
        change.set(node.name, next)
      }
    }
    return { nodes: change }
  }
}

function freeVtep(range: Cidr, index: NodeIndex): Ip {
  const address = index.freeVtep(range)
  if (address === undefined) {
    throw new AppError(
      'ERR_MASTER_VTEPS_EXHAUSTED',
      `every address of ${range} is given to a node: remove departed nodes`,
    )
  }
  return address
}

function validateUnderlay(profile: Profile, state: RegistryState, { name, underlay }: NodeWish): void {
  const other = state.nodeIndex?.ofUnderlay(underlay)
  if (other !== undefined && other !== name) {
    const advice = `give each machine its own, or remove that node`
    throw new AppError('ERR_MASTER_NODE_ADDRESS', `${underlay} is the underlay address of node "${other}": ${advice}`)
  }
  const ranges = [...profile.vips, ...profile.vteps, ...[...state.networks.values()].flatMap(({ subnets }) => subnets)]
  const clash = ranges.find((range) => cidrContains(range, underlay))
  if (clash !== undefined) {
    const message = `the underlay address ${underlay} of node "${name}" lies in ${clash}, which the cluster uses for containers`
    throw new AppError('ERR_MASTER_UNDERLAY_OVERLAP', `${message}: choose another profile or subnet`)
  }
}
