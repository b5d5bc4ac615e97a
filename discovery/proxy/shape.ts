import { type Message, type ResourceRecord } from '../dns/message.ts'
import { type Name, nameKey, parseName } from '../dns/name.ts'
import { type RdataOf } from '../dns/rdata.ts'

/** The longest that an answer is kept, whatever its TTL. RFC 8767 §4. */
const maxTtlSeconds = 86_400
/** And a denial. RFC 2308 §5. */
const maxNegativeSeconds = 10_800
/** How long "nobody answers" is remembered. RFC 9520 §3.2. */
export const failureSeconds = 1

/** How long a message may be kept; 0: not at all. RFC 2308 §3, §5. */
export function keepSeconds(message: Message): number {
  if (message.truncated) return 0
  const records = [...message.answers, ...message.authorities, ...message.additionals]
  const least = Math.min(maxTtlSeconds, ...records.map(({ ttlSeconds }) => ttlSeconds))
  if (message.rcode === 0 && hasAnswer(message)) return least
  if (message.rcode !== 0 && message.rcode !== 3) return failureSeconds
  const soa = message.authorities.find(({ data }) => data.type === 'SOA')
  if (soa === undefined) return 0
  const { minimumSeconds } = soa.data as RdataOf<'SOA'>
  return Math.min(maxNegativeSeconds, least, soa.ttlSeconds, minimumSeconds)
}

/** A CNAME alone does not answer another type. */
function hasAnswer({ questions, answers }: Message): boolean {
  const type = questions[0]?.type
  const cname = 5
  return answers.some(({ data }) => type === cname || type === 255 || data.type !== 'CNAME')
}

/** What is kept of a reply: as if it had been asked in lower case, without what concerns one exchange only. */
export function canonical(reply: Message, question: Message['questions'][number]): Message {
  const name = parseName(nameKey(question.name))
  const plain = lowerCaser(name)
  const records = (list: readonly ResourceRecord[]) => list.map(plain)
  const { edns: _, ...rest } = reply
  return {
    ...rest,
    id: 0,
    authoritative: false,
    recursionDesired: false,
    recursionAvailable: true,
    checkingDisabled: false,
    questions: [{ ...question, name }],
    answers: records(reply.answers),
    authorities: records(reply.authorities),
    additionals: records(reply.additionals),
  }
}

/** Takes our random case out of names that the upstream built from the question. */
function lowerCaser(asked: Name): (record: ResourceRecord) => ResourceRecord {
  const lower = (name: Name): Name => (asked.endsWith(nameKey(name)) ? (nameKey(name) as string as Name) : name)
  return (record) => {
    const { data } = record
    const changed = 'target' in data ? { ...data, target: lower(data.target) } : data
    return { ...record, name: lower(record.name), data: changed }
  }
}

/** The same with TTLs as they are `ageSeconds` later. */
export function aged(message: Message, ageSeconds: number): Message {
  return withTtls(message, (ttl) => Math.max(0, ttl - ageSeconds))
}

/** The same with TTLs of at most `seconds`. RFC 8767 §4: 30 for stale data. */
export function shortened(message: Message, seconds: number): Message {
  return withTtls(message, (ttl) => Math.min(ttl, seconds))
}

function withTtls(message: Message, change: (ttlSeconds: number) => number): Message {
  const map = (list: readonly ResourceRecord[]) =>
    list.map((record) => ({ ...record, ttlSeconds: change(record.ttlSeconds) }))
  const { answers, authorities, additionals } = message
  return { ...message, answers: map(answers), authorities: map(authorities), additionals: map(additionals) }
}

/** Where the TTLs of an encoded message without OPT are. */
export function ttlOffsets(bytes: Uint8Array): readonly number[] {
  const u16 = (at: number) => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
  const skipName = (at: number): number => {
    for (let next = at; ; next += 1 + (bytes[next] ?? 0)) {
      const length = bytes[next] ?? 0
      if (length === 0) return next + 1
      if (length >= 0xc0) return next + 2
    }
  }
  const offsets: number[] = []
  let at = 12
  for (let i = 0; i < u16(4); i++) at = skipName(at) + 4
  for (let i = u16(6) + u16(8) + u16(10); i > 0; i--) {
    const fixed = skipName(at)
    offsets.push(fixed + 4)
    at = fixed + 10 + u16(fixed + 8)
  }
  return offsets
}
