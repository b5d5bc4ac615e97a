/**
 * The kernel's structures for many datagrams with one call, in memory that no garbage collector moves.
 * include/linux/socket.h (`struct mmsghdr`), include/uapi/linux/uio.h (`struct iovec`), as 64-bit machines have them.
 */

/** Largest query that is taken; the rest of a longer one is cut off, and it gets FORMERR. */
export const packetBytes = 2048

/** Datagrams for each call. */
export const batchSize = 64

/** Octets of a `struct sockaddr_in6`, the longest address. include/uapi/linux/in6.h */
export const addressBytes = 28

/** Octets of a `struct mmsghdr`. */
export const mmsghdrBytes = 64

const addressStride = 32
const responseBytes = 4096
const iovecBytes = 16

/** Offsets in a `struct mmsghdr`. */
const offset = { name: 0, nameLength: 8, vector: 16, vectorLength: 24, length: 56 } as const
const headerWords = mmsghdrBytes / 4

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
  /** Makes it ready to receive again. */
  clear(): void
}

/** Memory outside of the heap. */
type Allocate = (bytes: number) => { readonly address: bigint; readonly buffer: ArrayBuffer }

/** Lays a batch out. */
export function makeBatch(allocate: Allocate): Batch {
  const room = (bytes: number) => ({ ...allocate(bytes * batchSize), bytes })
  const [received, sending] = [room(mmsghdrBytes), room(mmsghdrBytes)]
  const [names, packets, responses] = [room(addressStride), room(packetBytes), room(responseBytes)]
  const vectors = [room(iovecBytes), room(iovecBytes)] as const
  const slots = [...Array(batchSize).keys()]
  for (const i of slots) {
    describe(i, { header: received, vector: vectors[0], content: packets, name: names })
    describe(i, { header: sending, vector: vectors[1], content: responses, name: names })
  }
  const [receivedWords, sendingWords] = [new Uint32Array(received.buffer), new Uint32Array(sending.buffer)]
  const sendVectors = new Uint32Array(vectors[1].buffer)
  const views = (of: Room) => slots.map((i) => new Uint8Array(of.buffer, i * of.bytes, of.bytes))
  const sources = views(names)
  return {
    packets: views(packets),
    responses: views(responses),
    received: received.address,
    sending: sending.address,
    length: (i) => receivedWords[i * headerWords + offset.length / 4] ?? 0,
    source: (i) => (sources[i] ?? new Uint8Array(0)).slice(0, receivedWords[i * headerWords + offset.nameLength / 4]),
    address: (slot, from, length) => {
      const [to, at] = [slot * headerWords, from * headerWords]
      for (const field of [offset.name, offset.name + 4, offset.nameLength]) {
        sendingWords[to + field / 4] = receivedWords[at + field / 4] ?? 0
      }
      sendVectors[slot * (iovecBytes / 4) + 2] = length
    },
    clear: () => {
      for (let i = 0; i < batchSize; i++) receivedWords[i * headerWords + offset.nameLength / 4] = addressBytes
    },
  }
}

interface Room {
  readonly address: bigint
  readonly buffer: ArrayBuffer
  readonly bytes: number
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
