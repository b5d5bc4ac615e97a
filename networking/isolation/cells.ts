import { comparePolicies, formatSelector, type Policy, type Selector } from '../../core/model/policy.ts'
import { type GroupId, type Groups } from './groups.ts'

/** The group of any destination, in the key of a cell. */
export const anyDestination: GroupId = 0xffff

/**
 * What is asked for a pair of groups: the policies that speak of it, in order, up to one that speaks of every packet.
 * `destination` {@link anyDestination}: of pairs without a cell of their own, those of this source; `source` 0: those of
 * this destination.
 */
export interface Cell {
  readonly destination: GroupId
  readonly source: GroupId
  readonly policies: readonly Policy[]
}

/** All pairs of groups that policies speak of. */
export interface Cells {
  readonly cells: readonly Cell[]
  /** What is asked for pairs that no cell is for: policies from `any` to `any`. */
  readonly rest: readonly Policy[]
}

/**
 * Finds for each pair of groups the policies that may match, so that a packet's cost does not grow with their number. A
 * policy with `any` at one end is in the cells of that row or column only where other policies are too.
 */
export function findCells(policies: Iterable<Policy>, { members }: Groups): Cells {
  const ordered = [...policies].toSorted(comparePolicies)
  const pairs = new Map<number, Set<number>>()
  const columns = new Map<GroupId, Set<number>>()
  const rows = new Map<GroupId, Set<number>>()
  const rest = new Set<number>()
  const groupsOf = (selector: Selector) => members.get(formatSelector(selector)) ?? []
  const enterPairs = (from: Selector, to: Selector, index: number) => {
    const sources = groupsOf(from)
    for (const destination of groupsOf(to)) {
      for (const source of sources) put(pairs, pairKey(destination, source), index)
    }
  }
  const enter = (from: Selector, to: Selector, index: number) => {
    if (from.kind !== 'any' && to.kind !== 'any') enterPairs(from, to, index)
    else if (to.kind !== 'any') for (const group of groupsOf(to)) put(columns, group, index)
    else if (from.kind !== 'any') for (const group of groupsOf(from)) put(rows, group, index)
    else rest.add(index)
  }
  for (const [index, { from, to, direction }] of ordered.entries()) {
    enter(from, to, index)
    if (direction === 'both') enter(to, from, index)
  }
  for (const destination of columns.keys()) {
    for (const source of rows.keys()) {
      const key = pairKey(destination, source)
      if (!pairs.has(key)) pairs.set(key, new Set())
    }
  }
  const merged = (...sets: readonly (ReadonlySet<number> | undefined)[]) => pick(ordered, [...sets, rest])
  const cell = (destination: GroupId, source: GroupId, policies: readonly Policy[]): Cell => ({
    destination,
    source,
    policies,
  })
  return {
    cells: [
      ...[...pairs].map(([key, own]) => {
        const [destination, source] = [Math.floor(key / width), key % width]
        return cell(destination, source, merged(own, columns.get(destination), rows.get(source)))
      }),
      ...[...columns].map(([destination, own]) => cell(destination, 0, merged(own))),
      ...[...rows].map(([source, own]) => cell(anyDestination, source, merged(own))),
    ],
    rest: merged(),
  }
}

const width = 0x10000

function pairKey(destination: GroupId, source: GroupId): number {
  return destination * width + source
}

function put<K>(map: Map<K, Set<number>>, key: K, index: number): void {
  const present = map.get(key)
  if (present === undefined) map.set(key, new Set([index]))
  else present.add(index)
}

function pick(ordered: readonly Policy[], sets: readonly (ReadonlySet<number> | undefined)[]): readonly Policy[] {
  const indexes = new Set(sets.flatMap((set) => (set === undefined ? [] : [...set])))
  const found = [...indexes].toSorted((a, b) => a - b).flatMap((index) => ordered[index] ?? [])
  const last = found.findIndex(isCatchAll)
  return last < 0 ? found : found.slice(0, last + 1)
}

/** Speaks of every packet of its pair: what comes after it is never asked. */
export function isCatchAll({ protocol, ports }: Policy): boolean {
  return protocol === 'any' && ports.length === 0
}
