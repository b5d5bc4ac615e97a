/**
 * The kernel's structures for many datagrams with one call, in memory that no garbage collector moves.
 * include/linux/socket.h (`struct mmsghdr`), include/uapi/linux/uio.h (`struct iovec`), as 64-bit machines have them.
 */
import { addressWords, makeGatherer, type Gatherer, type Outgoing } from './gather.ts'

/** Largest query that is taken; the rest of a longer one is cut off, and it gets FORMERR. */
export const packetBytes = 2048

/** Datagrams for each call. */
export const batchSize = 64

/** Octets of a `struct sockaddr_in6`, the longest address. include/uapi/linux/in6.h */
export const addressBytes = 28

/** Octets of a `struct mmsghdr`. */
export const mmsghdrBytes = 64

const addressStride = addressWords * 4
const responseBytes = 4096
const iovecBytes = 16

/** Offsets in a `struct mmsghdr`. */
const offset = {
  name: 0,
  nameLength: 8,
  vector: 16,
  vectorLength: 24,
  control: 32,
  controlLength: 40,
  length: 56,
} as const
const headerWords = mmsghdrBytes / 4
const vectorWords = iovecBytes / 4

/** SOL_UDP and UDP_SEGMENT: a message with it is cut into datagrams of so many octets. include/uapi/linux/udp.h */
export const segmentOption = { level: 17, name: 103 } as const
/** CMSG_SPACE and CMSG_LEN of 16 bits, include/linux/socket.h. */
const [controlBytes, controlLength] = [24, 18]

/** Room for one batch, received and sent. Its memory lives as long as the thread. */
export interface Batch {
  /** Where each received packet begins. */
  readonly packets: readonly Uint8Array[]
  /** Where responses are written; the first ones are sent. */
  readonly responses: readonly Uint8Array[]
  /** Addresses for recvmmsg and sendmmsg. */
  readonly received: bigint
  readonly sending: bigint
  /** Octets of received packet `i`. */
  length(i: number): number
  /** Where received packet `i` came from: a copy of its `struct sockaddr`. */
  source(i: number): Uint8Array
  /** Response `slot` has so many octets and goes to where packet `from` came from. */
  address(slot: number, from: number, length: number): void
  /** Makes the messages for sendmmsg of the first `count` responses. @returns how many messages */
  gather(count: number): number
  /** The responses of a message, and where they go: for those that can't go as one. */
  parts(message: number): readonly { readonly bytes: Uint8Array; readonly to: Uint8Array }[]
  /** Makes it ready to receive again. */
  clear(): void
}

/** Memory outside of the heap. */
type Allocate = (bytes: number) => { readonly address: bigint; readonly buffer: ArrayBuffer }

/** Lays a batch out. `segments`: the kernel cuts messages ({@link makeGatherer}). */
export function makeBatch(allocate: Allocate, segments: 'cut' | 'never'): Batch {
  const room = (bytes: number) => ({ ...allocate(bytes * batchSize), bytes })
  const [received, names, packets] = [room(mmsghdrBytes), room(addressStride), room(packetBytes)]
  const [responses, vectors] = [room(responseBytes), room(iovecBytes)]
  const slots = [...Array(batchSize).keys()]
  for (const i of slots) describe(i, { header: received, vector: vectors, content: packets, name: names })
  const words = new Uint32Array(received.buffer)
  const views = (of: Room) => slots.map((i) => new Uint8Array(of.buffer, i * of.bytes, of.bytes))
  const [sources, bodies] = [views(names), views(responses)]
  const lengths = new Uint32Array(batchSize)
  const outgoing: Outgoing = { lengths, froms: new Uint32Array(batchSize), names: new Uint32Array(names.buffer) }
  const { froms } = outgoing
  const gatherer = makeGatherer(batchSize, segments)
  const messages = makeMessages(room, { names, responses, gatherer, outgoing })
  const source = (i: number) =>
    (sources[i] ?? new Uint8Array(0)).slice(0, words[i * headerWords + offset.nameLength / 4])
  return {
    packets: views(packets),
    responses: bodies,
    received: received.address,
    sending: messages.address,
    length: (i) => words[i * headerWords + offset.length / 4] ?? 0,
    source,
    address: (slot, from, length) => {
      lengths[slot] = length
      froms[slot] = from
    },
    gather: (count) => {
      const made = gatherer.gather(outgoing, count)
      messages.write(made, words)
      return made
    },
    parts: (message) => {
      const list = []
      for (let i = gatherer.first[message] ?? -1; i >= 0; i = gatherer.next[i] ?? -1) {
        list.push({ bytes: (bodies[i] ?? new Uint8Array(0)).subarray(0, lengths[i]), to: source(froms[i] ?? 0) })
      }
      return list
    },
    clear: () => {
      for (let i = 0; i < batchSize; i++) words[i * headerWords + offset.nameLength / 4] = addressBytes
    },
  }
}

interface Room {
  readonly address: bigint
  readonly buffer: ArrayBuffer
  readonly bytes: number
}

/** Where the message headers for sendmmsg are, and what writes the first `count` of them. */
interface Messages {
  readonly address: bigint
  /** `received`: the headers that the addresses' lengths are in. */
  readonly write: (count: number, received: Uint32Array) => void
}

function makeMessages(
  room: (bytes: number) => Room,
  rooms: { readonly names: Room; readonly responses: Room; readonly gatherer: Gatherer; readonly outgoing: Outgoing },
): Messages {
  const [headers, vectors, controls] = [room(mmsghdrBytes), room(iovecBytes), room(controlBytes)]
  const [header, vector] = [new Uint32Array(headers.buffer), new Uint32Array(vectors.buffer)]
  const sizes = describeControls(controls)
  const [nameAt, bodyAt] = [addresses(rooms.names), addresses(rooms.responses)]
  const [vectorAt, controlAt] = [addresses(vectors), addresses(controls)]
  const { gatherer, outgoing } = rooms
  const point = (at: number, to: Uint32Array, i: number) => {
    header[at] = to[2 * i] ?? 0
    header[at + 1] = to[2 * i + 1] ?? 0
  }
  const write = (count: number, received: Uint32Array) => {
    let used = 0
    for (let message = 0; message < count; message++) {
      const first = gatherer.first[message] ?? 0
      const from = outgoing.froms[first] ?? 0
      const at = message * headerWords
      const parts = gatherer.sizes[message] ?? 0
      point(at, nameAt, from)
      header[at + offset.nameLength / 4] = received[from * headerWords + offset.nameLength / 4] ?? 0
      point(at + offset.vector / 4, vectorAt, used)
      header[at + offset.vectorLength / 4] = parts
      point(at + offset.control / 4, controlAt, message)
      header[at + offset.controlLength / 4] = parts > 1 ? controlBytes : 0
      if (parts > 1) sizes[(message * controlBytes + 16) / 2] = outgoing.lengths[first] ?? 0
      for (let i = first; i >= 0; i = gatherer.next[i] ?? -1) {
        vector[used * vectorWords] = bodyAt[2 * i] ?? 0
        vector[used * vectorWords + 1] = bodyAt[2 * i + 1] ?? 0
        vector[used++ * vectorWords + 2] = outgoing.lengths[i] ?? 0
      }
    }
  }
  return { address: headers.address, write }
}

/** The address of each slot in two words, the lower one first. */
function addresses({ address, bytes }: Room): Uint32Array {
  const all = BigUint64Array.from({ length: batchSize }, (_, i) => address + BigInt(i * bytes))
  return new Uint32Array(all.buffer)
}

/** A `struct cmsghdr` for each message; what changes is the size of a segment. */
function describeControls({ buffer }: Room): Uint16Array {
  const view = new DataView(buffer)
  for (let i = 0; i < batchSize; i++) {
    view.setBigUint64(i * controlBytes, BigInt(controlLength), true)
    view.setInt32(i * controlBytes + 8, segmentOption.level, true)
    view.setInt32(i * controlBytes + 12, segmentOption.name, true)
  }
  return new Uint16Array(buffer)
}

/** Fills in what never changes: slot `i` of the headers points at slot `i` of names and, over the vector, of content. */
function describe(
  i: number,
  rooms: { readonly header: Room; readonly vector: Room; readonly content: Room; readonly name: Room },
): void {
  const address = ({ address, bytes }: Room) => address + BigInt(i * bytes)
  const header = new DataView(rooms.header.buffer, i * mmsghdrBytes, mmsghdrBytes)
  const vector = new DataView(rooms.vector.buffer, i * iovecBytes, iovecBytes)
  vector.setBigUint64(0, address(rooms.content), true)
  vector.setBigUint64(8, BigInt(rooms.content.bytes), true)
  header.setBigUint64(offset.name, address(rooms.name), true)
  header.setUint32(offset.nameLength, addressBytes, true)
  header.setBigUint64(offset.vector, address(rooms.vector), true)
  header.setBigUint64(offset.vectorLength, 1n, true)
}
