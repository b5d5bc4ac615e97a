import { isRecord } from '../api.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { dnsHost, type DnsHostOptions, fetchNames } from './dns-host.ts'

type Globals = GlobalOptions & DnsHostOptions
type Row = Readonly<Record<string, unknown>>

/** `weft dns records [TEXT]`: every address and service that a host's name server knows, or those whose name holds TEXT. */
export async function dnsRecords(globals: Globals, filter: string | undefined): Promise<void> {
  const all = rows(fetchNames(dnsHost(globals), '/v1/records'))
  const wanted = filter?.toLowerCase().replace(/\.$/, '') ?? ''
  const found = all
    .filter(({ name }) => String(name).includes(wanted))
    .toSorted((a, b) =>
      `${a['name']} ${a['rtype']} ${a['host']}` < `${b['name']} ${b['rtype']} ${b['host']}` ? -1 : 1,
    )
  const table = found.map(({ name, rtype, host }) => [String(name), String(rtype), String(host)])
  print(found, () => formatTable(['NAME', 'TYPE', 'LEADS TO'], table), globals)
  if (found.length === 0) process.exitCode = 1
}

/** `weft dns trace NAME [TYPE]`: how a host's name server comes to its answer, and who brought each record. */
export async function dnsTrace(globals: Globals, name: string, type: string): Promise<void> {
  const query = new URLSearchParams({ name, type })
  const trace = fetchNames(dnsHost(globals), `/weft/v1/dns/trace?${query}`)
  print(trace, () => formatTrace(trace), globals)
}

/** `weft dns stats`: what a host's name server holds, answered and dropped, and names that collide. */
export async function dnsStats(globals: Globals): Promise<void> {
  const stats = fetchNames(dnsHost(globals), '/weft/v1/dns/stats')
  print(stats, () => formatStats(stats), globals)
}

function formatTrace(value: unknown): string {
  const trace = isRecord(value) ? value : {}
  const question = isRecord(trace['question']) ? trace['question'] : {}
  const zone = isRecord(trace['zone']) ? trace['zone'] : undefined
  return [
    `question   ${question['name']} ${question['type']}`,
    ...(trace['renamedTo'] === undefined ? [] : [`means      ${trace['renamedTo']}`]),
    ...(zone === undefined ? [] : [`zone       ${zone['apex']} (${zone['state']}, serial ${zone['serial']})`]),
    `outcome    ${trace['outcome']}${trace['rcode'] === undefined ? '' : `, ${trace['rcode']}`}`,
    ...texts(trace['answers']).map((record) => `answer     ${record.replaceAll('\t', ' ')}`),
    ...texts(trace['additionals']).map((record) => `additional ${record.replaceAll('\t', ' ')}`),
    ...rows(trace['sources']).map((source) => `from       ${source['name']} ${texts(source['from']).join(', ')}`),
    ...texts(trace['hints']).map((hint) => `not served ${hint}`),
  ].join('\n')
}

function formatStats(value: unknown): string {
  const stats = isRecord(value) ? value : {}
  const counters = (key: string, label: string) =>
    rows(stats[key]).map((row) => `${key} over ${row['transport']}, ${row[label]}: ${row['count']}`)
  const collisions = rows(stats['collisions']).map(
    ({ name, sources }) => `one name for several: ${name} is ${texts(sources).join(' and ')}`,
  )
  return [
    `node ${stats['node']}: serial ${stats['serial']}, ${stats['names']} names, ${stats['records']} records`,
    ...counters('answers', 'rcode'),
    ...counters('drops', 'reason'),
    ...(isRecord(stats['proxy']) ? formatProxy(stats['proxy']) : []),
    ...collisions,
  ].join('\n')
}

function formatProxy({ events, cache, upstreams }: Row): readonly string[] {
  const list = (value: unknown) => (isRecord(value) ? Object.entries(value) : [])
  const counts = (value: unknown) => list(value).map(([name, count]) => `${name} ${count}`)
  const ofUpstream = ({ address, port, failures, latencyMs, ...events }: Row) => {
    const times = counts(latencyMs).map((quantile) => `${quantile} ms`)
    const score = `failures lately ${Number(failures).toFixed(1)}`
    return `upstream ${address} port ${port}: ${[...counts(events), score, ...times].join(', ')}`
  }
  return [
    `names of others: ${counts(events).join(', ')}`,
    `cache of them: ${counts(cache).join(', ')}`,
    ...rows(upstreams).map(ofUpstream),
  ]
}

function rows(value: unknown): readonly Row[] {
  return Array.isArray(value) ? value.filter(isRecord) : []
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : []
}
