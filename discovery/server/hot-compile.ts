import { decodeMessage, type Message } from '../dns/message.ts'
import { nameKey } from '../dns/name.ts'
import { rcode } from '../dns/constants.ts'
import { answer, type AnswerContext, refuse } from './answer.ts'
import { type HotEntry } from './hot-store.ts'
import { type ZoneReader } from './zone-store.ts'

/** More rotations than that are not worth their memory. */
const maxVariants = 16
/** Nor are larger responses, which go over TCP anyway. */
const maxEntryBytes = 32 * 1024

/**
 * What can be kept of the answer to a plain query: made by the general path itself, so both give the same octets. `period`
 * is the general path's. `undefined`: the general path answers each time.
 */
export function compileHotEntry(
  packet: Uint8Array,
  options: { readonly zones: ZoneReader; readonly recursion: AnswerContext['recursion']; readonly period: number },
): HotEntry | undefined {
  const bare = bareQuery(packet)
  const make = (rotation: number) => {
    const { zones, recursion } = options
    const context: AnswerContext = { zones, recursion, rotation, transport: 'tcp' }
    const first = answer(bare, context)
    const outcome = first.kind === 'foreign' ? refuse(first.query, context, rcode.REFUSED) : first
    return outcome.kind === 'reply' ? outcome.bytes : undefined
  }
  const first = make(0)
  if (first === undefined) return undefined
  const message = decodeMessage(first)
  const ring = ringOf(message, first.length, bare.length)
  const count = ring === undefined ? options.period : 1
  if (count > maxVariants || count * first.length > maxEntryBytes) return undefined
  const variants: Uint8Array[] = []
  for (let i = 0; i < count; i++) {
    const bytes = make(i)
    if (bytes !== undefined) variants.push(bytes)
  }
  const serialAt = soaSerialAt(message, first.length)
  if (serialAt === undefined) return undefined
  const positive = message.rcode === rcode.NOERROR && message.answers.length > 0
  const common = { packet: bare, variants, names: namesOf(message), rcode: message.rcode }
  const area = positive ? ('positive' as const) : ('negative' as const)
  const patched = serialAt === 0 ? {} : { serialAt }
  return { ...common, area, ...patched, ...(ring === undefined ? {} : { ring }) }
}

/** Header and question only, in lower case. */
export function bareQuery(packet: Uint8Array): Uint8Array {
  let end = 12
  while (packet[end] !== 0 && end < packet.length) end += (packet[end] ?? 0) + 1
  const bare = packet.slice(0, end + 5)
  bare.fill(0, 0, 4)
  bare[11] = 0
  for (let at = 12; at < end; ) {
    const next = at + 1 + (bare[at] ?? 0)
    for (at++; at < next; at++) {
      const octet = bare[at] ?? 0
      if (octet >= 0x41 && octet <= 0x5a) bare[at] = octet | 0x20
    }
  }
  return bare
}

/** Two or more records of one size whose owner is the question's name, and nothing else: rotated by copying. */
function ringOf(message: Message, length: number, start: number): HotEntry['ring'] {
  const count = message.answers.length
  if (count < 2 || message.authorities.length + message.additionals.length > 0) return undefined
  const kinds = new Set(message.answers.map(({ data }) => data.type))
  if (kinds.size !== 1 || !(kinds.has('A') || kinds.has('AAAA'))) return undefined
  const bytes = (length - start) / count
  return bytes === (kinds.has('A') ? 16 : 28) ? { start, bytes, count } : undefined
}

/** Where the only SOA's serial is; 0: there is none; `undefined`: it can't be told. Only the last record's place is known. */
function soaSerialAt(message: Message, length: number): number | undefined {
  const records = [...message.answers, ...message.authorities, ...message.additionals]
  const soas = records.filter(({ data }) => data.type === 'SOA').length
  if (soas === 0) return 0
  // Five numbers of 32 bits end a SOA. RFC 1035 §3.3.13.
  return soas === 1 && records.at(-1)?.data.type === 'SOA' ? length - 20 : undefined
}

/** Every name that the answer was made from: asked, led to, and pointed at whether or not it has addresses. */
function namesOf(message: Message): readonly string[] {
  const names = new Set<string>(message.questions.map(({ name }) => nameKey(name)))
  for (const { name, data } of [...message.answers, ...message.additionals]) {
    names.add(nameKey(name))
    if ('target' in data) names.add(nameKey(data.target))
  }
  return [...names]
}
