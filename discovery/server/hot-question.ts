import { headerBytes, metaType, plainUdpBytes } from '../dns/constants.ts'
import { maxUdpBytes } from './limits.ts'

/** A recognized question. Reused from packet to packet, as making objects is what the hot path must not do. */
export interface HotQuestion {
  /** Name in lower case as on the wire, type, class. */
  readonly key: Uint8Array
  keyLength: number
  hash: number
  /** Offset of the OPT record in the packet; 0: none. */
  opt: number
  /** Largest response over UDP. */
  limitBytes: number
  /** DO or CD is set, or RD is not: only our own zones do not care. */
  special: boolean
}

/** Octets of an OPT record without options: root, type, size, extended code, version, flags, length. RFC 6891 §6.1.2. */
export const optBytes = 11

const maxNameBytes = 255

/** An empty one. */
export function makeHotQuestion(): HotQuestion {
  return { key: new Uint8Array(maxNameBytes + 4), keyLength: 0, hash: 0, opt: 0, limitBytes: 0, special: false }
}

/**
 * Reads the first `length` octets as a query of one question and at most an OPT of version 0: what resolvers send, day in, day out. False for anything
 * else, however well-formed: the general path answers it.
 */
export function recognize(packet: Uint8Array, length: number, question: HotQuestion): boolean {
  if (length < headerBytes + 5) return false
  const opts = at(packet, 11)
  if ((at(packet, 2) & 0xf8) !== 0 || opts > 1 || !plainCounts(packet)) return false
  const nameEnd = readKey(packet, length, question)
  if (nameEnd === 0) return false
  const end = nameEnd + 4
  if (opts === 0) {
    if (end !== length) return false
    question.opt = 0
    question.limitBytes = plainUdpBytes
    question.special = unusual(packet)
    return true
  }
  if (!plainOpt(packet, length, end)) return false
  question.opt = end
  const size = u16(packet, end + 3)
  question.limitBytes = size < plainUdpBytes ? plainUdpBytes : size > maxUdpBytes ? maxUdpBytes : size
  question.special = unusual(packet) || (at(packet, end + 7) & 0x80) !== 0
  return true
}

/** RD is not set, or CD is. */
function unusual(packet: Uint8Array): boolean {
  return (at(packet, 2) & 0x01) === 0 || (at(packet, 3) & 0x10) !== 0
}

/** One question, no answers, no authorities. */
function plainCounts(packet: Uint8Array): boolean {
  return (
    at(packet, 4) === 0 &&
    at(packet, 5) === 1 &&
    (at(packet, 6) | at(packet, 7) | at(packet, 8) | at(packet, 9) | at(packet, 10)) === 0
  )
}

/** Takes the key over; where the name ends, or 0 when it is compressed or malformed. */
function readKey(packet: Uint8Array, length: number, question: HotQuestion): number {
  const { key } = question
  let hash = 0x811c9dc5
  let from = headerBytes
  let to = 0
  for (;;) {
    const size = at(packet, from)
    if (size > 63 || from + size + 5 > length || to + size + 1 > maxNameBytes) return 0
    key[to++] = size
    hash = Math.imul(hash ^ size, 0x01000193)
    from++
    if (size === 0) break
    for (const end = from + size; from < end; from++) {
      const octet = at(packet, from)
      const lower = octet >= 0x41 && octet <= 0x5a ? octet | 0x20 : octet
      key[to++] = lower
      hash = Math.imul(hash ^ lower, 0x01000193)
    }
  }
  for (let i = 0; i < 4; i++) {
    const octet = at(packet, from + i)
    key[to++] = octet
    hash = Math.imul(hash ^ octet, 0x01000193)
  }
  question.keyLength = to
  question.hash = hash ^ (hash >>> 15)
  return from
}

/** True for an OPT of version 0 at the root whose options are well-formed and end the packet. */
function plainOpt(packet: Uint8Array, length: number, opt: number): boolean {
  if (opt + optBytes > length || at(packet, opt) !== 0 || at(packet, opt + 6) !== 0) return false
  if (u16(packet, opt + 1) !== metaType.OPT || opt + optBytes + u16(packet, opt + 9) !== length) return false
  let option = opt + optBytes
  while (option + 4 <= length) option += 4 + u16(packet, option + 2)
  return option === length
}

function at(bytes: Uint8Array, offset: number): number {
  return bytes[offset] ?? 0
}

function u16(bytes: Uint8Array, offset: number): number {
  return (at(bytes, offset) << 8) | at(bytes, offset + 1)
}
