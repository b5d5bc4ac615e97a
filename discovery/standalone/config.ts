import { AppError, errorMessage } from '../../core/base/errors.ts'
import { type Ip, parseIp } from '../../core/base/ip.ts'
import { nameOfLabels, labelsOf, parseName } from '../dns/name.ts'
import { parseUpstream, type Upstream } from '../proxy/config.ts'
import { type IpSource, ipSources, type NamesConfig } from '../records/config.ts'
import { parseNamesConfig } from '../records/parse-config.ts'
import { type Json, listOf, objectOf, textOf } from './json.ts'

/** What a stand-alone server is run with: Mesos-DNS's configuration file. */
export interface StandaloneConfig {
  readonly names: Partial<NamesConfig>
  /** `host:port`. */
  readonly masters: readonly string[]
  /** `zk://host:port,…/folder`, where the leader is found; empty: nowhere. */
  readonly zk: string
  readonly refreshSeconds: number
  readonly stateTimeoutSeconds: number
  readonly listener: Ip
  readonly port: number
  readonly httpPort: number
  readonly dns: 'on' | 'off'
  readonly http: 'on' | 'off'
  readonly enumeration: 'on' | 'off'
  /** Resolvers of other names; none: refused. */
  readonly resolvers: readonly Upstream[]
  readonly zoneResolvers: Readonly<Record<string, readonly Upstream[]>>
  readonly credentials?: { readonly principal: string; readonly secret: string }
  /** What `/v1/config` tells. Secrets are left out. */
  readonly shown: Json
  /** Keys that mean nothing here, for the log. */
  readonly warnings: readonly string[]
}

/** Mesos-DNS's defaults, by its keys. Source: reference/mesos-dns.md, Configuration and defaults. */
const defaults = {
  Zk: '',
  Masters: [],
  RefreshSeconds: 60,
  TTL: 60,
  StateTimeoutSeconds: 300,
  SRVRecordDefaultWeight: 1,
  Domain: 'mesos',
  Port: 53,
  Timeout: 5,
  SOAMname: 'ns1.mesos',
  SOARname: 'root.ns1.mesos',
  SOARefresh: 60,
  SOARetry: 600,
  SOAExpire: 86_400,
  SOAMinttl: 60,
  Resolvers: [],
  ZoneResolvers: {},
  Listener: '0.0.0.0',
  HttpPort: 8123,
  DnsOn: true,
  HttpOn: true,
  ExternalOn: true,
  RecurseOn: true,
  SetTruncateBit: true,
  EnumerationOn: true,
  EnforceRFC952: false,
  IPSources: ['netinfo', 'mesos', 'host'],
  MesosAuthentication: '',
  MesosCredentials: {},
  Weft: {},
} as const

type Key = keyof typeof defaults
type Values = Readonly<Record<Key, unknown>>

/** Keys of Mesos-DNS that are taken and do nothing, and why. */
const idle: Readonly<Record<string, string>> = {
  zkdetectiontimeout: 'the leader is waited for without end',
  mesoshttpson: 'write https:// in --mesos',
  cacertfile: 'set NODE_EXTRA_CA_CERTS',
  certfile: 'client certificates are not sent',
  keyfile: 'client certificates are not sent',
  iamconfigfile: 'IAM is not supported',
  file: 'it is no setting',
  soaserial: 'the serial counts changes',
  timeoutseconds: 'upstreams have limits of their own',
}

/**
 * Parses a configuration file of Mesos-DNS; keys in any case; `weft` holds settings of parse-config.ts. Without a file the
 * names live as shortly as elsewhere in Weft.
 * @throws ERR_STANDALONE_CONFIG naming the key that is wrong
 */
export function parseStandaloneConfig(json: string | undefined): StandaloneConfig {
  const given = json === undefined ? {} : parseJson(json)
  const keys = new Map(Object.keys(defaults).map((key) => [key.toLowerCase(), key]))
  const known = Object.entries(given).flatMap(([key, value]) => {
    const name = keys.get(key.toLowerCase())
    return name === undefined ? [] : [[name, value] as const]
  })
  const strange = Object.keys(given).filter((key) => !keys.has(key.toLowerCase()))
  const warnings = strange.map((key) => `"${key}" does nothing: ${idle[key.toLowerCase()] ?? 'no such setting'}`)
  const base = json === undefined ? { ...defaults, TTL: 5, SOAMinttl: 1 } : defaults
  const values: Values = { ...base, ...Object.fromEntries(known) }
  return { ...settings(values), warnings }
}

function parseJson(json: string): Json {
  try {
    return objectOf(JSON.parse(json))
  } catch (cause) {
    throw new AppError('ERR_STANDALONE_CONFIG', `the configuration is no JSON: ${errorMessage(cause)}`, { cause })
  }
}

function settings(values: Values): Omit<StandaloneConfig, 'warnings'> {
  const { MesosCredentials: credentials, Weft: _, ...shown } = values
  const { principal, secret } = objectOf(credentials)
  const basic = textOf(values.MesosAuthentication) === 'basic'
  const upstreams = (value: unknown) => listOf(value).map((one) => parseUpstream(textOf(one)))
  return {
    names: namesOf(values),
    masters: texts(values, 'Masters'),
    zk: textOf(values.Zk),
    refreshSeconds: number(values, 'RefreshSeconds', 1, 86_400),
    stateTimeoutSeconds: number(values, 'StateTimeoutSeconds', 1, 86_400),
    listener: attempt('Listener', () => parseIp(textOf(values.Listener))),
    port: number(values, 'Port', 1, 65_535),
    httpPort: number(values, 'HttpPort', 1, 65_535),
    dns: onOff(values, 'DnsOn'),
    http: onOff(values, 'HttpOn'),
    enumeration: onOff(values, 'EnumerationOn'),
    resolvers: onOff(values, 'ExternalOn') === 'off' ? [] : attempt('Resolvers', () => upstreams(values.Resolvers)),
    zoneResolvers: attempt('ZoneResolvers', () =>
      Object.fromEntries(Object.entries(objectOf(values.ZoneResolvers)).map(([zone, list]) => [zone, upstreams(list)])),
    ),
    ...(basic ? { credentials: { principal: textOf(principal), secret: textOf(secret) } } : {}),
    shown,
  }
}

function namesOf(values: Values): Partial<NamesConfig> {
  const name = (key: Key) => attempt(key, () => parseName(textOf(values[key]).toLowerCase()))
  const domain = name('Domain')
  // The defaults belong to the domain that is served.
  const own = (key: 'SOAMname' | 'SOARname') => {
    if (values[key] !== defaults[key]) return attempt(key, () => parseName(textOf(values[key]).replace('@', '.')))
    return nameOfLabels([...labelsOf(parseName(defaults[key])).slice(0, -1), ...labelsOf(domain)])
  }
  return {
    domain,
    labels: onOff(values, 'EnforceRFC952') === 'on' ? 'rfc952' : 'rfc1123',
    ttlSeconds: number(values, 'TTL', 0, 86_400),
    negativeTtlSeconds: number(values, 'SOAMinttl', 0, 86_400),
    serviceWeight: number(values, 'SRVRecordDefaultWeight', 0, 65_535),
    ipSources: texts(values, 'IPSources').map(parseIpSource),
    content: 'mesos-dns',
    reversePrefixes: [],
    soa: {
      mname: own('SOAMname'),
      rname: own('SOARname'),
      refreshSeconds: number(values, 'SOARefresh', 0, 2 ** 31),
      retrySeconds: number(values, 'SOARetry', 0, 2 ** 31),
      expireSeconds: number(values, 'SOAExpire', 0, 2 ** 31),
    },
    ...attempt('Weft', () => parseNamesConfig(JSON.stringify(objectOf(values.Weft)))),
  }
}

function parseIpSource(text: string): IpSource {
  const source = ipSources.find((known) => known === text)
  if (source === undefined) throw wrong('IPSources', `"${text}" is none of ${ipSources.join(', ')}`)
  return source
}

function texts(values: Values, key: Key): readonly string[] {
  const list = values[key]
  if (Array.isArray(list) && list.every((item) => typeof item === 'string')) return list
  throw wrong(key, 'a list of texts is needed')
}

function number(values: Values, key: Key, ...[least, most]: readonly [number, number]): number {
  const value = values[key]
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value
  throw wrong(key, `a whole number from ${least} to ${most} is needed`)
}

function onOff(values: Values, key: Key): 'on' | 'off' {
  if (typeof values[key] !== 'boolean') throw wrong(key, 'true or false is needed')
  return values[key] ? 'on' : 'off'
}

function attempt<Value>(key: Key, parse: () => Value): Value {
  try {
    return parse()
  } catch (cause) {
    throw wrong(key, errorMessage(cause), cause)
  }
}

function wrong(key: Key, reason: string, cause?: unknown): AppError {
  return new AppError('ERR_STANDALONE_CONFIG', `${key}: ${reason}`, cause === undefined ? {} : { cause })
}
