import { createHash } from 'node:crypto'
import { nameKey, parseName } from '../dns/name.ts'
import { type ZoneStore } from '../server/zone-store.ts'
import { type NamesView } from '../stage.ts'
import { findAddresses, findServices, flatRecord, type FlatRecord } from './find.ts'
import { jsonList, jsonReply, type Reply, type Request, type Route } from './reply.ts'

/** A virtual server as `/v1/vips` tells it: `vip` is `name.framework.l4lb.thisdcos.directory:port` or `address:port`. */
export interface VipEntry {
  readonly vip: string
  readonly protocol: string
  readonly backend: readonly { readonly ip: string; readonly port: number }[]
}

/** dcos-net's API over some names. */
export interface DcosNetApi {
  readonly view: NamesView
  readonly version: string
  readonly vips: () => readonly VipEntry[]
  /** When what is known of nodes was true: they are told of by a stream, so that is now. Milliseconds since the epoch. */
  readonly updatedMs: () => number
  /** Prometheus's text format. */
  readonly metrics: () => string
}

/**
 * dcos-net's HTTP API, with its shapes: ports are numbers, names have no last dot, a miss is an empty list. IPv6 addresses
 * follow the IPv4 ones. Source: reference/dns-proxy.md; dcos-net, apps/dcos_rest.
 */
export function dcosNetRoute(api: DcosNetApi): Route {
  return (request) => {
    const [version, what, name, more] = request.path
    if (version !== 'v1' || more !== undefined) return undefined
    if (what === 'hosts' && name !== undefined && name !== '') return hosts(api, name)
    if (what === 'services' && name !== undefined && name !== '') return services(api, name)
    if (name !== undefined) return undefined
    return whole(api, what ?? '', request)
  }
}

function whole(api: DcosNetApi, what: string, request: Request): Reply | undefined {
  switch (what) {
    case 'version':
      return jsonReply({ Service: 'dcos-dns', Version: api.version })
    case 'config':
    case 'enumerate':
      return { status: 501, body: '' }
    case 'records':
      return jsonList(allRecords(api.view.zones))
    case 'vips':
      return tagged(request, JSON.stringify(api.vips()))
    case 'nodes':
      return jsonReply(nodes(api))
    case 'metrics':
      return { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body: api.metrics() }
    default:
      return undefined
  }
}

function relative(name: string): string {
  return name.endsWith('.') ? name.slice(0, -1) : name
}

function hosts({ view }: DcosNetApi, text: string): Reply {
  const host = relative(nameKey(parseName(text)))
  return jsonReply(findAddresses(view.zones, text).map((ip) => ({ host, ip })))
}

function services({ view }: DcosNetApi, text: string): Reply {
  const service = relative(nameKey(parseName(text)))
  const found = findServices(view.zones, text).map(({ target, port }) => {
    const [ip] = findAddresses(view.zones, target)
    return { host: relative(target), port, service, ...(ip === undefined ? {} : { ip }) }
  })
  return jsonReply(found)
}

/** Every address and service, without last dots. */
export function* allRecords(zones: Pick<ZoneStore, 'owners'>): Generator<FlatRecord> {
  for (const [owner, rrsets] of zones.owners()) {
    for (const data of rrsets.flatMap((rrset) => rrset.data)) {
      const record = flatRecord(relative(owner), data)
      if (record !== undefined) yield { ...record, host: record.host.replace(/\.(?=:\d+$)/, '') }
    }
  }
}

/** With an entity tag: who asks again with it is told that nothing changed. RFC 9110 §8.8.3, §13.1.2. */
function tagged(request: Request, body: string): Reply {
  const etag = `"${createHash('sha1').update(body).digest('base64')}"`
  const known =
    request
      .header('if-none-match')
      ?.split(',')
      .map((tag) => tag.trim().replace(/^W\//, '')) ?? []
  if (known.includes(etag) || known.includes('*')) return { status: 304, headers: { etag }, body: '' }
  return { status: 200, type: 'application/json', headers: { etag }, body }
}

/** Weft knows one address of each node, and none of them as public. */
function nodes({ view, updatedMs }: DcosNetApi) {
  const updated = new Date(updatedMs()).toISOString()
  return [...view.cluster().nodes.values()].map(({ name, underlay }) => ({
    private_ip: underlay,
    public_ips: [],
    hostname: name,
    updated,
  }))
}
