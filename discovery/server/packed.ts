/**
 * RRsets as text of one octet a character, as they are on the wire: a fifth of the memory of objects, and quick to hand to
 * another thread. For each RRset: code (16 bits), TTL and number of records (32 bits each); for each record: length (16
 * bits) and data, with whole names, so that each keeps its case.
 */
import { type Name, nameKey, type NameKey } from '../dns/name.ts'
import { decodeRdata, encodeRdata, type Rdata } from '../dns/rdata.ts'
import { getU16, getU32, patchU16, putU16, putU32, wireReader, type WireWriter, wireWriter } from '../dns/wire.ts'
import { type RrSet, type ZoneChange } from '../records/zone-change.ts'

/** RRsets of one owner; empty: none. */
export type Packed = string

/** A change of the zones as it goes to another thread. */
export interface PackedChange {
  readonly version: number
  readonly keys: readonly NameKey[]
  /** What each of the names has from now on. */
  readonly packed: readonly Packed[]
  readonly apexes: { readonly added: readonly Name[]; readonly removed: readonly Name[] }
}

/** The same change, packed. */
export function packChange({ version, owners, apexes }: ZoneChange): PackedChange {
  const writer = wireWriter()
  const keys = owners.map(({ owner }) => nameKey(owner))
  return { version, keys, packed: owners.map(({ rrsets }) => packRrsets(rrsets, writer)), apexes }
}

/** RRsets of one name, packed. `writer`: one that is used again. */
export function packRrsets(rrsets: readonly RrSet[], writer: WireWriter = wireWriter()): Packed {
  writer.length = 0
  for (const { code, ttlSeconds, data } of rrsets) {
    putU16(writer, code)
    putU32(writer, ttlSeconds)
    putU32(writer, data.length)
    for (const item of data) {
      const start = writer.length
      putU16(writer, 0)
      // A name that was written before must not be pointed at: it may be in another case.
      writer.names.clear()
      encodeRdata(writer, item)
      patchU16(writer, start, writer.length - start - 2)
    }
  }
  return Buffer.from(writer.bytes.buffer, 0, writer.length).toString('latin1')
}

/** What was packed. */
export function unpackRrsets(packed: Packed): readonly RrSet[] {
  const reader = wireReader(Buffer.from(packed, 'latin1'))
  const rrsets: RrSet[] = []
  while (reader.at < reader.bytes.length) {
    const [code, ttlSeconds, count] = [getU16(reader), getU32(reader), getU32(reader)]
    const data: Rdata[] = []
    for (let i = 0; i < count; i++) data.push(decodeRdata(reader, code, getU16(reader)))
    rrsets.push({ code, ttlSeconds, data })
  }
  return rrsets
}
