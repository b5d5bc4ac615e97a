import { control, field, generationOf, headWords, type HotMemory, ways } from './hot-memory.ts'
import { locate } from './hot-find.ts'
import { makeHotQuestion, recognize } from './hot-question.ts'

/** A response to keep. */
export interface HotEntry {
  /** A query that it answers. */
  readonly packet: Uint8Array
  readonly area: 'positive' | 'negative'
  readonly rcode: number
  /** Without OPT, id, RD; the question in lower case. Chosen among by rotation. */
  readonly variants: readonly Uint8Array[]
  /** Names (as keys) whose change makes it wrong. */
  readonly names: readonly string[]
  readonly ring?: { readonly start: number; readonly bytes: number; readonly count: number }
  /** Offset of a SOA serial that follows the zones; absent: none. */
  readonly serialAt?: number
  /** For answers of others: served until then, with TTLs that go down. Seconds of the shared monotonic clock. */
  readonly cached?: {
    readonly bornSeconds: number
    readonly untilSeconds: number
    readonly ttlOffsets: readonly number[]
  }
}

/** The writing side; exactly one thread may have one. */
export interface HotStore {
  /** Keeps the entry in place of the one for the same question. False when it is too large. */
  put(entry: HotEntry): boolean
  /** What was made from these names, and from names above them, is answered anew from now on. */
  forget(nameKeys: Iterable<string>): void
  /** All is answered anew. */
  forgetAll(): void
  setSerial(serial: number): void
}

/** How far ahead of writing the pointers are taken away: a reader that is copying has that long to finish. */
const graceWords = 4096

interface Ring {
  readonly base: number
  readonly end: number
  head: number
  tail: number
  /** Where the last entry before the wrap ends; entries lie in [tail, high) and [base, head) when wrapped. */
  high: number
  wrapped: boolean
}

/** Opens the writing side of the memory. */
export function makeHotStore(memory: HotMemory): HotStore {
  const question = makeHotQuestion()
  const ring = (base: number, end: number): Ring => ({ base, end, head: base, tail: base, high: end, wrapped: false })
  const rings = {
    // Offset 0 means "none" in the index.
    positive: ring(headWords, memory.positiveWords),
    negative: ring(memory.positiveWords, memory.words.length),
  }
  const { generations } = memory
  let id = 0
  return {
    put: (entry) => {
      if (!recognize(entry.packet, entry.packet.length, question)) return false
      const size = sizeWords(entry, question.keyLength)
      const at = allocate(memory, rings[entry.area], size)
      if (at < 0) return false
      id = (id + 1) | 0
      write(memory, at, { entry, key: question.key.subarray(0, question.keyLength), size, id })
      const known = locate(memory, question)
      const slot = known >= 0 ? known : freeSlot(memory, question.hash)
      memory.words[at + field.slot] = slot
      Atomics.store(memory.index, slot, 0)
      memory.tags[slot] = question.hash
      Atomics.store(memory.index, slot, at)
      return true
    },
    forget: (nameKeys) => {
      for (const key of nameKeys) Atomics.add(generations, generationOf(key), 1)
    },
    forgetAll: () => {
      Atomics.add(generations, 0, 1)
    },
    setSerial: (serial) => {
      Atomics.store(memory.control, control.serial, serial | 0)
    },
  }
}

function sizeWords(entry: HotEntry, keyLength: number): number {
  const lists = entry.names.length + entry.variants.length + (entry.cached?.ttlOffsets.length ?? 0)
  const octets = entry.variants.reduce((sum, { length }) => sum + length, 0)
  return headWords + lists + ((keyLength + 3) >> 2) + ((octets + 3) >> 2)
}

/** Room for an entry: the oldest ones go. -1 when it would push out a quarter of the ring. */
function allocate(memory: HotMemory, ring: Ring, size: number): number {
  if (size > (ring.end - ring.base) >> 2) return -1
  if (!ring.wrapped && ring.head + size > ring.end) {
    ring.high = ring.head
    ring.head = ring.base
    ring.wrapped = true
  }
  while (ring.wrapped && ring.head + size + graceWords > ring.tail) evict(memory, ring)
  const at = ring.head
  ring.head += size
  return at
}

function evict({ words, index }: HotMemory, ring: Ring): void {
  if (ring.tail >= ring.high) {
    ring.tail = ring.base
    ring.wrapped = false
    return
  }
  const slot = words[ring.tail + field.slot] ?? 0
  if (index[slot] === ring.tail) Atomics.store(index, slot, 0)
  ring.tail += words[ring.tail + field.size] ?? 0
}

/** An empty slot of the bucket, or that of its oldest entry. */
function freeSlot({ index, words }: HotMemory, hash: number): number {
  const bucket = (hash & (index.length / ways - 1)) * ways
  let oldest = bucket
  let age = -1
  const newest = Math.max(...[0, 1, 2, 3].map((way) => idOf(words, index[bucket + way] ?? 0)))
  for (let slot = bucket; slot < bucket + ways; slot++) {
    const entry = index[slot] ?? 0
    if (entry === 0) return slot
    const behind = newest - idOf(words, entry)
    if (behind > age) [oldest, age] = [slot, behind]
  }
  return oldest
}

function idOf(words: Int32Array, entry: number): number {
  return entry === 0 ? 0 : (words[entry + field.id] ?? 0)
}

function write(
  { words, bytes, generations }: HotMemory,
  at: number,
  content: { readonly entry: HotEntry; readonly key: Uint8Array; readonly size: number; readonly id: number },
): void {
  const { entry, key, size, id } = content
  const slots = entry.names.map(generationOf)
  words[at + field.size] = size
  words[at + field.id] = id
  words[at + field.expires] = entry.cached?.untilSeconds ?? 0
  words[at + field.born] = entry.cached?.bornSeconds ?? 0
  words[at + field.dependencies] = slots.length
  words[at + field.variants] = entry.variants.length
  words[at + field.generation] = [0, ...slots].reduce((sum, slot) => (sum + (generations[slot] ?? 0)) | 0, 0)
  words[at + field.keyLength] = key.length
  words[at + field.foreign] = entry.cached === undefined ? 0 : 1
  words[at + field.ringStart] = entry.ring?.start ?? 0
  words[at + field.ringBytes] = entry.ring?.bytes ?? 0
  words[at + field.ringCount] = entry.ring?.count ?? 0
  words[at + field.ttls] = entry.cached?.ttlOffsets.length ?? 0
  words[at + field.serialAt] = entry.serialAt ?? 0
  words[at + field.rcode] = entry.rcode
  const lists = [...slots, ...entry.variants.map(({ length }) => length), ...(entry.cached?.ttlOffsets ?? [])]
  words.set(lists, at + headWords)
  let octet = (at + headWords + lists.length) << 2
  bytes.set(key, octet)
  octet += (key.length + 3) & ~3
  for (const variant of entry.variants) {
    bytes.set(variant, octet)
    octet += variant.length
  }
}
