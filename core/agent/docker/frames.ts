/** A piece of a container's output. */
export interface OutputFrame {
  readonly stream: 'stdout' | 'stderr'
  readonly content: Buffer
}

const headerLength = 8

/**
 * Takes the stream of an attached container apart: each frame has a header of its stream's number, three zeros and its
 * length. Source: Engine API v1.41, ContainerAttach, "Stream format".
 */
export async function* readFrames(source: AsyncIterable<Buffer>): AsyncGenerator<OutputFrame> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of source) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= headerLength) {
      const end = headerLength + rest.readUInt32BE(4)
      if (rest.length < end) break
      yield { stream: rest[0] === 2 ? 'stderr' : 'stdout', content: rest.subarray(headerLength, end) }
      rest = rest.subarray(end)
    }
  }
}
