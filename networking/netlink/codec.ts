import { AppError } from '../../core/base/errors.ts'
import { type Writer } from './writer.ts'

/** One value ↔ octets. `get` looks at `[start, end)` only. */
export interface Codec<T> {
  write(writer: Writer, value: T): void
  /** @throws ERR_NETLINK_MALFORMED with the offset in the datagram */
  get(buffer: Buffer, start: number, end: number): T
}

/** A number of fixed width, which may also stand at a given place of a struct. */
export interface NumberCodec extends Codec<number> {
  readonly size: number
  put(buffer: Buffer, at: number, value: number): void
}

/** @throws ERR_NETLINK_MALFORMED always */
export function malformed(offset: number, reason: string): never {
  throw new AppError('ERR_NETLINK_MALFORMED', `malformed netlink message at octet ${offset}: ${reason}`, {
    details: { offset },
  })
}

interface NumberAccess {
  readonly size: number
  readonly read: (buffer: Buffer, at: number) => number
  readonly put: (buffer: Buffer, at: number, value: number) => void
}

function numberCodec({ size, read, put }: NumberAccess): NumberCodec {
  return {
    size,
    put,
    write: (writer, value) => {
      const at = writer.reserve(size)
      put(writer.buffer, at, value)
    },
    get: (buffer, start, end) => {
      if (end - start !== size) malformed(start, `${end - start} octets where ${size} make a number`)
      return read(buffer, start)
    },
  }
}

/** Unsigned 8 bits. */
export const u8 = numberCodec({ size: 1, read: (b, at) => b.readUInt8(at), put: (b, at, v) => b.writeUInt8(v, at) })
/** Unsigned 16 bits in host order, which {@link openNative} makes sure is little-endian. */
export const u16 = numberCodec({
  size: 2,
  read: (b, at) => b.readUInt16LE(at),
  put: (b, at, v) => b.writeUInt16LE(v, at),
})
/** Unsigned 16 bits in network order. */
export const u16be = numberCodec({
  size: 2,
  read: (b, at) => b.readUInt16BE(at),
  put: (b, at, v) => b.writeUInt16BE(v, at),
})
/** Unsigned 32 bits in host order. */
export const u32 = numberCodec({
  size: 4,
  read: (b, at) => b.readUInt32LE(at),
  put: (b, at, v) => b.writeUInt32LE(v, at),
})
/** Unsigned 32 bits in network order. */
export const u32be = numberCodec({
  size: 4,
  read: (b, at) => b.readUInt32BE(at),
  put: (b, at, v) => b.writeUInt32BE(v, at),
})
/** Signed 32 bits in host order. */
export const s32 = numberCodec({
  size: 4,
  read: (b, at) => b.readInt32LE(at),
  put: (b, at, v) => b.writeInt32LE(v, at),
})

/** Unsigned 64 bits in host order. */
export const u64: Codec<bigint> = {
  write: (writer, value) => {
    const at = writer.reserve(8)
    writer.buffer.writeBigUInt64LE(value, at)
  },
  get: (buffer, start, end) => {
    if (end - start !== 8) malformed(start, `${end - start} octets where 8 make a number`)
    return buffer.readBigUInt64LE(start)
  },
}

/** Unsigned 64 bits in network order. */
export const u64be: Codec<bigint> = {
  write: (writer, value) => {
    const at = writer.reserve(8)
    writer.buffer.writeBigUInt64BE(value, at)
  },
  get: (buffer, start, end) => {
    if (end - start !== 8) malformed(start, `${end - start} octets where 8 make a number`)
    return buffer.readBigUInt64BE(start)
  },
}

/** Text that ends where the attribute ends; a NUL at its end is not part of it. */
export const word: Codec<string> = {
  write: (writer, value) => {
    if (value.includes('\0')) throw new AppError('ERR_NETLINK_TEXT', `${JSON.stringify(value)} has a NUL inside`)
    writer.append(Buffer.from(value, 'utf8'))
  },
  get: (buffer, start, end) => text.get(buffer, start, end),
}

/** NUL-terminated text. Writing refuses a NUL inside: the kernel would silently use the part before it. */
export const text: Codec<string> = {
  write: (writer, value) => {
    word.write(writer, value)
    writer.zeros(1)
  },
  get: (buffer, start, end) => {
    const stop = buffer.indexOf(0, start)
    return buffer.toString('utf8', start, stop < 0 || stop > end ? end : stop)
  },
}

/** Octets as they are. Reading copies: the receive buffer is used again. */
export const octets: Codec<Uint8Array> = {
  write: (writer, value) => writer.append(value),
  get: (buffer, start, end) => Uint8Array.from(buffer.subarray(start, end)),
}

/** An attribute whose presence is its value. */
export const flag: Codec<true> = {
  write: () => undefined,
  get: () => true,
}
