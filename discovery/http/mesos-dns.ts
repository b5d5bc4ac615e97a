import { mangleDomain } from '../dns/label.ts'
import { labelsOf, nameKey, parseName } from '../dns/name.ts'
import { usableName } from '../records/owned.ts'
import { type NamesView } from '../stage.ts'
import { findAddresses, findServices, flatRecord, type FlatRecord } from './find.ts'
import { jsonArray, jsonReply, type Reply, type Route } from './reply.ts'

/** Mesos-DNS's API over some names. */
export interface MesosDnsApi {
  readonly view: NamesView
  readonly version: string
  /** What `/v1/config` tells, by Mesos-DNS's keys. */
  readonly config: Readonly<Record<string, unknown>>
  readonly refreshSeconds: number
  readonly enumeration: 'on' | 'off'
}

/**
 * Mesos-DNS's HTTP API, with its shapes: all values are text, names end with a dot, a miss is one element of empty strings.
 * IPv6 addresses follow the IPv4 ones. Source: reference/mesos-dns.md, HTTP API.
 */
export function mesosDnsRoute(api: MesosDnsApi): Route {
  return ({ path }) => {
    const [version, what = '', name, more, end] = path
    if (version !== 'v1' || name === '' || end !== undefined) return undefined
    if (name === undefined) return whole(api, what)
    if (what === 'hosts' && more === 'ports') return notImplemented
    if (more !== undefined) return undefined
    return what === 'hosts' ? hosts(api, name) : what === 'services' ? services(api, name) : undefined
  }
}

function whole(api: MesosDnsApi, what: string): Reply | undefined {
  switch (what) {
    case 'version':
      return jsonReply({ Service: 'Mesos-DNS', Version: api.version, URL: projectUrl })
    case 'config':
      return jsonReply(api.config)
    case 'enumerate':
      return api.enumeration === 'on' ? enumerate(api) : notImplemented
    case 'axfr':
      return transfer(api)
    default:
      return undefined
  }
}

/** What Mesos-DNS says; clients that compare it go on working. */
const projectUrl = 'https://github.com/mesosphere/mesos-dns'

const notImplemented: Reply = { status: 501, body: 'To be implemented...' }

/** In lower case and with its last dot. */
function absolute(text: string): string {
  return nameKey(parseName(text))
}

function hosts({ view }: MesosDnsApi, text: string): Reply {
  const host = absolute(text)
  const found = findAddresses(view.zones, host).map((ip) => ({ host, ip }))
  return jsonReply(found.length === 0 ? [{ host: '', ip: '' }] : found)
}

function services({ view }: MesosDnsApi, service: string): Reply {
  const found = findServices(view.zones, absolute(service)).map(({ target, port }) => {
    const [ip = ''] = findAddresses(view.zones, target)
    return { service, host: target, ip, port: String(port) }
  })
  return jsonReply(found.length === 0 ? [{ service: '', host: '', ip: '', port: '' }] : found)
}

/** Frameworks, their tasks, the records of each; made while it is sent. */
function enumerate(api: MesosDnsApi): Reply {
  return { status: 200, type: 'application/json', body: enumeration(api) }
}

function* enumeration({ view }: MesosDnsApi): Generator<string> {
  const { tasks, frameworks } = view.cluster()
  const groups = new Map<string, Entry[]>()
  for (const { name } of frameworks?.values() ?? []) groups.set(name, [])
  for (const [key, { name, id, framework }] of tasks) {
    const group = groups.get(framework)
    if (group === undefined) groups.set(framework, [{ key, name, id }])
    else group.push({ key, name, id })
  }
  yield '{"frameworks":['
  let first = true
  for (const [framework, list] of groups) {
    yield `${first ? '' : ','}{"name":${JSON.stringify(framework)},"tasks":`
    yield* jsonArray(enumerableTasks(view, framework, list))
    yield '}'
    first = false
  }
  yield ']}'
}

interface Entry {
  readonly key: string
  readonly name: string
  readonly id: string
}

function* enumerableTasks(view: NamesView, framework: string, list: readonly Entry[]) {
  const own = frameworkOwners(view, framework)
  const domain = `.${view.config.domain}`
  for (const { key, name, id } of list) {
    const records: FlatRecord[] = []
    for (const contribution of view.contributionsOf(`task ${key}`)) {
      const { owner } = contribution
      if (contribution.kind !== 'record' || own.has(owner) || !owner.endsWith(domain)) continue
      const record = flatRecord(owner, contribution.data)
      if (record !== undefined) records.push(record)
    }
    if (records.length > 0) yield { name, id, records }
  }
}

/** Names of the framework itself, which a task may bring along. */
function frameworkOwners({ config }: NamesView, framework: string): ReadonlySet<string> {
  const labels = [...mangleDomain(framework, config.labels), ...labelsOf(config.domain)]
  return new Set(
    [usableName(labels), usableName(['_framework', '_tcp', ...labels])].filter((name) => name !== undefined),
  )
}

function transfer({ view, refreshSeconds }: MesosDnsApi): Reply {
  const { zones, config } = view
  const lists = { A: new Map<string, string[]>(), AAAA: new Map<string, string[]>(), SRV: new Map<string, string[]>() }
  for (const [owner, rrsets] of zones.owners()) {
    if (zones.zoneOf(owner)?.apex !== config.domain) continue
    for (const data of rrsets.flatMap((rrset) => rrset.data)) {
      const record = flatRecord(owner, data)
      if (record === undefined) continue
      const list = lists[record.rtype].get(owner)
      if (list === undefined) lists[record.rtype].set(owner, [record.host])
      else list.push(record.host)
    }
  }
  const soa = zones.zoneOf(nameKey(config.domain))?.soa
  return jsonReply({
    TTL: config.ttlSeconds,
    Serial: zones.serial(),
    RefreshSeconds: refreshSeconds,
    Mname: soa?.mname ?? '',
    Rname: soa?.rname ?? '',
    Domain: config.domain.slice(0, -1),
    Records: {
      As: Object.fromEntries(lists.A),
      AAAAs: Object.fromEntries(lists.AAAA),
      SRVs: Object.fromEntries(lists.SRV),
    },
  })
}

/** `/v1/config` of names that no Mesos-DNS file configured: the keys that clients read. */
export function mesosDnsConfig(
  config: NamesView['config'],
  more: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  return {
    Domain: config.domain.slice(0, -1),
    TTL: config.ttlSeconds,
    Port: 53,
    RefreshSeconds: 0,
    EnforceRFC952: config.labels === 'rfc952',
    IPSources: config.ipSources,
    SRVRecordDefaultWeight: config.serviceWeight,
    DnsOn: true,
    HttpOn: true,
    EnumerationOn: true,
    ...more,
  }
}
