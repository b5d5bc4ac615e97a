/**
 * Responses of one size to one client go out as one message, which the kernel cuts again (UDP_SEGMENT, since Linux 4.18):
 * the way through its network stack is most of what an answer costs, and so is gone once for several. Who asks much through
 * one socket are other resolvers and load generators; who asks once gets what it always got.
 *
 * Rejected: a shorter response at the end of a message, which the kernel allows: it saves little and needs the sizes in order.
 */

/** Responses `0` to `count - 1` of a batch. */
export interface Outgoing {
  /** Octets of each. */
  readonly lengths: Uint32Array
  /** Which received packet each answers. */
  readonly froms: Uint32Array
  /** Addresses (`struct sockaddr`) of the received packets, {@link addressWords} for each, zero behind their end. */
  readonly names: Uint32Array
}

/** 32-bit words of an address. */
export const addressWords = 8

/** Puts responses into messages. Allocates nothing. */
export interface Gatherer {
  /** Begins of message `m` and what follows: the response behind `i`; -1: none. */
  readonly first: Int32Array
  readonly next: Int32Array
  /** Responses of each message. */
  readonly sizes: Int32Array
  /** How many messages the responses make. */
  gather(outgoing: Outgoing, count: number): number
}

/** Larger ones go alone: 64 of them would be more than a datagram holds, and a message must be below the path's MTU. */
const maxSegmentBytes = 1000

/** UDP_MAX_SEGMENTS, include/linux/udp.h, as it was first. */
const maxSegments = 64

/** A power of two, well above the responses of a batch. */
const tableSize = 256

/** For batches of at most `capacity` responses. `segments`: the kernel cuts messages. */
export function makeGatherer(capacity: number, segments: 'cut' | 'never'): Gatherer {
  const [first, last, sizes] = [new Int32Array(capacity), new Int32Array(capacity), new Int32Array(capacity)]
  const next = new Int32Array(capacity)
  // A slot holds the message that was begun last for its hash, and the batch that it was in.
  const table = new Int32Array(tableSize)
  const batches = new Int32Array(tableSize)
  const most = segments === 'cut' ? maxSegments : 1
  let batch = 0
  const gather = (outgoing: Outgoing, count: number): number => {
    const { lengths } = outgoing
    batch = (batch + 1) | 0
    let messages = 0
    for (let i = 0; i < count; i++) {
      const length = word(lengths, i)
      const slot = hash(outgoing, i) & (tableSize - 1)
      const known = batches[slot] === batch ? (table[slot] ?? 0) : -1
      next[i] = -1
      if (
        known >= 0 &&
        (sizes[known] ?? 0) < most &&
        length <= maxSegmentBytes &&
        alike(outgoing, first[known] ?? 0, i)
      ) {
        next[last[known] ?? 0] = i
        last[known] = i
        sizes[known] = (sizes[known] ?? 0) + 1
        continue
      }
      table[slot] = messages
      batches[slot] = batch
      first[messages] = i
      last[messages] = i
      sizes[messages++] = 1
    }
    return messages
  }
  return { first, next, sizes, gather }
}

/** Clients differ in port, mostly: the upper half of the first word. */
function hash({ lengths, froms, names }: Outgoing, i: number): number {
  const port = word(names, word(froms, i) * addressWords) >>> 16
  return (Math.imul(port, 0x9e37) >>> 4) + word(lengths, i)
}

function alike({ lengths, froms, names }: Outgoing, a: number, b: number): boolean {
  if (lengths[a] !== lengths[b]) return false
  const [left, right] = [word(froms, a) * addressWords, word(froms, b) * addressWords]
  for (let i = 0; i < addressWords; i++) if (names[left + i] !== names[right + i]) return false
  return true
}

function word(words: Uint32Array, at: number): number {
  return words[at] ?? 0
}
