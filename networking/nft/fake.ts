import { AppError, unreachable } from '../../core/base/errors.ts'
import { type Nft } from './nft.ts'
import { formatNftTransaction, type NftElement, type NftOp, type NftTransaction } from './ops.ts'
import { elementFields, type NftBase, type NftRule, type NftSet, type NftTable, ruleMark } from './table.ts'

interface FakeChain {
  readonly name: string
  readonly base?: NftBase
  readonly rules: NftRule[]
}

interface FakeSet extends NftSet {
  readonly elements: Map<string, string>
}

interface FakeTable {
  readonly chains: Map<string, FakeChain>
  readonly sets: Map<string, FakeSet>
  handle: number
}

/** An {@link Nft} in memory, with what tests look at. */
export interface FakeNft extends Nft {
  /** The transactions that were applied, in order. */
  readonly applied: readonly NftTransaction[]
}

/** Interprets sets, maps and elements as the kernel does; rules are kept, not run. A failed transaction changes nothing. */
export function openFakeNft(): FakeNft {
  let tables = new Map<string, FakeTable>()
  const applied: NftTransaction[] = []
  const attempt = (transaction: NftTransaction): Map<string, FakeTable> => {
    formatNftTransaction(transaction) // refuses what the real ones refuse
    const next = new Map([...tables].map(([name, table]) => [name, cloneTable(table)]))
    for (const op of transaction.ops) performOp(next, transaction.table, op)
    return next
  }
  return {
    name: 'fake',
    applied,
    apply: async (transaction, { signal }) => {
      signal.throwIfAborted()
      if (transaction.ops.length === 0) return
      tables = attempt(transaction)
      applied.push(transaction)
    },
    check: async (transaction, { signal }) => {
      signal.throwIfAborted()
      attempt(transaction)
    },
    readTable: async (name, { signal }): Promise<NftTable | undefined> => {
      signal.throwIfAborted()
      const table = tables.get(name)
      return table === undefined ? undefined : cloneTable(table)
    },
    close: () => undefined,
  }
}

function cloneTable({ chains, sets, handle }: FakeTable): FakeTable {
  return {
    chains: new Map([...chains].map(([name, chain]) => [name, { ...chain, rules: [...chain.rules] }])),
    sets: new Map([...sets].map(([name, set]) => [name, { ...set, elements: new Map(set.elements) }])),
    handle,
  }
}

function performOp(tables: Map<string, FakeTable>, name: string, op: NftOp): void {
  if (op.kind === 'table.add') {
    if (!tables.has(name)) tables.set(name, { chains: new Map(), sets: new Map(), handle: 1 })
    return
  }
  const table = found(tables.get(name), name)
  switch (op.kind) {
    case 'table.delete':
      tables.delete(name)
      return
    case 'chain.add':
      if (!table.chains.has(op.chain)) {
        table.chains.set(op.chain, { name: op.chain, ...(op.base === undefined ? {} : { base: op.base }), rules: [] })
      }
      return
    case 'chain.flush':
    case 'chain.delete':
    case 'rule.add':
    case 'rule.delete':
      performChainOp(table, op)
      return
    case 'set.add':
    case 'set.flush':
    case 'set.delete':
    case 'element.add':
    case 'element.delete':
      performSetOp(table, op)
      return
    default:
      unreachable(op)
  }
}

type ChainOp = Extract<NftOp, { readonly kind: 'chain.flush' | 'chain.delete' | 'rule.add' | 'rule.delete' }>
type SetOp = Extract<
  NftOp,
  { readonly kind: 'set.add' | 'set.flush' | 'set.delete' | 'element.add' | 'element.delete' }
>

function performChainOp(table: FakeTable, op: ChainOp): void {
  const { rules } = found(table.chains.get(op.chain), op.chain)
  switch (op.kind) {
    case 'chain.flush':
      rules.length = 0
      return
    case 'chain.delete':
      if (rules.length > 0 || isVerdictTarget(table, op.chain)) throw busy(op.chain)
      table.chains.delete(op.chain)
      return
    case 'rule.add':
      rules.push({ handle: ++table.handle, mark: ruleMark(op.rule) })
      return
    case 'rule.delete':
      rules.splice(
        rules.indexOf(
          found(
            rules.find(({ handle }) => handle === op.handle),
            `handle ${op.handle}`,
          ),
        ),
        1,
      )
      return
    default:
      unreachable(op)
  }
}

function performSetOp(table: FakeTable, op: SetOp): void {
  if (op.kind === 'set.add') {
    if (!table.sets.has(op.set.name)) table.sets.set(op.set.name, { ...op.set, elements: new Map() })
    return
  }
  const name = typeof op.set === 'string' ? op.set : op.set.name
  const set = found(table.sets.get(name), name)
  switch (op.kind) {
    case 'set.flush':
      set.elements.clear()
      return
    case 'set.delete':
      table.sets.delete(name)
      return
    case 'element.add':
      for (const element of op.elements) addElement(table, set, element)
      return
    case 'element.delete':
      for (const { key } of op.elements) {
        if (!set.elements.delete(key)) throw notFound(key)
      }
      return
    default:
      unreachable(op)
  }
}

function addElement(table: FakeTable, set: FakeSet, element: NftElement): void {
  const { key, value = '' } = element
  const present = set.elements.get(key)
  if (present !== undefined && present !== value) {
    throw new AppError('ERR_NFT_EXISTS', `fake nft: ${set.name} has ${key} : ${present} already`)
  }
  if (elementFields(key).length !== set.key.length) {
    throw new AppError('ERR_NFT_SYNTAX', `fake nft: ${set.name} has keys of ${set.key.length} fields, not ${key}`)
  }
  const target = /^(?:goto|jump) (.+)$/.exec(value)?.[1]
  if (target !== undefined) found(table.chains.get(target), target)
  set.elements.set(key, value)
}

function isVerdictTarget({ sets }: FakeTable, chain: string): boolean {
  for (const { elements } of sets.values()) {
    for (const value of elements.values()) if (value === `goto ${chain}` || value === `jump ${chain}`) return true
  }
  return false
}

function found<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw notFound(name)
  return value
}

function notFound(name: string): AppError {
  return new AppError('ERR_NFT_NOT_FOUND', `fake nft: there is no ${name}`)
}

function busy(name: string): AppError {
  return new AppError('ERR_NFT_BUSY', `fake nft: ${name} has rules, or something leads to it`)
}
