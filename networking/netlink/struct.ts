import { type Codec, malformed, type NumberCodec } from './codec.ts'

type StructFields = Readonly<Record<string, readonly [offset: number, codec: NumberCodec]>>

/** The values of a struct. */
export type StructOf<Struct> = Struct extends Codec<infer Values> ? Required<Values> : never

/** A C struct of numbers; fields not given are 0 when written. */
export interface StructCodec<Fields extends StructFields> extends Codec<{ readonly [Name in keyof Fields]?: number }> {
  readonly size: number
  /** Reads it at `start`; what follows is not looked at. @throws ERR_NETLINK_MALFORMED when `end` comes too early */
  get(buffer: Buffer, start: number, end: number): { readonly [Name in keyof Fields]: number }
}

/** A struct of `size` octets: `struct(4, { cmd: [0, u8], version: [1, u8] })`. Octets between fields are zero. */
export function struct<const Fields extends StructFields>(size: number, fields: Fields): StructCodec<Fields> {
  const list = Object.entries(fields)
  return {
    size,
    write: (writer, values) => {
      const at = writer.zeros(size)
      const given: Readonly<Record<string, number | undefined>> = values
      for (const name in given) {
        const field = fields[name]
        const value = given[name]
        if (field !== undefined && value !== undefined) field[1].put(writer.buffer, at + field[0], value)
      }
    },
    get: (buffer, start, end) => {
      if (end - start < size) malformed(start, `${end - start} octets where the header has ${size}`)
      const values: Record<string, number> = {}
      for (const [name, [offset, codec]] of list) {
        values[name] = codec.get(buffer, start + offset, start + offset + codec.size)
      }
      return values as { readonly [Name in keyof Fields]: number } // filled from the same table
    },
  }
}
