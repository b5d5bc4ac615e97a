import { AppError } from '../../core/base/errors.ts'
import { metaType } from './constants.ts'
import { type Rdata } from './rdata.ts'
import { getBytes, getU16, putBytes, putU16, putU8, wireReader, type WireWriter } from './wire.ts'

/** An EDNS option as it came. RFC 6891 §6.1.2. */
export interface EdnsOption {
  readonly code: number
  readonly bytes: Uint8Array
}

/** What an OPT record says. RFC 6891 §6.1. */
export interface Edns {
  /** The largest UDP message that the sender takes. */
  readonly udpSizeBytes: number
  readonly version: number
  /** DO, RFC 3225. */
  readonly dnssecOk: boolean
  readonly options: readonly EdnsOption[]
}

const DO = 0x8000

/** Of an OPT record without options. RFC 6891 §6.1.2. */
const optHeadBytes = 11

/** An OPT record taken apart; `rcodeHigh` is the upper 8 bits of the response code. @throws ERR_DNS_FORMAT */
export function ednsOfOpt(opt: { readonly class: number; readonly ttlSeconds: number; readonly data: Rdata }): {
  readonly edns: Edns
  readonly rcodeHigh: number
} {
  const bytes = opt.data.type === 'unknown' ? opt.data.bytes : new Uint8Array(0)
  return {
    edns: {
      udpSizeBytes: opt.class,
      version: (opt.ttlSeconds >>> 16) & 0xff,
      dnssecOk: (opt.ttlSeconds & DO) !== 0,
      options: decodeOptions(bytes),
    },
    rcodeHigh: opt.ttlSeconds >>> 24,
  }
}

function decodeOptions(bytes: Uint8Array): readonly EdnsOption[] {
  const reader = wireReader(bytes)
  const options: EdnsOption[] = []
  while (reader.at < bytes.length) {
    const code = getU16(reader)
    const length = getU16(reader)
    if (reader.at + length > bytes.length) {
      throw new AppError('ERR_DNS_FORMAT', `malformed message: EDNS option ${code} goes beyond its record`)
    }
    options.push({ code, bytes: getBytes(reader, length) })
  }
  return options
}

/** Octets of its OPT record. */
export function ednsBytes({ options }: Edns): number {
  return options.reduce((sum, { bytes }) => sum + 4 + bytes.length, optHeadBytes)
}

/** Appends an OPT record. */
export function putEdns(writer: WireWriter, edns: Edns, rcodeHigh: number): void {
  putU8(writer, 0)
  putU16(writer, metaType.OPT)
  putU16(writer, edns.udpSizeBytes)
  putU8(writer, rcodeHigh)
  putU8(writer, edns.version)
  putU16(writer, edns.dnssecOk ? DO : 0)
  putU16(writer, ednsBytes(edns) - optHeadBytes)
  for (const { code, bytes } of edns.options) {
    putU16(writer, code)
    putU16(writer, bytes.length)
    putBytes(writer, bytes)
  }
}
