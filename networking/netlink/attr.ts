/**
 * Attributes (`struct nlattr`, include/uapi/linux/netlink.h) as tables: encoder, decoder and type come from one place.
 * Attributes that a table does not name are kept as octets, so that what was read can be written back whole.
 */
import { AppError } from '../../core/base/errors.ts'
import { type Codec, malformed } from './codec.ts'
import { Writer } from './writer.ts'

/** Name → attribute number and codec. */
export type AttrFields = Readonly<Record<string, readonly [type: number, codec: Codec<unknown>]>>

/** A table ready for use in both directions. Made by {@link attrTable}. */
export interface AttrTable<Fields extends AttrFields = AttrFields> {
  readonly fields: Fields
  readonly byType: ReadonlyMap<number, { readonly name: string; readonly codec: Codec<unknown> }>
}

/** An attribute that no table names; `type` is as on the wire, flags included. */
export interface RawAttr {
  readonly type: number
  readonly bytes: Uint8Array
}

type ValuesOf<Fields extends AttrFields> = {
  readonly [Name in keyof Fields]?: (Fields[Name][1] extends Codec<infer Value> ? Value : never) | undefined
}

/** The values that a table describes: each may be absent. */
export type AttrsOf<Table extends AttrTable> = ValuesOf<Table['fields']> & { readonly unknown?: readonly RawAttr[] }

/** NLA_TYPE_MASK: without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const NLA_TYPE_MASK = 0x3fff
const NLA_F_NESTED = 0x8000
const headerBytes = 4
const maxLength = 0xffff

/** A table of attributes: `attrTable({ vni: [1, u32], port: [15, u16be] })`. */
export function attrTable<const Fields extends AttrFields>(fields: Fields): AttrTable<Fields> {
  const byType = new Map(
    Object.entries(fields).map(([name, [type, codec]]) => [type & NLA_TYPE_MASK, { name, codec }] as const),
  )
  return { fields, byType }
}

/** Appends the attributes that have a value, in the order of the object's keys, then the unknown ones. */
export function writeAttrs<Table extends AttrTable>(writer: Writer, table: Table, attrs: AttrsOf<Table>): void {
  const fields: AttrFields = table.fields
  const values: Readonly<Record<string, unknown>> = attrs
  for (const name in values) {
    const field = fields[name]
    const value = values[name]
    if (field === undefined || value === undefined) continue
    const start = beginAttr(writer, field[0])
    field[1].write(writer, value)
    endAttr(writer, start)
  }
  for (const { type, bytes } of attrs.unknown ?? []) writeRawAttr(writer, type, bytes)
}

/** Appends one attribute of any kind. @throws ERR_NETLINK_TOO_LONG over 65,531 octets */
export function writeRawAttr(writer: Writer, type: number, bytes: Uint8Array): void {
  const start = beginAttr(writer, type)
  writer.append(bytes)
  endAttr(writer, start)
}

function beginAttr(writer: Writer, type: number): number {
  const start = writer.reserve(headerBytes)
  writer.buffer.writeUInt16LE(type, start + 2)
  return start
}

function endAttr(writer: Writer, start: number): void {
  const length = writer.length - start
  if (length > maxLength) {
    throw new AppError('ERR_NETLINK_TOO_LONG', `an attribute of ${length} octets: at most ${maxLength} fit`)
  }
  writer.buffer.writeUInt16LE(length, start)
  writer.align()
}

/** The attributes alone, as octets. */
export function encodeAttrs<Table extends AttrTable>(table: Table, attrs: AttrsOf<Table>): Buffer {
  const writer = new Writer(256)
  writeAttrs(writer, table, attrs)
  return writer.copy()
}

/**
 * Reads the attributes in `[start, end)`; the last of equals wins, as in the kernel.
 * @throws ERR_NETLINK_MALFORMED when a length is under 4 or leads outside
 */
export function decodeAttrs<Table extends AttrTable>(
  table: Table,
  bytes: Buffer,
  range: { readonly start: number; readonly end: number } = { start: 0, end: bytes.length },
): AttrsOf<Table> {
  const values: Record<string, unknown> = {}
  const unknown: RawAttr[] = []
  eachAttr(bytes, range, (type, start, end) => {
    const known = table.byType.get(type & NLA_TYPE_MASK)
    if (known === undefined) unknown.push({ type, bytes: Uint8Array.from(bytes.subarray(start, end)) })
    else values[known.name] = known.codec.get(bytes, start, end)
  })
  if (unknown.length > 0) values['unknown'] = unknown
  return values as AttrsOf<Table> // each value came from the codec that its type is derived from
}

/** Visits each attribute: `type` with flags, and where its value lies. @throws ERR_NETLINK_MALFORMED */
export function eachAttr(
  bytes: Buffer,
  range: { readonly start: number; readonly end: number },
  visit: (type: number, start: number, end: number) => void,
): void {
  let at = range.start
  while (at < range.end) {
    if (range.end - at < headerBytes) malformed(at, `${range.end - at} octets left where an attribute needs 4`)
    const length = bytes.readUInt16LE(at)
    if (length < headerBytes || at + length > range.end) {
      malformed(at, `attribute length ${length}, with ${range.end - at} octets left`)
    }
    visit(bytes.readUInt16LE(at + 2), at + headerBytes, at + length)
    at += (length + 3) & ~3
  }
}

/** Attributes inside an attribute. */
export function nested<Table extends AttrTable>(table: Table): Codec<AttrsOf<Table>> {
  return {
    write: (writer, value) => writeAttrs(writer, table, value),
    get: (buffer, start, end) => decodeAttrs(table, buffer, { start, end }),
  }
}

/** A list of nests that are numbered from 1 instead of named (`CTRL_ATTR_MCAST_GROUPS`). */
export function nestedList<Table extends AttrTable>(table: Table): Codec<readonly AttrsOf<Table>[]> {
  return {
    write: (writer, values) => {
      for (const [index, value] of values.entries()) {
        writeRawAttr(writer, nestedType(index + 1), encodeAttrs(table, value))
      }
    },
    get: (buffer, start, end) => {
      const values: AttrsOf<Table>[] = []
      eachAttr(buffer, { start, end }, (_type, from, to) => {
        values.push(decodeAttrs(table, buffer, { start: from, end: to }))
      })
      return values
    },
  }
}

/** The attribute number with NLA_F_NESTED, which newer families demand on nests. */
export function nestedType(type: number): number {
  return type | NLA_F_NESTED
}
