import { type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { type NftOp } from '../../networking/nft/ops.ts'
import { type NftChainSpec, type NftTableSpec } from '../../networking/nft/table.ts'
import { type CountedElements, countElement, elementsOf, planTouched, type TouchedElements } from '../counted.ts'
import { formatVirtualServerKey, type LbOp, type VirtualServer } from '../dataplane.ts'
import { serverElements } from './elements.ts'
import { lbChains, lbSets, pickChain, slotChain, slotMap } from './skeleton.ts'

/** What the kernel has, as far as it is known: the base that the next difference is made from. */
export interface LbState {
  readonly servers: Map<string, VirtualServer>
  readonly elements: CountedElements
  /** Numbers of backends that there are chains for. */
  readonly sizes: LbSizes
}

/** By IP version. */
type LbSizes = Readonly<Record<IpFamily, Set<number>>>

/** Chains without use that an audit leaves. */
const keptSizes = 64

/** The state in which exactly `servers` are programmed; the chains of an `earlier` one stay, so that they don't come and go, unless they are many. */
export function makeLbState(servers: readonly VirtualServer[], earlier?: LbState): LbState {
  const kept = (family: IpFamily) => [...(earlier?.sizes[family] ?? [])].slice(0, keptSizes)
  const sizes = { 4: new Set(kept(4)), 6: new Set(kept(6)) }
  const state: LbState = { servers: new Map(), elements: new Map(), sizes }
  planLbOps(
    state,
    servers.map((server) => ({ kind: 'server.ensure', server })),
  )
  return state
}

/**
 * What leads from `state` to where `ops` want it, in one transaction, and moves `state` there: so the caller must forget
 * the state when the transaction fails. Order: chains before the verdicts that lead to them; in each set, deletions before
 * additions, so that a slot may get another backend. The kernel shows all of it at once.
 */
export function planLbOps(state: LbState, ops: readonly LbOp[]): readonly NftOp[] {
  const chains: NftOp[] = []
  const touched: TouchedElements = new Map()
  for (const op of ops) {
    const key = formatVirtualServerKey(op.server)
    const before = state.servers.get(key)
    const count = (server: VirtualServer, step: 1 | -1) => {
      for (const element of serverElements(server)) countElement(state.elements, touched, { element, step })
    }
    if (before !== undefined) count(before, -1)
    if (op.kind === 'server.remove') {
      state.servers.delete(key)
      continue
    }
    state.servers.set(key, op.server)
    chains.push(...ensureSize(state, op.server))
    count(op.server, 1)
  }
  return [...chains, ...planTouched(state.elements, touched)]
}

/** The whole table's part, for the audit. */
export function desiredLbTable({ elements, sizes }: LbState): NftTableSpec {
  const slots = ([4, 6] as const).flatMap((family) => {
    return Array.from({ length: Math.max(0, ...sizes[family]) }, (_, slot) => ({ family, slot }))
  })
  const sets = [...lbSets, ...slots.map(({ family, slot }) => slotMap(family, slot))]
  return {
    sets: sets.map((set) => ({
      ...set,
      elements: elementsOf(elements, set.name),
    })),
    chains: [
      ...lbChains,
      ...slots.map(({ family, slot }) => slotChain(family, slot)),
      ...([4, 6] as const).flatMap((family) => [...sizes[family]].map((size) => pickChain(family, size))),
    ],
  }
}

/** The chain for the server's number of backends, and the slots that it leads to. */
function ensureSize({ sizes }: LbState, { address, backends }: VirtualServer): readonly NftOp[] {
  const family = ipFamily(address)
  const size = backends.filter(({ weight }) => weight > 0).length
  const known = sizes[family]
  if (size === 0 || known.has(size)) return []
  const slots = Math.max(0, ...known)
  known.add(size)
  const added = Array.from({ length: Math.max(0, size - slots) }, (_, i) => slots + i)
  return [
    ...added.map((slot): NftOp => ({ kind: 'set.add', set: slotMap(family, slot) })),
    ...added.flatMap((slot) => addChain(slotChain(family, slot))),
    ...addChain(pickChain(family, size)),
  ]
}

function addChain({ name, rules }: NftChainSpec): readonly NftOp[] {
  return [{ kind: 'chain.add', chain: name }, ...rules.map((rule): NftOp => ({ kind: 'rule.add', chain: name, rule }))]
}
