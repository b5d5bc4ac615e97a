import { type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { type NftOp } from '../../networking/nft/ops.ts'
import { planElements } from '../../networking/nft/plan.ts'
import { type NftChainSpec, type NftTableSpec } from '../../networking/nft/table.ts'
import { formatVirtualServerKey, type LbOp, type VirtualServer } from '../dataplane.ts'
import { type LbElement, serverElements } from './elements.ts'
import { lbChains, lbSets, pickChain, slotChain, slotMap } from './skeleton.ts'

/**
 * What the kernel has, as far as it is known: the base that the next difference is made from. Elements are counted, because
 * several servers share a VIP's address or a backend's.
 */
export interface LbState {
  readonly servers: Map<string, VirtualServer>
  readonly elements: Map<string, Map<string, CountedValue>>
  /** Numbers of backends that there are chains for. */
  readonly sizes: LbSizes
}

/** By IP version. */
type LbSizes = Readonly<Record<IpFamily, Set<number>>>

interface CountedValue {
  readonly value: string
  readonly count: number
}

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
  const touched = new Map<string, Map<string, string | undefined>>()
  for (const op of ops) {
    const key = formatVirtualServerKey(op.server)
    const before = state.servers.get(key)
    if (before !== undefined) for (const element of serverElements(before)) count(state, touched, { element, step: -1 })
    if (op.kind === 'server.remove') {
      state.servers.delete(key)
      continue
    }
    state.servers.set(key, op.server)
    chains.push(...ensureSize(state, op.server))
    for (const element of serverElements(op.server)) count(state, touched, { element, step: 1 })
  }
  return [...chains, ...[...touched].flatMap(([set, keys]) => planTouched(state, set, keys))]
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
      elements: new Map([...(elements.get(set.name) ?? [])].map(([key, { value }]) => [key, value])),
    })),
    chains: [
      ...lbChains,
      ...slots.map(({ family, slot }) => slotChain(family, slot)),
      ...([4, 6] as const).flatMap((family) => [...sizes[family]].map((size) => pickChain(family, size))),
    ],
  }
}

/** What was there before the first touch, against what is there now. */
function planTouched(state: LbState, set: string, touched: ReadonlyMap<string, string | undefined>): readonly NftOp[] {
  const before = new Map<string, string>()
  const after = new Map<string, string>()
  for (const [key, value] of touched) {
    if (value !== undefined) before.set(key, value)
    const now = state.elements.get(set)?.get(key)
    if (now !== undefined) after.set(key, now.value)
  }
  return planElements(set, after, before)
}

function count(
  state: LbState,
  touched: Map<string, Map<string, string | undefined>>,
  { element, step }: { readonly element: LbElement; readonly step: 1 | -1 },
): void {
  const { set, key, value } = element
  const elements = state.elements.get(set) ?? new Map<string, CountedValue>()
  state.elements.set(set, elements)
  const present = elements.get(key)
  const keys = touched.get(set) ?? new Map<string, string | undefined>()
  touched.set(set, keys)
  if (!keys.has(key)) keys.set(key, present?.value)
  const next = (present?.count ?? 0) + step
  if (next <= 0) elements.delete(key)
  else elements.set(key, { value: step > 0 ? value : (present?.value ?? value), count: next })
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
