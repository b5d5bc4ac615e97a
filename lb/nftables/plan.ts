import { type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { type NftOp } from '../../networking/nft/ops.ts'
import { planElements } from '../../networking/nft/plan.ts'
import { type NftChainSpec, type NftTableSpec } from '../../networking/nft/table.ts'
import { formatVirtualServerKey, type LbOp, type VirtualServer } from '../dataplane.ts'
import { type LbElement, serverElements } from './elements.ts'
import { lbChains, lbSets, pickChain, pickChainSpec } from './skeleton.ts'

/**
 * What the kernel has, as far as it is known: the base that the next difference is made from. Elements are counted, because
 * several servers share a VIP's address or a backend's.
 */
export interface LbState {
  readonly servers: Map<string, VirtualServer>
  readonly elements: Map<string, Map<string, CountedValue>>
  /** Chains that choose, by name. */
  readonly picks: Map<string, NftChainSpec>
}

interface CountedValue {
  readonly value: string
  readonly count: number
}

/** The state in which exactly `servers` are programmed; `picks` of an earlier state stay, so that chains don't come and go. */
export function makeLbState(servers: readonly VirtualServer[], picks: LbState['picks'] = new Map()): LbState {
  const state: LbState = { servers: new Map(), elements: new Map(), picks: new Map(picks) }
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
    chains.push(...ensurePick(state, op.server))
    for (const element of serverElements(op.server)) count(state, touched, { element, step: 1 })
  }
  return [...chains, ...[...touched].flatMap(([set, keys]) => planTouched(state, set, keys))]
}

/** The whole table's part, for the audit. */
export function desiredLbTable({ elements, picks }: LbState): NftTableSpec {
  return {
    sets: lbSets.map((set) => ({
      ...set,
      elements: new Map([...(elements.get(set.name) ?? [])].map(([key, { value }]) => [key, value])),
    })),
    chains: [...lbChains, ...picks.values()],
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

function ensurePick({ picks }: LbState, { address, backends }: VirtualServer): readonly NftOp[] {
  const family: IpFamily = ipFamily(address)
  const size = backends.filter(({ weight }) => weight > 0).length
  const name = pickChain(family, size)
  if (size === 0 || picks.has(name)) return []
  const chain = pickChainSpec(family, size)
  picks.set(name, chain)
  return [
    { kind: 'chain.add', chain: name },
    ...chain.rules.map((rule): NftOp => ({ kind: 'rule.add', chain: name, rule })),
  ]
}
