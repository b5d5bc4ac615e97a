import { cidrNth, cidrParts, cidrSize, cidrSubnet } from '../../base/cidr.ts'
import { type Cidr, type Ip } from '../../base/ip.ts'
import { type NodeName } from '../../model/ids.ts'
import { type NodeRecord } from '../registry/state.ts'

/** What admitting a machine asks of all the others, without a look at each of them. */
export interface NodeIndex {
  ofUnderlay(address: Ip): NodeName | undefined
  /** The lowest host address of a range of VTEPs that no node has. */
  freeVtep(range: Cidr): Ip | undefined
  /** The lowest sub-prefix of a network's prefix that no node has. */
  freeSubnet(range: Cidr, length: number): Cidr | undefined
}

/** An index that follows the table of nodes. */
export interface KeptNodeIndex extends NodeIndex {
  change(before: NodeRecord | undefined, after: NodeRecord | undefined): void
}

/** Indexes these nodes. */
export function indexNodes(nodes: Iterable<NodeRecord> = []): KeptNodeIndex {
  const byUnderlay = new Map<Ip, NodeName>()
  const vteps = openTaken<Ip>()
  const subnets = openTaken<Cidr>()
  const index: KeptNodeIndex = {
    ofUnderlay: (address) => byUnderlay.get(address),
    freeVtep: (range) => {
      // The first and last address of a range are no host's.
      return vteps.lowestFree(range, { from: 1, end: Number(cidrSize(range)) - 1 }, (n) => cidrNth(range, BigInt(n)))
    },
    freeSubnet: (range, length) => {
      const end = 2 ** Math.min(length - cidrParts(range).length, 32)
      return subnets.lowestFree(`${range} ${length}`, { from: 0, end }, (n) => cidrSubnet(range, length, BigInt(n)))
    },
    change: (before, after) => {
      if (before !== undefined && byUnderlay.get(before.underlay) === before.name) byUnderlay.delete(before.underlay)
      if (after !== undefined) byUnderlay.set(after.underlay, after.name)
      vteps.change(before?.vtep.addresses ?? [], after?.vtep.addresses ?? [])
      subnets.change(subnetsOf(before), subnetsOf(after))
    },
  }
  for (const node of nodes) index.change(undefined, node)
  return index
}

function subnetsOf(node: NodeRecord | undefined): readonly Cidr[] {
  return node === undefined ? [] : node.subnets.flatMap(({ subnets }) => subnets)
}

interface Bounds {
  readonly from: number
  readonly end: number
}

/** What is taken, and below which place of each range all is: until something is given back, that only grows. */
function openTaken<Value>() {
  const taken = new Set<Value>()
  const full = new Map<string, number>()
  return {
    change: (before: readonly Value[], after: readonly Value[]) => {
      const left = before.filter((value) => !after.includes(value))
      for (const value of left) taken.delete(value)
      for (const value of after) taken.add(value)
      if (left.length > 0) full.clear()
    },
    lowestFree: (range: string, { from, end }: Bounds, nth: (place: number) => Value): Value | undefined => {
      for (let place = full.get(range) ?? from; place < end; place++) {
        const value = nth(place)
        if (taken.has(value)) continue
        full.set(range, place)
        return value
      }
      full.set(range, end)
      return undefined
    },
  }
}
