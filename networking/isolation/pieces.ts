import { cidrOf, cidrParts } from '../../core/base/cidr.ts'
import {
  type Cidr,
  familyBits,
  type Ip,
  type IpFamily,
  ipFamily,
  ipFromBigInt,
  ipToBigInt,
} from '../../core/base/ip.ts'

/** A prefix and what is said of it. */
export interface TaggedPrefix {
  readonly prefix: Cidr
  readonly tag: string
}

/** A part of the address space in which every address is spoken of by the same tags. */
export interface Piece {
  readonly prefix: Cidr
  readonly tags: readonly string[]
}

/** Pieces that share no address, and the tags of any address. */
export interface Pieces {
  readonly all: readonly Piece[]
  /** Tags of the piece that holds the address; none outside of all. */
  tagsOf(address: Ip): readonly string[]
}

interface Range {
  readonly start: bigint
  readonly end: bigint
  readonly length: number
}

interface Node extends Range {
  readonly family: IpFamily
  readonly tags: string[]
  readonly children: Node[]
}

/**
 * Cuts prefixes, which may lie in each other, into pieces that do not: nft's interval maps take no overlaps. What is left of
 * a prefix around smaller ones is told as prefixes again, since that is how nft prints it back.
 */
export function cutPieces(prefixes: readonly TaggedPrefix[]): Pieces {
  const roots = buildForest(prefixes)
  const all: Piece[] = []
  const starts: { readonly range: Range; readonly family: IpFamily; readonly tags: readonly string[] }[] = []
  const visit = (node: Node, inherited: readonly string[]) => {
    const tags = [...new Set([...inherited, ...node.tags])].toSorted()
    for (const range of remainder(node, node.children, familyBits(node.family))) {
      all.push({ prefix: cidrOf(ipFromBigInt(range.start, node.family), range.length), tags })
      starts.push({ range, family: node.family, tags })
    }
    for (const child of node.children) visit(child, tags)
  }
  for (const root of roots) visit(root, [])
  const sorted = { 4: ofFamily(starts, 4), 6: ofFamily(starts, 6) }
  return { all, tagsOf: (address) => findTags(sorted[ipFamily(address)], ipToBigInt(address)) }
}

function ofFamily<T extends { readonly range: Range; readonly family: IpFamily }>(
  list: readonly T[],
  family: IpFamily,
) {
  return list
    .filter((one) => one.family === family)
    .toSorted(({ range: a }, { range: b }) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0))
}

function findTags(
  sorted: readonly { readonly range: Range; readonly tags: readonly string[] }[],
  value: bigint,
): readonly string[] {
  let [low, high] = [0, sorted.length - 1]
  while (low <= high) {
    const middle = (low + high) >> 1
    const found = sorted[middle]
    if (found === undefined) break
    if (value < found.range.start) high = middle - 1
    else if (value >= found.range.end) low = middle + 1
    else return found.tags
  }
  return []
}

/** Prefixes lie in each other or apart, never across: sorted, the open ones form a stack. */
function buildForest(prefixes: readonly TaggedPrefix[]): readonly Node[] {
  const nodes = prefixes.map(({ prefix, tag }): Node => {
    const { address, length, family } = cidrParts(prefix)
    const start = ipToBigInt(address)
    const end = start + (1n << BigInt(familyBits(family) - length))
    return { start, end, length, family, tags: [tag], children: [] }
  })
  nodes.sort((a, b) =>
    a.family !== b.family
      ? a.family - b.family
      : a.start !== b.start
        ? a.start < b.start
          ? -1
          : 1
        : a.length - b.length,
  )
  const roots: Node[] = []
  const open: Node[] = []
  for (const node of nodes) {
    while (open.length > 0 && !holds(open.at(-1), node)) open.pop()
    const parent = open.at(-1)
    if (parent !== undefined && parent.length === node.length) {
      parent.tags.push(...node.tags)
      continue
    }
    if (parent === undefined) roots.push(node)
    else parent.children.push(node)
    open.push(node)
  }
  return roots
}

function holds(outer: Node | undefined, inner: Node): boolean {
  return outer !== undefined && outer.family === inner.family && outer.start <= inner.start && inner.end <= outer.end
}

/** What is left of `range` without `holes`, which lie in it, sorted. */
function remainder(range: Range, holes: readonly Range[], bits: number): readonly Range[] {
  if (holes.length === 0) return [range]
  const [first] = holes
  if (holes.length === 1 && first?.length === range.length) return []
  const length = range.length + 1
  const middle = range.start + (1n << BigInt(bits - length))
  const lower = { start: range.start, end: middle, length }
  const upper = { start: middle, end: range.end, length }
  return [
    ...remainder(
      lower,
      holes.filter(({ start }) => start < middle),
      bits,
    ),
    ...remainder(
      upper,
      holes.filter(({ start }) => start >= middle),
      bits,
    ),
  ]
}
