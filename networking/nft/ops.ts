import { AppError, unreachable } from '../../core/base/errors.ts'
import { type NftBase, type NftRuleSpec, type NftSetDefinition, ruleMark } from './table.ts'

/** An element: key text, and value text for a map. */
export interface NftElement {
  readonly key: string
  readonly value?: string
}

/** Which set or map: nft refuses `flush set` for a map. */
export type NftSetName = Pick<NftSetDefinition, 'name' | 'kind'>

/** A step of a transaction; the table is the transaction's. `add` of what is there is done already, except for a rule. */
export type NftOp =
  | { readonly kind: 'table.add' }
  | { readonly kind: 'table.delete' }
  | { readonly kind: 'chain.add'; readonly chain: string; readonly base?: NftBase }
  | { readonly kind: 'chain.flush'; readonly chain: string }
  | { readonly kind: 'chain.delete'; readonly chain: string }
  | { readonly kind: 'rule.add'; readonly chain: string; readonly rule: NftRuleSpec }
  | { readonly kind: 'rule.delete'; readonly chain: string; readonly handle: number }
  | { readonly kind: 'set.add'; readonly set: NftSetDefinition }
  | { readonly kind: 'set.flush'; readonly set: NftSetName }
  | { readonly kind: 'set.delete'; readonly set: NftSetName }
  | { readonly kind: 'element.add'; readonly set: string; readonly elements: readonly NftElement[] }
  | { readonly kind: 'element.delete'; readonly set: string; readonly elements: readonly NftElement[] }

/** Ops on one table of family inet; the kernel takes all of them or none. */
export interface NftTransaction {
  readonly table: string
  readonly ops: readonly NftOp[]
}

/** How {@link formatNftOp} prints: `shown` elements at most, the rest as a number (absent: all, as nft needs it). */
export interface NftFormatOptions {
  readonly shown?: number
}

/**
 * The transaction in nft's syntax, one command a line, for `nft -f -` and for libnftables.
 * @throws ERR_NFT_TEXT when a name, key or rule holds what could end its command
 */
export function formatNftTransaction({ table, ops }: NftTransaction): string {
  return ops.map((op) => `${formatNftOp(table, op)}\n`).join('')
}

/** One op as an operator would type it after `nft`. @throws ERR_NFT_TEXT */
export function formatNftOp(table: string, op: NftOp, options: NftFormatOptions = {}): string {
  const here = `inet ${checked(table, namePattern)}`
  switch (op.kind) {
    case 'table.add':
      return `add table ${here}`
    case 'table.delete':
      return `delete table ${here}`
    case 'chain.add':
      return `add chain ${here} ${checked(op.chain, namePattern)}${formatBase(op.base)}`
    case 'chain.flush':
      return `flush chain ${here} ${checked(op.chain, namePattern)}`
    case 'chain.delete':
      return `delete chain ${here} ${checked(op.chain, namePattern)}`
    case 'rule.add':
      return `add rule ${here} ${checked(op.chain, namePattern)} ${formatRule(op.rule)}`
    case 'rule.delete':
      return `delete rule ${here} ${checked(op.chain, namePattern)} handle ${op.handle}`
    case 'set.add':
      return `add ${op.set.kind} ${here} ${checked(op.set.name, namePattern)} { ${formatType(op.set)} }`
    case 'set.flush':
      return `flush ${op.set.kind} ${here} ${checked(op.set.name, namePattern)}`
    case 'set.delete':
      return `delete ${op.set.kind} ${here} ${checked(op.set.name, namePattern)}`
    case 'element.add':
      return `add element ${here} ${formatElements(op, options)}`
    case 'element.delete':
      return `delete element ${here} ${formatElements(op, options)}`
    default:
      return unreachable(op)
  }
}

/** How many kernel objects the transaction touches: what its cost grows with. */
export function nftTransactionSize({ ops }: NftTransaction): number {
  let size = 0
  for (const op of ops) size += 'elements' in op ? op.elements.length : 1
  return size
}

const namePattern = /^[a-zA-Z_][\w.-]*$/
const elementPattern = /^[\w.:/ -]+$/
const rulePattern = /^[^\n\r;]+$/

function checked(text: string, pattern: RegExp): string {
  if (!pattern.test(text)) throw new AppError('ERR_NFT_TEXT', `${JSON.stringify(text)} can't be part of an nft command`)
  return text
}

function formatBase(base: NftBase | undefined): string {
  if (base === undefined) return ''
  return ` { type ${base.type} hook ${base.hook} priority ${base.priority} ; policy accept ; }`
}

function formatRule(rule: NftRuleSpec): string {
  return `${checked(rule.text, rulePattern)} comment "${checked(ruleMark(rule), elementPattern)}"`
}

function formatType(set: NftSetDefinition): string {
  const value = set.value.length === 0 ? '' : ` : ${set.value.join(' . ')}`
  return `type ${checked(`${set.key.join(' . ')}${value}`, elementPattern)} ;${set.interval ? ' flags interval ;' : ''}`
}

function formatElements(
  { set, elements }: { readonly set: string; readonly elements: readonly NftElement[] },
  { shown = elements.length }: NftFormatOptions,
): string {
  const texts = elements.slice(0, shown).map(({ key, value }) => {
    const text = checked(key, elementPattern)
    return value === undefined || value === '' ? text : `${text} : ${checked(value, elementPattern)}`
  })
  if (shown < elements.length) texts.push(`… ${elements.length - shown} more`)
  return `${checked(set, namePattern)} { ${texts.join(', ')} }`
}
