import { AppError } from '../../core/base/errors.ts'
import { decodeName, labelsOf, type Name, nameKey, type NameKey, parentKey } from './name.ts'

/** Reads forward through a message. `at` is the next octet. */
export interface WireReader {
  readonly bytes: Uint8Array
  at: number
}

/** Writes a message that may grow; `names` knows where a name can be pointed at. */
export interface WireWriter {
  bytes: Uint8Array
  length: number
  readonly names: Map<NameKey, number>
}

/** Pointers have 14 bits. RFC 1035 §4.1.4. */
const maxPointer = 0x3fff

/** A reader at the start of `bytes`. */
export function wireReader(bytes: Uint8Array): WireReader {
  return { bytes, at: 0 }
}

/** @throws ERR_DNS_FORMAT beyond the end */
export function getU8(reader: WireReader): number {
  const value = reader.bytes[reader.at]
  if (value === undefined) throw beyondEnd(reader)
  reader.at++
  return value
}

/** Network byte order. @throws ERR_DNS_FORMAT beyond the end */
export function getU16(reader: WireReader): number {
  return (getU8(reader) << 8) | getU8(reader)
}

/** Network byte order. @throws ERR_DNS_FORMAT beyond the end */
export function getU32(reader: WireReader): number {
  return getU16(reader) * 0x10000 + getU16(reader)
}

/** A copy of the next `count` octets. @throws ERR_DNS_FORMAT beyond the end */
export function getBytes(reader: WireReader, count: number): Uint8Array {
  if (count < 0 || reader.at + count > reader.bytes.length) throw beyondEnd(reader)
  const part = reader.bytes.slice(reader.at, reader.at + count)
  reader.at += count
  return part
}

/** A name, compressed or not. @throws ERR_DNS_FORMAT */
export function getName(reader: WireReader): Name {
  const { name, next } = decodeName(reader.bytes, reader.at)
  reader.at = next
  return name
}

/** An empty writer. */
export function wireWriter(): WireWriter {
  return { bytes: new Uint8Array(512), length: 0, names: new Map() }
}

/** Appends an octet. */
export function putU8(writer: WireWriter, value: number): void {
  if (writer.length === writer.bytes.length) {
    const larger = new Uint8Array(writer.bytes.length * 2)
    larger.set(writer.bytes)
    writer.bytes = larger
  }
  writer.bytes[writer.length++] = value
}

/** Network byte order. */
export function putU16(writer: WireWriter, value: number): void {
  putU8(writer, value >> 8)
  putU8(writer, value & 0xff)
}

/** Network byte order. */
export function putU32(writer: WireWriter, value: number): void {
  putU16(writer, value >>> 16)
  putU16(writer, value & 0xffff)
}

/** Appends octets. */
export function putBytes(writer: WireWriter, bytes: Uint8Array): void {
  for (const octet of bytes) putU8(writer, octet)
}

/** Overwrites two octets at `offset`: for lengths and counts that are known only afterwards. */
export function patchU16(writer: WireWriter, offset: number, value: number): void {
  writer.bytes[offset] = value >> 8
  writer.bytes[offset + 1] = value & 0xff
}

/**
 * Appends a name. `compress` may end it with a pointer; `whole` spells it out (RFC 3597 §4 forbids pointers in the data
 * of types younger than RFC 1035), but later names may still point at it.
 */
export function putName(writer: WireWriter, name: Name, mode: 'compress' | 'whole'): void {
  let key: NameKey | undefined = nameKey(name)
  for (const label of labelsOf(name)) {
    const known = key === undefined ? undefined : writer.names.get(key)
    if (known !== undefined && mode === 'compress') {
      putU16(writer, 0xc000 | known)
      return
    }
    if (key !== undefined && known === undefined && writer.length <= maxPointer) writer.names.set(key, writer.length)
    putU8(writer, label.length)
    for (let i = 0; i < label.length; i++) putU8(writer, label.charCodeAt(i))
    key = key === undefined ? undefined : parentKey(key)
  }
  putU8(writer, 0)
}

/** Takes back all that was written from `length` on. */
export function cutWriter(writer: WireWriter, length: number): void {
  writer.length = length
  for (const [key, offset] of writer.names) if (offset >= length) writer.names.delete(key)
}

/** A copy of what was written. */
export function writtenBytes(writer: WireWriter): Uint8Array {
  return writer.bytes.slice(0, writer.length)
}

function beyondEnd(reader: WireReader): AppError {
  return new AppError('ERR_DNS_FORMAT', `malformed message: it ends too early (offset ${reader.at})`, {
    details: { offset: reader.at },
  })
}
