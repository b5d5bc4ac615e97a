/**
 * What a table of family inet holds, as data: what a plan compares, and what a reader returns. A rule's body stays text in
 * nft's syntax (nft(8), "RULES"): a model of every expression would be larger than all that uses it.
 */

/** Where a base chain hooks in. `priority` is the number, as the kernel orders it: nft(8), "CHAINS". */
export interface NftBase {
  readonly type: 'filter' | 'nat' | 'route'
  readonly hook: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting'
  readonly priority: number
}

/** A rule as we make it. `name` shows in `nft list` and tells a counter's meaning; `text` has no comment. */
export interface NftRuleSpec {
  readonly name: string
  readonly text: string
}

/** A rule as the kernel has it: recognised by its mark, see {@link ruleMark}. */
export interface NftRule {
  readonly handle: number
  /** The comment; empty for a rule that is not ours. */
  readonly mark: string
  /** Of the rule's first counter, when it has one. */
  readonly packets?: number
  readonly bytes?: number
}

/** A chain as we make it. */
export interface NftChainSpec {
  readonly name: string
  /** Absent: a chain that is only jumped to. */
  readonly base?: NftBase
  readonly rules: readonly NftRuleSpec[]
}

/** A chain as the kernel has it. */
export interface NftChain {
  readonly name: string
  readonly base?: NftBase
  readonly rules: readonly NftRule[]
}

/** Definition of a set or map, without its elements. */
export interface NftSetDefinition {
  readonly name: string
  readonly kind: 'set' | 'map'
  /** Key types: `['ipv4_addr', 'inet_service']`. */
  readonly key: readonly string[]
  /** Value types of a map; `['verdict']` for a verdict map; empty for a set. */
  readonly value: readonly string[]
  readonly interval: boolean
}

/** A set or map with its elements: key text → value text (empty for a set). Texts are canonical: {@link elementKey}. */
export interface NftSet extends NftSetDefinition {
  readonly elements: ReadonlyMap<string, string>
}

/** What we want of a table: only the objects of one owner, told by the prefix of their names. */
export interface NftTableSpec {
  readonly chains: readonly NftChainSpec[]
  readonly sets: readonly NftSet[]
}

/** A table as it is. */
export interface NftTable {
  readonly chains: ReadonlyMap<string, NftChain>
  readonly sets: ReadonlyMap<string, NftSet>
}

/** The text of a key or value of several fields, as nft writes a concatenation: `10.0.0.1 . tcp . 80`. */
export function elementKey(...fields: readonly (string | number)[]): string {
  return fields.join(' . ')
}

/** The fields of an element's key or value: the inverse of {@link elementKey}. */
export function elementFields(key: string): readonly string[] {
  return key.split(' . ')
}

/**
 * The comment that a rule carries: its name and a hash of its text. Comparing it finds rules that are missing, foreign, or
 * left by a version of Weft whose text differed, without modelling what `nft -j` makes of each expression.
 */
export function ruleMark({ name, text }: NftRuleSpec): string {
  let hash = 0x811c9dc5 // FNV-1a, 32 bits: this is no secret, only a difference
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return `${name} ${(hash >>> 0).toString(16).padStart(8, '0')}`
}
