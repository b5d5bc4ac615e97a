/** Takes octets as they come, gives whole messages: each has its length in two octets before it. RFC 1035 §4.2.2. */
export interface FrameSplitter {
  /** Messages that are complete now; views of the chunk where that is possible. */
  push(chunk: Uint8Array): readonly Uint8Array[]
  /** True in the middle of a message. */
  partial(): boolean
}

/** A splitter for one connection. It never holds more than one incomplete message. */
export function makeFrameSplitter(): FrameSplitter {
  let held: Uint8Array = new Uint8Array(0)
  return {
    push: (chunk) => {
      const bytes = held.length === 0 ? chunk : concat(held, chunk)
      const messages: Uint8Array[] = []
      let at = 0
      while (bytes.length - at >= 2) {
        const end = at + 2 + (((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0))
        if (end > bytes.length) break
        messages.push(bytes.subarray(at + 2, end))
        at = end
      }
      held = bytes.slice(at)
      return messages
    },
    partial: () => held.length > 0,
  }
}

/** A message with its length before it. */
export function frame(message: Uint8Array): Uint8Array {
  const framed = new Uint8Array(message.length + 2)
  framed[0] = message.length >> 8
  framed[1] = message.length & 0xff
  framed.set(message, 2)
  return framed
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}
