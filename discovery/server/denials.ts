/**
 * "No such name" for names that nobody asked for before: a flood of random names must not cost more than it has to. What
 * the general path said once of a zone is said again with another question: pointers into the question depend on its length
 * alone, so there is one text for each zone and length.
 */
import { headerBytes, metaType, rcode } from '../dns/constants.ts'
import { decodeName, nameKey, type NameKey } from '../dns/name.ts'
import { renameQuestion } from '../records/renames.ts'
import { type Answer } from './answer.ts'
import { putOpt } from './hot-find.ts'
import { type HotQuestion, makeHotQuestion, optBytes, recognize } from './hot-question.ts'
import { type Zone, type ZoneReader } from './zone-store.ts'

/** Denials of names that are in zones of ours and do not exist. The same octets as the general path's. */
export interface Denials {
  /** `undefined`: the general path must answer. */
  find(packet: Uint8Array, transport: 'udp' | 'tcp'): Uint8Array | undefined
  /** Learns from what the general path said. */
  remember(packet: Uint8Array, outcome: Answer): void
}

/** Header and what follows the question; without OPT. */
interface Text {
  readonly header: Uint8Array
  readonly tail: Uint8Array
}

/** Opens them over the zones. All is forgotten when these change, since the serial does too. */
export function openDenials(zones: ZoneReader): Denials {
  const question = makeHotQuestion()
  let texts = new Map<string, Text>()
  let revision = zones.revision()
  const place = (packet: Uint8Array): string | undefined => {
    if (zones.revision() !== revision) {
      revision = zones.revision()
      texts = new Map()
    }
    if (!recognize(packet, packet.length, question) || !plainType(question)) return undefined
    const { name } = decodeName(packet, headerBytes)
    // An escaped dot is none.
    if (name.includes('\\') || zones.exists(nameKey(name))) return undefined
    if (renameQuestion(zones.renames ?? [], name) !== undefined) return undefined
    const zone = zones.zoneOf(nameKey(name))
    if (zone?.state !== 'ready' || sharesBranch(nameKey(name), zone)) return undefined
    return `${zone.apex}${question.keyLength}`
  }
  return {
    find: (packet, transport) => {
      const key = place(packet)
      const text = key === undefined ? undefined : texts.get(key)
      return text === undefined ? undefined : write(packet, { question, text, transport })
    },
    remember: (packet, outcome) => {
      if (outcome.kind !== 'reply' || outcome.rcode !== rcode.NXDOMAIN || outcome.period === undefined) return
      const key = place(packet)
      if (key === undefined) return
      const end = outcome.bytes.length - (question.opt === 0 ? 0 : optBytes)
      const header = outcome.bytes.slice(0, headerBytes)
      header[11] = 0
      texts.set(key, { header, tail: outcome.bytes.slice(headerBytes + question.keyLength, end) })
    },
  }
}

/** Of class IN, and a type that has records: others are answered in other ways. */
function plainType({ key, keyLength }: HotQuestion): boolean {
  const u16 = (at: number) => ((key[at] ?? 0) << 8) | (key[at + 1] ?? 0)
  const type = u16(keyLength - 4)
  return u16(keyLength - 2) === 1 && type > 0 && type < 128 && type !== metaType.OPT
}

/** True when a name of the SOA is below the same child of the zone as the asked name: it would be compressed otherwise. */
function sharesBranch(key: NameKey, { apex, soa }: Zone): boolean {
  const child = key.slice(key.lastIndexOf('.', key.length - apex.length - 2) + 1)
  return [soa.mname, soa.rname].some((name) => `.${nameKey(name)}`.endsWith(`.${child}`))
}

function write(
  packet: Uint8Array,
  reply: { readonly question: HotQuestion; readonly text: Text; readonly transport: 'udp' | 'tcp' },
): Uint8Array | undefined {
  const { question, text, transport } = reply
  const end = headerBytes + question.keyLength
  const length = end + text.tail.length
  const whole = length + (question.opt === 0 ? 0 : optBytes)
  if (transport === 'udp' && whole > question.limitBytes) return undefined
  const out = new Uint8Array(whole)
  out.set(text.header)
  out.set(packet.subarray(0, 2))
  out[2] = ((out[2] ?? 0) & 0xfe) | ((packet[2] ?? 0) & 0x01)
  out.set(packet.subarray(headerBytes, end), headerBytes)
  out.set(text.tail, end)
  if (question.opt !== 0) putOpt({ out, packet }, question, length)
  return out
}
