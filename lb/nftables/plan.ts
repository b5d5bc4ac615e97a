import { type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { type NftOp } from '../../networking/nft/ops.ts'
import { type NftChainSpec, type NftTableSpec } from '../../networking/nft/table.ts'
import { type CountedElements, countElement, elementsOf, planTouched, type TouchedElements } from '../counted.ts'
import { formatVirtualServerKey, type LbOp, type VirtualServer } from '../dataplane.ts'
import { type VipPing } from '../refuse.ts'
import { serverElements } from './elements.ts'
import { type Pick, sharesOf } from './shares.ts'
import { lbChains, lbSets, pickChain, pickName, slotChain, slotMap } from './skeleton.ts'

/** What the kernel has, as far as it is known: the base that the next difference is made from. */
export interface LbState {
  readonly servers: Map<string, VirtualServer>
  readonly elements: CountedElements
  /** The chains that choose, by IP version and name. */
  readonly picks: Readonly<Record<IpFamily, Map<string, Pick>>>
}

/** Chains without use that an audit leaves. */
const keptPicks = 64

/** The state in which exactly `servers` are programmed; the chains of an `earlier` one stay, so that they don't come and go, unless they are many. */
export function makeLbState(servers: readonly VirtualServer[], earlier?: LbState): LbState {
  const kept = (family: IpFamily) => [...(earlier?.picks[family] ?? [])].slice(0, keptPicks)
  const state: LbState = {
    servers: new Map(),
    elements: new Map(),
    picks: { 4: new Map(kept(4)), 6: new Map(kept(6)) },
  }
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
    chains.push(...ensurePick(state, op.server))
    count(op.server, 1)
  }
  return [...chains, ...planTouched(state.elements, touched)]
}

/** The whole table's part, for the audit. */
export function desiredLbTable({ elements, picks }: LbState, ping: VipPing = 'answer'): NftTableSpec {
  const slots = ([4, 6] as const).flatMap((family) => {
    return Array.from({ length: slotCount(picks[family]) }, (_, slot) => ({ family, slot }))
  })
  const sets = [...lbSets, ...slots.map(({ family, slot }) => slotMap(family, slot))]
  return {
    sets: sets.map((set) => ({
      ...set,
      elements: elementsOf(elements, set.name),
    })),
    chains: [
      ...lbChains(ping),
      ...slots.map(({ family, slot }) => slotChain(family, slot)),
      ...([4, 6] as const).flatMap((family) => [...picks[family].values()].map((pick) => pickChain(family, pick))),
    ],
  }
}

/** The chain that chooses for the server, and the slots that it leads to. */
function ensurePick({ picks }: LbState, server: VirtualServer): readonly NftOp[] {
  const family = ipFamily(server.address)
  const { method, size } = sharesOf(server)
  const known = picks[family]
  const name = pickName(family, { method, size })
  if (size === 0 || known.has(name)) return []
  const slots = slotCount(known)
  known.set(name, { method, size })
  const added = Array.from({ length: Math.max(0, size - slots) }, (_, i) => slots + i)
  return [
    ...added.map((slot): NftOp => ({ kind: 'set.add', set: slotMap(family, slot) })),
    ...added.flatMap((slot) => addChain(slotChain(family, slot))),
    ...addChain(pickChain(family, { method, size })),
  ]
}

function slotCount(picks: ReadonlyMap<string, Pick>): number {
  return Math.max(0, ...[...picks.values()].map(({ size }) => size))
}

function addChain({ name, rules }: NftChainSpec): readonly NftOp[] {
  return [{ kind: 'chain.add', chain: name }, ...rules.map((rule): NftOp => ({ kind: 'rule.add', chain: name, rule }))]
}
