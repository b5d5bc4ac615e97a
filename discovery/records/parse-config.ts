import { parseCidr } from '../../core/base/cidr.ts'
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { parseIp } from '../../core/base/ip.ts'
import { type Name, nameOfLabels, labelsOf, parseName } from '../dns/name.ts'
import {
  type AliasZone,
  type Audience,
  type IpSource,
  ipSources,
  type NamesConfig,
  type RateLimitConfig,
} from './config.ts'

type Json = Readonly<Record<string, unknown>>
type Parse = (value: unknown) => unknown

/** Keys of the file and what each must be. */
const keys: Readonly<Record<string, { readonly field: keyof NamesConfig; readonly parse: Parse }>> = {
  domain: { field: 'domain', parse: (value) => parseName(text(value).toLowerCase()) },
  labels: { field: 'labels', parse: oneOf(['rfc1123', 'rfc952']) },
  ttlSeconds: { field: 'ttlSeconds', parse: seconds },
  tcpConnections: { field: 'tcpConnections', parse: connections },
  tcpIdleSeconds: { field: 'tcpIdleSeconds', parse: seconds },
  negativeTtlSeconds: { field: 'negativeTtlSeconds', parse: seconds },
  nameServers: { field: 'nameServers', parse: listOf((value) => parseIp(text(value))) },
  reversePrefixes: { field: 'reversePrefixes', parse: listOf((value) => parseCidr(text(value))) },
  ipSources: { field: 'ipSources', parse: listOf(oneOf<IpSource>(ipSources)) },
  audience: { field: 'audience', parse: oneOf<Audience>(['framework', 'cluster', 'external']) },
  unhealthy: { field: 'unhealthy', parse: oneOf(['hidden', 'served']) },
  zones: { field: 'aliasZones', parse: aliasZones },
  clusterKey: { field: 'clusterKey', parse: clusterKey },
  transfersTo: { field: 'transfersTo', parse: listOf((value) => parseCidr(text(value))) },
  versionText: { field: 'versionText', parse: text },
  queryLog: { field: 'queryLog', parse: oneOf(['off', 'on']) },
  rateLimit: { field: 'rateLimit', parse: rateLimitOf },
}

/**
 * Parses the JSON of a names configuration file. `zones` is as in dcos-net:
 * `{"component.thisdcos.directory": [{"type": "cname", "name": "registry", "value": "registry.marathon.l4lb.…"}]}`.
 * @throws ERR_NAMES_CONFIG naming the key that is unknown or wrong
 */
export function parseNamesConfig(json: string): Partial<NamesConfig> {
  const value = parseJson(json)
  const entries = Object.entries(value).map(([key, given]) => {
    const known = keys[key]
    if (known === undefined) throw wrong(`unknown key "${key}"; there are ${Object.keys(keys).join(', ')}`)
    try {
      return [known.field, known.parse(given)] as const
    } catch (cause) {
      throw wrong(`${key}: ${errorMessage(cause)}`, cause)
    }
  })
  return Object.fromEntries(entries)
}

function parseJson(json: string): Json {
  try {
    return object(JSON.parse(json))
  } catch (cause) {
    throw wrong(`no JSON object: ${errorMessage(cause)}`, cause)
  }
}

function wrong(message: string, cause?: unknown): AppError {
  return new AppError('ERR_NAMES_CONFIG', `names configuration: ${message}`, cause === undefined ? {} : { cause })
}

function object(value: unknown): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong('an object is needed')
  return value as Json // checked in the line before
}

function text(value: unknown): string {
  if (typeof value !== 'string' || value === '') throw wrong('a text is needed')
  return value
}

/** Least and most of each key of `rateLimit`. */
const rateRanges: Readonly<Record<string, readonly [number, number]>> = {
  responsesPerSecond: [1, 1_000_000],
  burst: [1, 1_000_000],
  slip: [0, 10],
  ipv4PrefixLength: [1, 32],
  ipv6PrefixLength: [1, 128],
}

function rateLimitOf(value: unknown): RateLimitConfig {
  const given = object(value)
  for (const [key, number] of Object.entries(given)) {
    const [least, most] = rateRanges[key] ?? [Number.NaN, Number.NaN]
    if (!(Number.isInteger(number) && Number(number) >= least && Number(number) <= most)) {
      throw wrong(`"${key}": there are ${Object.keys(rateRanges).join(', ')}, whole numbers in their ranges`)
    }
  }
  const { responsesPerSecond } = given
  if (typeof responsesPerSecond !== 'number') throw wrong('responsesPerSecond is missing')
  return { ...given, responsesPerSecond }
}

function connections(value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > 1_000_000)
    throw wrong('a whole number from 1 to 1000000 is needed')
  return value
}

function seconds(value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > 86_400)
    throw wrong('a whole number from 0 to 86400 is needed')
  return value
}

function oneOf<Value extends string>(values: readonly Value[]): (value: unknown) => Value {
  return (value) => {
    const found = values.find((known) => known === value)
    if (found === undefined) throw wrong(`${JSON.stringify(value)} is none of ${values.join(', ')}`)
    return found
  }
}

function listOf<Item>(parse: (value: unknown) => Item): (value: unknown) => readonly Item[] {
  return (value) => {
    if (!Array.isArray(value)) throw wrong('a list is needed')
    return value.map(parse)
  }
}

/** 256 bits in zbase32. */
function clusterKey(value: unknown): string {
  if (!/^[ybndrfg8ejkmcpqxot1uwisza345h769]{52}$/.test(text(value))) throw wrong('52 characters of zbase32 are needed')
  return text(value)
}

function aliasZones(value: unknown): readonly AliasZone[] {
  return Object.entries(object(value)).map(([zone, list]) => {
    const apex = parseName(zone)
    return { apex, aliases: listOf((entry) => alias(apex, object(entry)))(list) }
  })
}

function alias(apex: Name, entry: Json): AliasZone['aliases'][number] {
  if (text(entry['type']).toLowerCase() !== 'cname') throw wrong(`type "${entry['type']}" is not cname`)
  const owner = nameOfLabels([...labelsOf(parseName(text(entry['name']))), ...labelsOf(apex)])
  return { owner, target: parseName(text(entry['value'])) }
}
