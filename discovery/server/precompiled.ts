import { headerBytes, metaType } from '../dns/constants.ts'
import { answer, type Answer, type AnswerContext, limitBytes } from './answer.ts'
import { type ZoneReader } from './zone-store.ts'

/**
 * Whole responses of {@link answer}, kept by question. A repeated question is then a copy with four patches: id, RD, the
 * question in the client's case, DO. Only answers of existing names are kept, so asking for nonsense fills nothing; what
 * is odd in any way is not recognized and goes the general way. Both ways give the same octets: tested.
 */
export interface Precompiled {
  /** The response, or `undefined` where the general path must make it. */
  find(packet: Uint8Array, context: AnswerContext): Uint8Array | undefined
  /** Keeps what the general path made of the packet, when it can be used again. */
  remember(packet: Uint8Array, context: AnswerContext, outcome: Answer): void
}

/** More rotations than that are not worth their memory. */
const maxPeriod = 16
/** Above it the general path is used; also the most that goes over UDP. */
const maxResponseBytes = 4096
const maxQuestions = 16_384

/** Octets of an OPT record without options: root, type, size, extended code, version, flags, length. RFC 6891 §6.1.2. */
const optBytes = 11

interface Plain {
  /** Name in lower case, type, class, and whether EDNS is spoken. */
  readonly key: string
  /** Where the question's name ends. */
  readonly nameEnd: number
  /** Offset of the OPT record; 0: none. */
  readonly opt: number
}

/** An empty set of responses over the zones; they are dropped when the zones change. */
export function openPrecompiled(zones: ZoneReader): Precompiled {
  const kept = new Map<string, { readonly period: number; readonly variants: (Uint8Array | undefined)[] }>()
  let revision = zones.revision()
  const refresh = () => {
    if (revision === zones.revision()) return
    revision = zones.revision()
    kept.clear()
  }
  return {
    find: (packet, context) => {
      refresh()
      const plain = recognize(packet)
      const entry = plain === undefined ? undefined : kept.get(plain.key)
      if (plain === undefined || entry === undefined) return undefined
      const response = entry.variants[context.rotation % entry.period]
      if (response === undefined || response.length > sizeLimit(packet, plain, context)) return undefined
      return patch(response, packet, plain)
    },
    remember: (packet, context, outcome) => {
      if (outcome.kind !== 'reply' || outcome.rcode !== 0) return
      if (outcome.period === undefined || outcome.period > maxPeriod) return
      refresh()
      const plain = recognize(packet)
      if (plain === undefined) return
      // Over TCP nothing is left out: what is kept must be whole.
      const whole = context.transport === 'tcp' ? outcome : answer(packet, { ...context, transport: 'tcp' })
      if (whole.kind !== 'reply' || whole.bytes.length > maxResponseBytes) return
      const entry = kept.get(plain.key) ?? { period: outcome.period, variants: [] }
      entry.variants[context.rotation % entry.period] = whole.bytes
      const [oldest] = kept.keys()
      if (kept.size >= maxQuestions && !kept.has(plain.key) && oldest !== undefined) kept.delete(oldest)
      kept.set(plain.key, entry)
    },
  }
}

/** A query of one question and at most an OPT of version 0: what resolvers send, day in, day out. */
function recognize(packet: Uint8Array): Plain | undefined {
  const opts = packet[11] ?? 0
  if (packet.length < headerBytes + 5 || ((packet[2] ?? 0) & 0xf8) !== 0 || opts > 1) return undefined
  if (plainCounts.some((count, i) => packet[4 + i] !== count)) return undefined
  const name = lowerCaseName(packet)
  if (name === undefined) return undefined
  const nameEnd = headerBytes + name.length
  const end = nameEnd + 4
  if (opts === 0 ? end !== packet.length : !plainOpt(packet, end)) return undefined
  const typeAndClass = String.fromCharCode(u16(packet, nameEnd), u16(packet, nameEnd + 2))
  return { key: `${name}${typeAndClass}${opts}`, nameEnd, opt: opts === 0 ? 0 : end }
}

/** Section counts of such a query, but for the last octet, which counts OPT. */
const plainCounts = [0, 1, 0, 0, 0, 0, 0]

/** The question's name as it is on the wire, in lower case; `undefined` when it is compressed or malformed. */
function lowerCaseName(packet: Uint8Array): string | undefined {
  let name = ''
  let at = headerBytes
  for (let length = packet[at] ?? 0; length !== 0; length = packet[at] ?? 0) {
    if (length > 63 || at + length + 1 >= packet.length || name.length + length > 253) return undefined
    name += String.fromCharCode(length)
    for (const end = at + length; at < end; ) {
      const octet = packet[++at] ?? 0
      name += String.fromCharCode(octet >= 0x41 && octet <= 0x5a ? octet | 0x20 : octet)
    }
    at++
  }
  return `${name}\0`
}

/** True for an OPT of version 0 at the root whose options are well-formed and end the packet. */
function plainOpt(packet: Uint8Array, at: number): boolean {
  if (at + optBytes > packet.length || packet[at] !== 0 || packet[at + 6] !== 0) return false
  if (u16(packet, at + 1) !== metaType.OPT || at + optBytes + u16(packet, at + 9) !== packet.length) return false
  let option = at + optBytes
  while (option + 4 <= packet.length) option += 4 + u16(packet, option + 2)
  return option === packet.length
}

function sizeLimit(packet: Uint8Array, { opt }: Plain, { transport }: AnswerContext): number {
  const edns = { udpSizeBytes: u16(packet, opt + 3), version: 0, dnssecOk: false, options: [] }
  return limitBytes(opt === 0 ? {} : { edns }, transport)
}

function patch(response: Uint8Array, packet: Uint8Array, { nameEnd, opt }: Plain): Uint8Array {
  const copy = response.slice()
  copy[0] = packet[0] ?? 0
  copy[1] = packet[1] ?? 0
  copy[2] = ((response[2] ?? 0) & 0xfe) | ((packet[2] ?? 0) & 0x01)
  for (let i = headerBytes; i < nameEnd; i++) copy[i] = packet[i] ?? 0
  // The OPT comes last and has no options; its flags are followed by its length.
  if (opt !== 0) copy[copy.length - 4] = (packet[opt + 7] ?? 0) & 0x80
  return copy
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}
