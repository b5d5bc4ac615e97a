import { cidrContains } from '../../core/base/cidr.ts'
import { type Cidr, type Ip } from '../../core/base/ip.ts'
import { dnsClass, headerBytes, maxMessageBytes, metaType, opcode } from '../dns/constants.ts'
import { decodeMessage, encodeMessage, type Message, type ResourceRecord } from '../dns/message.ts'
import { nameKey, parseName } from '../dns/name.ts'
import { type RrSet } from '../records/zone-change.ts'
import { type Zone, type ZoneReader, type ZoneStore } from './zone-store.ts'

/** Zones that can be listed. */
export type TransferZones = ZoneReader & Pick<ZoneStore, 'owners'>

/** The messages of a zone transfer, made as they are taken; `undefined`: the packet asks for none, or may not. */
export type Transfer = (packet: Uint8Array, client: Ip) => Iterable<Uint8Array> | undefined

/** Records of one message: it stays far below 64 KiB with names of any length. */
const recordsPerMessage = 100

/**
 * AXFR over TCP for clients in `transfersTo`: the SOA, every record of the zone, the SOA again. RFC 5936. The zone is the one
 * of the moment in which it was asked for.
 */
export function makeTransfer(zones: TransferZones, transfersTo: readonly Cidr[]): Transfer {
  return (packet, client) => {
    if (packet.length < headerBytes || !transfersTo.some((prefix) => cidrContains(prefix, client))) return undefined
    const query = readQuery(packet)
    const [question] = query?.questions ?? []
    if (query === undefined || question === undefined || question.type !== metaType.AXFR) return undefined
    const zone = zones.zoneOf(nameKey(question.name))
    const ready = zone?.state === 'ready' && nameKey(zone.apex) === nameKey(question.name)
    return ready && question.class === dnsClass.IN ? messages(query, recordsOf(zones, zone)) : undefined
  }
}

function readQuery(packet: Uint8Array): Message | undefined {
  try {
    const query = decodeMessage(packet)
    return query.response || query.opcode !== opcode.QUERY || query.questions.length !== 1 ? undefined : query
  } catch {
    return undefined // ERR_DNS_FORMAT: the general path answers FORMERR
  }
}

function recordsOf(zones: TransferZones, zone: Zone): readonly ResourceRecord[] {
  const apex = nameKey(zone.apex)
  const [soa, ...rest] = (zones.rrsets(apex) ?? []).flatMap((rrset) => recordsOfSet(zone.apex, rrset))
  const below = [...zones.owners()]
    .filter(([key]) => key !== apex && nameKey(zones.zoneOf(key)?.apex ?? parseName('.')) === apex)
    .flatMap(([key, rrsets]) => rrsets.flatMap((rrset) => recordsOfSet(parseName(key), rrset)))
  return soa === undefined ? [] : [soa, ...rest, ...below, soa]
}

function recordsOfSet(name: ResourceRecord['name'], { ttlSeconds, data }: RrSet): readonly ResourceRecord[] {
  return data.map((datum) => ({ name, class: dnsClass.IN, ttlSeconds, data: datum }))
}

function* messages(query: Message, records: readonly ResourceRecord[]): Generator<Uint8Array> {
  for (let at = 0; at < records.length; at += recordsPerMessage) {
    const message: Message = {
      id: query.id,
      response: true,
      opcode: query.opcode,
      authoritative: true,
      truncated: false,
      recursionDesired: query.recursionDesired,
      recursionAvailable: false,
      authenticData: false,
      checkingDisabled: false,
      rcode: 0,
      // RFC 5936 §2.2.1: the question is in the first message, and may be left out of the others.
      questions: at === 0 ? query.questions : [],
      answers: records.slice(at, at + recordsPerMessage),
      authorities: [],
      additionals: [],
    }
    yield encodeMessage(message, { limitBytes: maxMessageBytes })
  }
}
