import { dnsClass, metaType, rcode } from '../dns/constants.ts'
import { type Question, type ResourceRecord } from '../dns/message.ts'
import { type Name, nameKey } from '../dns/name.ts'
import { type Rdata, typeCode } from '../dns/rdata.ts'
import { type Renamed, renameQuestion } from '../records/renames.ts'
import { type RrSet } from '../records/zone-change.ts'
import { type Zone, type ZoneReader } from './zone-store.ts'

/** What the zones say to a question. */
export interface Found {
  readonly code: number
  readonly authoritative: boolean
  readonly answers: readonly ResourceRecord[]
  readonly authorities: readonly ResourceRecord[]
  readonly additionals: readonly ResourceRecord[]
  /** After how many rotations the same comes again; absent where the zones decided nothing. */
  readonly period?: number
}

/** How many CNAME records are followed: a loop ends here. */
const maxChain = 8

/**
 * Looks a question up, by its present name when it has an older one. RRsets of several records begin at `rotation`, so that
 * clients that take the first spread.
 * @returns undefined when no zone holds the name
 */
export function lookup(zones: ZoneReader, question: Question, rotation: number): Found | undefined {
  const renamed = renameQuestion(zones.renames ?? [], question.name)
  if (renamed === undefined) return lookupName(zones, question, rotation)
  const found = lookupName(zones, { ...question, name: renamed.name }, rotation)
  if (found === undefined) return undefined
  // No period: changes are told by the present names, so a ready response would not learn of them.
  const { code, authoritative, answers, authorities, additionals } = found
  const back = (records: readonly ResourceRecord[]) => records.map((record) => renameRecord(record, renamed))
  return {
    code,
    authoritative,
    answers: back(answers),
    authorities: back(authorities),
    additionals: back(additionals),
  }
}

/** Every name in it, also within its data. Source: reference/dns-proxy.md, Dispatch. */
function renameRecord(record: ResourceRecord, { back }: Renamed): ResourceRecord {
  const { data } = record
  const name = back(record.name)
  if (data.type === 'SOA')
    return { ...record, name, data: { ...data, mname: back(data.mname), rname: back(data.rname) } }
  return { ...record, name, data: 'target' in data ? { ...data, target: back(data.target) } : data }
}

function lookupName(zones: ZoneReader, question: Question, rotation: number): Found | undefined {
  const zone = zones.zoneOf(nameKey(question.name))
  if (zone === undefined) return undefined
  if (zone.state === 'loading') {
    return { code: rcode.SERVFAIL, authoritative: false, answers: [], authorities: [], additionals: [] }
  }
  const answers: ResourceRecord[] = []
  let period = 1
  let name = question.name
  for (let step = 0; step <= maxChain; step++) {
    const rrsets = zones.rrsets(nameKey(name)) ?? []
    const match = matching(rrsets, question.type)
    if (match !== undefined) {
      answers.push(...records(name, match, rotation))
      const additional = additionalRrsets(zones, answers)
      for (const { data } of [match, ...additional.map(({ rrset }) => rrset)])
        period = commonMultiple(period, data.length)
      const additionals = additional.flatMap(({ target, rrset }) => records(target, rrset, rotation))
      return { ...positive(answers), additionals, period }
    }
    const alias = aliasOf(rrsets)
    if (alias === undefined) break
    answers.push(...records(name, alias.rrset, rotation))
    name = alias.target
  }
  return negative(zones, { zone, name, answers })
}

/** ANY gets one RRset, whichever is first. RFC 8482 §4.1. */
function matching(rrsets: readonly RrSet[], type: number): RrSet | undefined {
  if (type === metaType.ANY) return rrsets[0]
  return rrsets.find(({ code }) => code === type)
}

function aliasOf(rrsets: readonly RrSet[]): { readonly rrset: RrSet; readonly target: Name } | undefined {
  for (const rrset of rrsets) {
    const [data] = rrset.data
    if (data?.type === 'CNAME') return { rrset, target: data.target }
  }
  return undefined
}

function positive(answers: readonly ResourceRecord[]): Found {
  return { code: rcode.NOERROR, authoritative: true, answers, authorities: [], additionals: [] }
}

function commonMultiple(a: number, b: number): number {
  let [x, y] = [a, b]
  while (y !== 0) [x, y] = [y, x % y]
  return (a / x) * b
}

/** NXDOMAIN or NODATA with the zone's SOA, whose TTL is how long the absence may be remembered. RFC 2308 §2, §3. */
function negative(
  zones: ZoneReader,
  end: { readonly zone: Zone; readonly name: Name; readonly answers: readonly ResourceRecord[] },
): Found {
  const zone = end.answers.length === 0 ? end.zone : zones.zoneOf(nameKey(end.name))
  const { answers } = end
  if (zone === undefined) return positive(answers)
  const soa = {
    name: zone.apex,
    class: dnsClass.IN,
    ttlSeconds: zone.soa.minimumSeconds,
    data: zone.soa,
  }
  const code = zones.exists(nameKey(end.name)) ? rcode.NOERROR : rcode.NXDOMAIN
  return {
    code,
    authoritative: true,
    answers,
    authorities: [soa],
    additionals: [],
    ...(answers.length === 0 ? { period: 1 } : {}),
  }
}

/** Addresses of the targets of SRV, NS and MX records, each target once. RFC 2782, RFC 1035 §3.3. */
function additionalRrsets(
  zones: ZoneReader,
  answers: readonly ResourceRecord[],
): readonly { readonly target: Name; readonly rrset: RrSet }[] {
  const targets = new Map<string, Name>()
  for (const { data } of answers) {
    if (data.type === 'SRV' || data.type === 'NS' || data.type === 'MX') targets.set(nameKey(data.target), data.target)
  }
  return [...targets.values()].flatMap((target) =>
    (zones.rrsets(nameKey(target)) ?? [])
      .filter(({ code }) => code === typeCode('A') || code === typeCode('AAAA'))
      .map((rrset) => ({ target, rrset })),
  )
}

function records(name: Name, rrset: RrSet, rotation: number): readonly ResourceRecord[] {
  return rotate(rrset.data, rotation).map((data) => ({
    name,
    class: dnsClass.IN,
    ttlSeconds: rrset.ttlSeconds,
    data,
  }))
}

function rotate(data: readonly Rdata[], rotation: number): readonly Rdata[] {
  const start = rotation % data.length
  return start === 0 ? data : [...data.slice(start), ...data.slice(0, start)]
}
