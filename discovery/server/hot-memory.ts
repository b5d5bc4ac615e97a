/**
 * Memory that the threads of the DNS server share: responses as they go out, found by question. One thread writes, any
 * number read, nobody waits.
 *
 * An entry lies in a ring (one for positive, one for negative answers, so that asking for nonsense can't push names out),
 * a bucket of the index points at it. Reading never locks: the reader copies what it found and then looks whether the
 * index still points there. The writer takes the pointer away long before it writes over the entry (`graceWords`).
 *
 * Rejected: a copy of the zones in each thread (memory times threads, changes sent to each), a lock (a writer that is
 * descheduled stops every answer), double buffering (twice the memory, and a change of one name copies all).
 */

/** What the threads get of each other: plain shared buffers. */
export interface HotBuffers {
  readonly control: SharedArrayBuffer
  readonly generations: SharedArrayBuffer
  readonly index: SharedArrayBuffer
  readonly tags: SharedArrayBuffer
  readonly arena: SharedArrayBuffer
  readonly positiveBytes: number
}

/** The same, as it is read and written. */
export interface HotMemory {
  /** See {@link control}. */
  readonly control: Int32Array
  /** Grow when what names mean changes; 0 is for all names. An entry is valid while those it was made from stand. */
  readonly generations: Int32Array
  /** Where entries begin, in words; 0: none. Buckets of {@link ways}. */
  readonly index: Int32Array
  /** Hash of the entry's key, beside each pointer. */
  readonly tags: Int32Array
  readonly words: Int32Array
  readonly bytes: Uint8Array
  /** Where the ring of positive entries ends and that of negative ones begins, in words. */
  readonly positiveWords: number
}

/** Words of {@link HotMemory.control}. */
export const control = { stop: 0, waiting: 1, serial: 2 } as const

/** Words at the beginning of an entry. */
export const field = {
  size: 0,
  slot: 1,
  id: 2,
  /** Seconds of the shared monotonic clock; 0: does not expire. */
  expires: 3,
  born: 4,
  dependencies: 5,
  variants: 6,
  generation: 7,
  keyLength: 8,
  /** 1: of a zone of others; served only to queries with RD and without DO and CD. */
  foreign: 9,
  /** Equal records that may be rotated by copying: where they begin, octets of each, how many (0: none). */
  ringStart: 10,
  ringBytes: 11,
  ringCount: 12,
  /** How many TTLs grow older while the entry stays. */
  ttls: 13,
  /** Offset of the SOA serial, which is always the current one; 0: none. */
  serialAt: 14,
  rcode: 15,
} as const

/** Words of the fixed part. */
export const headWords = 16

/** Entries of a bucket. */
export const ways = 4

/** How many generations there are, a power of two. */
export const generationCount = 1 << 16

/** How big the memory is; pages that were never written cost nothing. */
export interface HotSize {
  readonly positiveBytes: number
  readonly negativeBytes: number
  /** A power of two. */
  readonly buckets: number
}

/** Some 200,000 addresses and 16,000 denials: 38 MB in all when that many are asked for. */
export const defaultHotSize: HotSize = { positiveBytes: 32 << 20, negativeBytes: 4 << 20, buckets: 1 << 16 }

/** New, empty buffers. */
export function makeHotBuffers(size: HotSize = defaultHotSize): HotBuffers {
  const shared = (bytes: number) => new SharedArrayBuffer(bytes)
  return {
    control: shared(64),
    generations: shared(4 * generationCount),
    index: shared(4 * ways * size.buckets),
    tags: shared(4 * ways * size.buckets),
    arena: shared(size.positiveBytes + size.negativeBytes),
    positiveBytes: size.positiveBytes,
  }
}

/** A thread's view of the buffers. */
export function hotMemoryOf(buffers: HotBuffers): HotMemory {
  return {
    control: new Int32Array(buffers.control),
    generations: new Int32Array(buffers.generations),
    index: new Int32Array(buffers.index),
    tags: new Int32Array(buffers.tags),
    words: new Int32Array(buffers.arena),
    bytes: new Uint8Array(buffers.arena),
    positiveWords: buffers.positiveBytes >> 2,
  }
}

/** Which generation stands for a name. FNV-1a. */
export function generationOf(nameKey: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < nameKey.length; i++) hash = Math.imul(hash ^ nameKey.charCodeAt(i), 0x01000193)
  const slot = (hash ^ (hash >>> 15)) & (generationCount - 1)
  return slot === 0 ? 1 : slot
}
