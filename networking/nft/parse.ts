import { isIPv6 } from 'node:net'
import { AppError } from '../../core/base/errors.ts'
import { parseIp } from '../../core/base/ip.ts'
import { type NftBase, type NftChain, type NftRule, type NftSet, type NftTable } from './table.ts'

type Json = Readonly<Record<string, unknown>>

/**
 * `nft -j list table` → a table. Objects of kinds that we don't use (flowtables, counters) are passed over; rules keep
 * only handle, comment and counter. Source: libnftables-json(5).
 * @throws ERR_NFT_JSON when it is not what that manual describes
 */
export function parseNftTable(text: string): NftTable {
  const chains = new Map<string, NftChain & { rules: NftRule[] }>()
  const sets = new Map<string, NftSet>()
  for (const item of asArray(asObject(parseJson(text))['nftables'])) {
    const { chain, rule, set, map } = asObject(item)
    if (chain !== undefined) {
      const parsed = parseChain(asObject(chain))
      chains.set(parsed.name, parsed)
    } else if (rule !== undefined) {
      const body = asObject(rule)
      chains.get(asString(body['chain']))?.rules.push(parseRule(body)) // chains are listed before rules
    } else if (set !== undefined || map !== undefined) {
      const parsed = parseSet(asObject(set ?? map), map === undefined ? 'set' : 'map')
      sets.set(parsed.name, parsed)
    }
  }
  return { chains, sets }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new AppError('ERR_NFT_JSON', 'nft -j printed something that is not JSON', { cause })
  }
}

function parseChain(chain: Json): NftChain & { rules: NftRule[] } {
  const name = asString(chain['name'])
  if (chain['hook'] === undefined) return { name, rules: [] }
  const base: NftBase = {
    type: oneOf(chain['type'], ['filter', 'nat', 'route'] as const),
    hook: oneOf(chain['hook'], ['prerouting', 'input', 'forward', 'output', 'postrouting'] as const),
    priority: asNumber(chain['prio']),
  }
  return { name, base, rules: [] }
}

function parseRule(rule: Json): NftRule {
  const handle = asNumber(rule['handle'])
  const mark = rule['comment'] === undefined ? '' : asString(rule['comment'])
  for (const statement of asArray(rule['expr'])) {
    const counter = isObject(statement) ? statement['counter'] : undefined
    if (isObject(counter)) {
      return { handle, mark, packets: asNumber(counter['packets']), bytes: asNumber(counter['bytes']) }
    }
  }
  return { handle, mark }
}

function parseSet(set: Json, kind: 'set' | 'map'): NftSet {
  const elements = new Map<string, string>()
  for (const element of set['elem'] === undefined ? [] : asArray(set['elem'])) {
    if (kind === 'set') {
      elements.set(formatValue(element), '')
    } else {
      const [key, value] = asArray(element)
      elements.set(formatValue(key), formatValue(value))
    }
  }
  const flags = set['flags'] === undefined ? [] : asArray(set['flags'])
  return {
    name: asString(set['name']),
    kind,
    key: parseTypes(set['type']),
    value: kind === 'map' ? parseTypes(set['map']) : [],
    interval: flags.includes('interval'),
    elements,
  }
}

/** nft prints a concatenation's types as an array for keys, and as `a . b` for values. */
function parseTypes(types: unknown): readonly string[] {
  return typeof types === 'string' ? types.split(' . ') : asArray(types).map(asString)
}

function formatValue(value: unknown): string {
  if (typeof value === 'number') return String(value)
  if (typeof value === 'string') return isIPv6(value) ? parseIp(value) : value // a MAC or a classid has ":" too
  const object = asObject(value)
  if ('concat' in object) return asArray(object['concat']).map(formatValue).join(' . ')
  if ('elem' in object) return formatValue(asObject(object['elem'])['val'])
  if ('range' in object) return asArray(object['range']).map(formatValue).join('-')
  if ('prefix' in object) {
    const { addr, len } = asObject(object['prefix'])
    return `${formatValue(addr)}/${asNumber(len)}`
  }
  return formatVerdict(object)
}

function formatVerdict(verdict: Json): string {
  const [kind = '', argument] = Object.entries(verdict)[0] ?? []
  return isObject(argument) ? `${kind} ${asString(argument['target'])}` : kind
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function asObject(value: unknown): Json {
  return isObject(value) ? value : unlike('an object', value)
}

function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : unlike('an array', value)
}

function asString(value: unknown): string {
  return typeof value === 'string' ? value : unlike('a string', value)
}

function asNumber(value: unknown): number {
  return typeof value === 'number' ? value : unlike('a number', value)
}

function oneOf<const T extends string>(value: unknown, allowed: readonly T[]): T {
  return allowed.find((one) => one === value) ?? unlike(allowed.join(' or '), value)
}

function unlike(wanted: string, value: unknown): never {
  throw new AppError('ERR_NFT_JSON', `nft -j: ${JSON.stringify(value)?.slice(0, 80)} where ${wanted} belongs`)
}
