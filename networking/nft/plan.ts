import { type NftElement, type NftOp } from './ops.ts'
import {
  type NftChain,
  type NftChainSpec,
  type NftSet,
  type NftSetDefinition,
  type NftTable,
  type NftTableSpec,
  ruleMark,
} from './table.ts'

/** What to compare. */
export interface NftPlanInput {
  /** Prefix of the names that are the caller's: objects of other owners in the table are not looked at. */
  readonly owner: string
  readonly desired: NftTableSpec
  /** Absent: there is no table. */
  readonly actual: NftTable | undefined
}

/**
 * What makes the owner's objects as wanted, in one transaction. Empty when nothing differs. Order: sets before the rules
 * that look in them, chains before the verdicts that lead to them (and before sets: nft 1.0.6 sends the elements of an
 * interval map together with the map, wherever they are in the transaction), elements that lead to a chain go before the chain,
 * rules that look in a set go before the set. Where the shape of a set or the hook of a chain differs (an earlier version
 * of Weft made it), all of the owner's objects are made anew, still in the same transaction.
 */
export function planNftTable({ owner, desired, actual }: NftPlanInput): readonly NftOp[] {
  if (actual === undefined) return [{ kind: 'table.add' }, ...planOwned(desired, emptyTable)]
  const owned = ownedPart(actual, owner)
  if (hasShape(owned, desired)) return planOwned(desired, owned)
  return [...planWipe(owned), ...planOwned(desired, emptyTable)]
}

/** What removes all objects of the owner, and nothing else, from the table. */
export function planNftWipe(actual: NftTable, owner: string): readonly NftOp[] {
  return planWipe(ownedPart(actual, owner))
}

/** What leads from some elements of one set to others: deletions first, so that a key may get another value. */
export function planElements(
  set: string,
  desired: ReadonlyMap<string, string>,
  actual: ReadonlyMap<string, string>,
): readonly NftOp[] {
  if (desired === actual) return []
  const added: NftElement[] = []
  const deleted: NftElement[] = []
  for (const [key, value] of actual) if (desired.get(key) !== value) deleted.push({ key })
  for (const [key, value] of desired) if (actual.get(key) !== value) added.push({ key, value })
  return [
    ...(deleted.length === 0 ? [] : [{ kind: 'element.delete', set, elements: deleted } as const]),
    ...(added.length === 0 ? [] : [{ kind: 'element.add', set, elements: added } as const]),
  ]
}

const emptyTable: NftTable = { chains: new Map(), sets: new Map() }
const noElements: ReadonlyMap<string, string> = new Map()

function ownedPart({ chains, sets }: NftTable, owner: string): NftTable {
  return {
    chains: new Map([...chains].filter(([name]) => name.startsWith(owner))),
    sets: new Map([...sets].filter(([name]) => name.startsWith(owner))),
  }
}

function hasShape(actual: NftTable, desired: NftTableSpec): boolean {
  return (
    desired.sets.every((set) => sameDefinition(set, actual.sets.get(set.name) ?? set)) &&
    desired.chains.every((chain) => sameBase(chain, actual.chains.get(chain.name) ?? chain))
  )
}

function sameDefinition(a: NftSetDefinition, b: NftSetDefinition): boolean {
  const shape = ({ kind, key, value, interval }: NftSetDefinition) => JSON.stringify([kind, key, value, interval])
  return shape(a) === shape(b)
}

function sameBase({ base: a }: Pick<NftChain, 'base'>, { base: b }: Pick<NftChain, 'base'>): boolean {
  return a?.type === b?.type && a?.hook === b?.hook && a?.priority === b?.priority
}

function planOwned(desired: NftTableSpec, actual: NftTable): readonly NftOp[] {
  const sets = new Set(desired.sets.map(({ name }) => name))
  const chains = new Set(desired.chains.map(({ name }) => name))
  const leftSets = [...actual.sets.values()].filter(({ name }) => !sets.has(name))
  const leftChains = [...actual.chains.keys()].filter((name) => !chains.has(name))
  return [
    ...desired.chains.flatMap((chain) => (actual.chains.has(chain.name) ? [] : [addChain(chain)])),
    ...desired.sets.flatMap((set): NftOp[] => (actual.sets.has(set.name) ? [] : [{ kind: 'set.add', set }])),
    ...desired.chains.flatMap((chain) => planRules(chain, actual.chains.get(chain.name))),
    ...desired.sets.flatMap((set) => planSet(set, actual.sets.get(set.name))),
    ...leftChains.map((chain): NftOp => ({ kind: 'chain.flush', chain })),
    ...leftSets.map((set): NftOp => ({ kind: 'set.flush', set })),
    ...leftSets.map((set): NftOp => ({ kind: 'set.delete', set })),
    ...leftChains.map((chain): NftOp => ({ kind: 'chain.delete', chain })),
  ]
}

function planSet(set: NftSet, actual: NftSet | undefined): readonly NftOp[] {
  return planElements(set.name, set.elements, actual?.elements ?? noElements)
}

function addChain({ name, base }: NftChainSpec): NftOp {
  return base === undefined ? { kind: 'chain.add', chain: name } : { kind: 'chain.add', chain: name, base }
}

/** A chain with any difference is filled anew: its rules are few, and their order counts. */
function planRules({ name, rules }: NftChainSpec, actual: NftChain | undefined): readonly NftOp[] {
  const present = actual?.rules ?? []
  const same = rules.length === present.length && rules.every((rule, i) => ruleMark(rule) === present[i]?.mark)
  if (same) return []
  const flush: readonly NftOp[] = present.length === 0 ? [] : [{ kind: 'chain.flush', chain: name }]
  return [...flush, ...rules.map((rule): NftOp => ({ kind: 'rule.add', chain: name, rule }))]
}

function planWipe({ chains, sets }: NftTable): readonly NftOp[] {
  return [
    ...[...chains.keys()].map((chain): NftOp => ({ kind: 'chain.flush', chain })),
    ...[...sets.values()].map((set): NftOp => ({ kind: 'set.flush', set })),
    ...[...sets.values()].map((set): NftOp => ({ kind: 'set.delete', set })),
    ...[...chains.keys()].map((chain): NftOp => ({ kind: 'chain.delete', chain })),
  ]
}
