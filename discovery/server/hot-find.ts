import { headerBytes, maxMessageBytes } from '../dns/constants.ts'
import { control, field, headWords, type HotMemory, ways } from './hot-memory.ts'
import { type HotQuestion, makeHotQuestion, optBytes, recognize } from './hot-question.ts'
import { ownUdpSizeBytes } from './limits.ts'

/** What a packet is answered with; one object is used again and again. */
export interface HotRequest {
  packet: Uint8Array
  /** How much of `packet` is the query. */
  length: number
  transport: 'udp' | 'tcp'
  /** Counts up from answer to answer: where rotated RRsets begin. */
  rotation: number
  /** Seconds of the shared monotonic clock. */
  nowSeconds: number
  /** The response is written to its beginning. */
  out: Uint8Array
}

/** Finds ready responses. Allocates nothing. */
export interface HotReader {
  /** How many octets of `out` are the response; 0: the general path must answer. */
  find(request: HotRequest): number
  /** Response code of what was found last. */
  lastRcode(): number
  /** True when it was of a zone of others. */
  lastForeign(): boolean
}

/** Octets that `out` must have. */
export const hotResponseBytes = 4096

/** A reader of the shared responses; one for each thread. */
export function makeHotReader(memory: HotMemory): HotReader {
  const question = makeHotQuestion()
  let rcode = 0
  let foreign = false
  return {
    lastRcode: () => rcode,
    lastForeign: () => foreign,
    find: (request) => {
      if (!recognize(request.packet, request.length, question)) return 0
      const slot = locate(memory, question)
      if (slot < 0) return 0
      const entry = Atomics.load(memory.index, slot)
      if (entry === 0) return 0
      const { words } = memory
      const id = word(words, entry + field.id)
      rcode = word(words, entry + field.rcode)
      foreign = words[entry + field.foreign] === 1
      const length = valid(memory, entry, { request, question }) ? copy(memory, entry, { request, question }) : 0
      // Taken away meanwhile: what was copied may be half of something else.
      if (Atomics.load(memory.index, slot) !== entry || word(words, entry + field.id) !== id) return 0
      return length
    },
  }
}

interface Lookup {
  readonly request: HotRequest
  readonly question: HotQuestion
}

/** The slot whose entry has the question's key; -1: none. */
export function locate(memory: HotMemory, question: HotQuestion): number {
  const { index, tags, words, bytes } = memory
  const { hash, key, keyLength } = question
  const bucket = (hash & (index.length / ways - 1)) * ways
  for (let slot = bucket; slot < bucket + ways; slot++) {
    if (tags[slot] !== hash) continue
    const entry = index[slot] ?? 0
    if (entry === 0 || words[entry + field.keyLength] !== keyLength) continue
    const start = keyStart(words, entry)
    let i = 0
    while (i < keyLength && bytes[start + i] === key[i]) i++
    if (i === keyLength) return slot
  }
  return -1
}

/** Where the key of an entry begins, in octets. */
function keyStart(words: Int32Array, entry: number): number {
  const lists =
    word(words, entry + field.dependencies) + word(words, entry + field.variants) + word(words, entry + field.ttls)
  return (entry + headWords + lists) << 2
}

function valid({ words, generations }: HotMemory, entry: number, { request, question }: Lookup): boolean {
  const expires = word(words, entry + field.expires)
  if (expires !== 0 && request.nowSeconds >= expires) return false
  if (question.special && words[entry + field.foreign] === 1) return false
  let sum = word(generations, 0)
  const end = entry + headWords + word(words, entry + field.dependencies)
  for (let at = entry + headWords; at < end; at++) sum = (sum + word(generations, word(words, at))) | 0
  return sum === words[entry + field.generation]
}

function copy(memory: HotMemory, entry: number, lookup: Lookup): number {
  const { words, bytes } = memory
  const { request, question } = lookup
  const { out } = request
  const variants = word(words, entry + field.variants)
  const lengths = entry + headWords + word(words, entry + field.dependencies)
  const chosen = variants === 1 ? 0 : request.rotation % variants
  let from = keyStart(words, entry) + ((question.keyLength + 3) & ~3)
  for (let i = 0; i < chosen; i++) from += word(words, lengths + i)
  const length = word(words, lengths + chosen)
  const limit = request.transport === 'tcp' ? maxMessageBytes : question.limitBytes
  const whole = length + (question.opt === 0 ? 0 : optBytes)
  if (whole > limit || whole > out.length) return 0
  const ring = word(words, entry + field.ringCount)
  if (ring === 0) move(bytes, from, { out, to: 0, length })
  else moveRotated(memory, entry, { out, from, length, turn: request.rotation % ring })
  patchQuestion(request, question)
  if (words[entry + field.serialAt] !== 0)
    putU32(out, word(words, entry + field.serialAt), memory.control[control.serial])
  if (words[entry + field.ttls] !== 0) age(words, entry, request)
  if (question.opt !== 0) putOpt(request, question, length)
  return whole
}

/** The records between others, beginning with another one. */
function moveRotated(
  { words, bytes }: HotMemory,
  entry: number,
  job: { readonly out: Uint8Array; readonly from: number; readonly length: number; readonly turn: number },
): void {
  const { out, from, length } = job
  const start = word(words, entry + field.ringStart)
  const size = word(words, entry + field.ringBytes)
  const ring = size * word(words, entry + field.ringCount)
  const skip = job.turn * size
  move(bytes, from, { out, to: 0, length: start })
  move(bytes, from + start + skip, { out, to: start, length: ring - skip })
  move(bytes, from + start, { out, to: start + ring - skip, length: skip })
  move(bytes, from + start + ring, { out, to: start + ring, length: length - start - ring })
}

/** Short runs are quicker octet by octet than by the call of a built-in. */
const shortRun = 160

function move(
  bytes: Uint8Array,
  from: number,
  target: { readonly out: Uint8Array; readonly to: number; readonly length: number },
): void {
  const { out, to, length } = target
  if (length > shortRun) {
    out.set(bytes.subarray(from, from + length), to)
    return
  }
  for (let i = 0; i < length; i++) out[to + i] = bytes[from + i] ?? 0
}

/** Id, RD, and the question in the client's case. */
function patchQuestion({ out, packet }: HotRequest, { keyLength }: HotQuestion): void {
  out[0] = packet[0] ?? 0
  out[1] = packet[1] ?? 0
  out[2] = ((out[2] ?? 0) & 0xfe) | ((packet[2] ?? 0) & 0x01)
  for (let i = headerBytes; i < headerBytes + keyLength - 4; i++) out[i] = packet[i] ?? 0
}

/** TTLs of a cached answer go down with its age. RFC 1035 §7.3. */
function age(words: Int32Array, entry: number, { out, nowSeconds }: HotRequest): void {
  const seconds = nowSeconds - word(words, entry + field.born)
  const start = entry + headWords + word(words, entry + field.dependencies) + word(words, entry + field.variants)
  const end = start + word(words, entry + field.ttls)
  for (let i = start; i < end; i++) {
    const at = word(words, i)
    const ttl =
      (((out[at] ?? 0) << 24) | ((out[at + 1] ?? 0) << 16) | ((out[at + 2] ?? 0) << 8) | (out[at + 3] ?? 0)) >>> 0
    putU32(out, at, ttl > seconds ? ttl - seconds : 0)
  }
}

/** Writes our OPT at `at` and counts it: DO comes back as it was (RFC 3225 §3). The response code needs no upper bits here. */
export function putOpt({ out, packet }: Pick<HotRequest, 'out' | 'packet'>, { opt }: HotQuestion, at: number): void {
  out[11] = (out[11] ?? 0) + 1
  out[at] = 0
  out[at + 1] = 0
  out[at + 2] = 41
  out[at + 3] = ownUdpSizeBytes >> 8
  out[at + 4] = ownUdpSizeBytes & 0xff
  out[at + 5] = 0
  out[at + 6] = 0
  out[at + 7] = (packet[opt + 7] ?? 0) & 0x80
  out[at + 8] = 0
  out[at + 9] = 0
  out[at + 10] = 0
}

function putU32(out: Uint8Array, at: number, value = 0): void {
  out[at] = value >>> 24
  out[at + 1] = (value >>> 16) & 0xff
  out[at + 2] = (value >>> 8) & 0xff
  out[at + 3] = value & 0xff
}

function word(words: Int32Array, at: number): number {
  return words[at] ?? 0
}
