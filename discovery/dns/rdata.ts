import { AppError } from '../../core/base/errors.ts'
import { type Ip, ipFamily, ipFromBytes, ipToBytes } from '../../core/base/ip.ts'
import { type Name } from './name.ts'
import {
  getBytes,
  getName,
  getU16,
  getU32,
  getU8,
  putBytes,
  putName,
  putU16,
  putU32,
  putU8,
  type WireReader,
  type WireWriter,
} from './wire.ts'

/** How one field of record data is written and read. `end` is where the record's data stops. */
interface FieldCodec<Value> {
  readonly put: (writer: WireWriter, value: Value) => void
  readonly get: (reader: WireReader, end: number) => Value
  readonly format: (value: Value) => string
}

const u16: FieldCodec<number> = { put: putU16, get: getU16, format: String }
const u32: FieldCodec<number> = { put: putU32, get: getU32, format: String }

const name: FieldCodec<Name> = {
  put: (writer, value) => putName(writer, value, 'compress'),
  get: getName,
  format: (value) => value,
}

/** Never compressed when sent; read either way. RFC 2782, RFC 3597 §4. */
const wholeName: FieldCodec<Name> = { ...name, put: (writer, value) => putName(writer, value, 'whole') }

function address(family: 4 | 6): FieldCodec<Ip> {
  return {
    put: (writer, value) => {
      if (ipFamily(value) !== family) throw new AppError('ERR_DNS_RDATA', `${value} is not an IPv${family} address`)
      putBytes(writer, ipToBytes(value))
    },
    get: (reader) => ipFromBytes(getBytes(reader, family === 4 ? 4 : 16)),
    format: (value) => value,
  }
}

/** One or more character strings to the end of the data, a character for each octet. RFC 1035 §3.3.14. */
const strings: FieldCodec<readonly string[]> = {
  put: (writer, values) => {
    for (const value of values) {
      if (value.length > 255) throw new AppError('ERR_DNS_RDATA', 'a character string has at most 255 octets')
      putU8(writer, value.length)
      for (let i = 0; i < value.length; i++) putU8(writer, value.charCodeAt(i))
    }
  },
  get: (reader, end) => {
    const values: string[] = []
    while (reader.at < end) values.push(String.fromCharCode(...getBytes(reader, getU8(reader))))
    return values
  },
  format: (values) => values.map(formatCharacterString).join(' '),
}

function formatCharacterString(text: string): string {
  const escaped = text.replace(/["\\]|[^ -~]/g, (char) =>
    char === '"' || char === '\\' ? `\\${char}` : `\\${String(char.charCodeAt(0)).padStart(3, '0')}`,
  )
  return `"${escaped}"`
}

/** Types whose data has a meaning here. RFC 1035 §3.3, RFC 3596, RFC 2782, RFC 6672. */
const tables = {
  A: { code: 1, fields: { address: address(4) } },
  NS: { code: 2, fields: { target: name } },
  CNAME: { code: 5, fields: { target: name } },
  SOA: {
    code: 6,
    fields: {
      mname: name,
      rname: name,
      serial: u32,
      refreshSeconds: u32,
      retrySeconds: u32,
      expireSeconds: u32,
      minimumSeconds: u32,
    },
  },
  PTR: { code: 12, fields: { target: name } },
  MX: { code: 15, fields: { preference: u16, target: name } },
  TXT: { code: 16, fields: { strings } },
  AAAA: { code: 28, fields: { address: address(6) } },
  SRV: { code: 33, fields: { priority: u16, weight: u16, port: u16, target: wholeName } },
  DNAME: { code: 39, fields: { target: wholeName } },
} as const

type Tables = typeof tables
type FieldsOf<Fields> = { readonly [F in keyof Fields]: Fields[F] extends FieldCodec<infer Value> ? Value : never }

/** Name of a type that has a table. */
export type KnownType = keyof Tables

/** Record data; of a type without table, the octets as they came (RFC 3597). */
export type Rdata =
  | { [T in KnownType]: { readonly type: T } & FieldsOf<Tables[T]['fields']> }[KnownType]
  | { readonly type: 'unknown'; readonly code: number; readonly bytes: Uint8Array }

/** Data of one known type. */
export type RdataOf<T extends KnownType> = Extract<Rdata, { readonly type: T }>

const namesByCode: ReadonlyMap<number, KnownType> = new Map(
  Object.entries(tables).map(([type, { code }]) => [code, type as KnownType]),
)

/** Number of a type that has a table. */
export function typeCode(type: KnownType): number {
  return tables[type].code
}

/** Name of a type that has a table. */
export function knownType(code: number): KnownType | undefined {
  return namesByCode.get(code)
}

/** Number of the data's type. */
export function rdataCode(data: Rdata): number {
  return data.type === 'unknown' ? data.code : tables[data.type].code
}

/** Appends the data without its length. @throws ERR_DNS_RDATA for a value that the type cannot carry */
export function encodeRdata(writer: WireWriter, data: Rdata): void {
  if (data.type === 'unknown') {
    putBytes(writer, data.bytes)
    return
  }
  const values = data as unknown as Readonly<Record<string, unknown>>
  for (const [key, codec] of fieldsOf(data.type)) codec.put(writer, values[key])
}

/** Reads `length` octets of data. @throws ERR_DNS_FORMAT when the fields do not fill them exactly */
export function decodeRdata(reader: WireReader, code: number, length: number): Rdata {
  const end = reader.at + length
  const type = knownType(code)
  // Empty data of a known type is legal where a message names an RRset without content (RFC 2136 §2.4, §2.5).
  if (type === undefined || length === 0) return { type: 'unknown', code, bytes: getBytes(reader, length) }
  if (end > reader.bytes.length) throw malformedData(type, reader.at)
  const values: Record<string, unknown> = { type }
  for (const [key, codec] of fieldsOf(type)) values[key] = codec.get(reader, end)
  if (reader.at !== end) throw malformedData(type, reader.at)
  return values as unknown as Rdata
}

/** Presentation text of the data; of unknown types in the form of RFC 3597 §5. */
export function formatRdata(data: Rdata): string {
  if (data.type === 'unknown') {
    const hex = Buffer.from(data.bytes).toString('hex').toUpperCase()
    return hex === '' ? '\\# 0' : `\\# ${data.bytes.length} ${hex}`
  }
  const values = data as unknown as Readonly<Record<string, unknown>>
  return fieldsOf(data.type)
    .map(([key, codec]) => codec.format(values[key]))
    .join(' ')
}

function fieldsOf(type: KnownType): readonly (readonly [string, FieldCodec<unknown>])[] {
  return fieldLists[type]
}

const fieldLists = Object.fromEntries(
  Object.entries(tables).map(([type, { fields }]) => [type, Object.entries(fields)]),
) as unknown as Readonly<Record<KnownType, readonly (readonly [string, FieldCodec<unknown>])[]>>

function malformedData(type: KnownType, offset: number): AppError {
  return new AppError('ERR_DNS_FORMAT', `malformed message: the data of a ${type} record has a wrong length`, {
    details: { offset },
  })
}
