import { AppError } from '../../core/base/errors.ts'
import { type Ip, ipFromBytes, ipToBytes } from '../../core/base/ip.ts'
import { type Mac } from '../../core/model/ids.ts'
import { type Codec, malformed } from './codec.ts'

const zero = 48
const dot = 46
const colon = 58

/** An IPv4 or IPv6 address: 4 or 16 octets in network order. */
export const ip: Codec<Ip> = {
  write: (writer, value) => {
    if (value.includes(':')) writer.append(ipToBytes(value))
    else {
      const at = writer.reserve(4)
      putIpv4(writer.buffer, at, value)
    }
  },
  get: (buffer, start, end) => {
    if (end - start === 4) {
      // Also the brand constructor's own form; ten times faster than joining an array, and dumps have many.
      return `${buffer[start]}.${buffer[start + 1]}.${buffer[start + 2]}.${buffer[start + 3]}` as Ip
    }
    if (end - start !== 16) malformed(start, `${end - start} octets where 4 or 16 make an address`)
    return ipFromBytes(buffer.subarray(start, end))
  },
}

/** Puts four octets at `from`. The hot path of batches: no array, no string is made. */
export function putIpv4(buffer: Buffer, from: number, value: string): void {
  let at = from
  let octet = 0
  for (let i = 0; i < value.length; i++) {
    const char = value.charCodeAt(i)
    if (char === dot) {
      buffer[at++] = octet
      octet = 0
    } else octet = octet * 10 + char - zero
  }
  buffer[at] = octet
}

/** `struct rtvia`, include/uapi/linux/rtnetlink.h: a gateway of the other family. */
export const via: Codec<Ip> = {
  write: (writer, value) => {
    const at = writer.reserve(2)
    writer.buffer.writeUInt16LE(value.includes(':') ? 10 : 2, at)
    ip.write(writer, value)
  },
  get: (buffer, start, end) => {
    if (end - start < 6) malformed(start, 'a gateway with its family has 6 octets or more')
    return ip.get(buffer, start + 2, end)
  },
}

/** A link-layer address. Ethernet has 6 octets; others are told in the same notation. */
export const mac: Codec<Mac> = {
  write: (writer, value) => {
    const at = writer.reserve((value.length + 1) / 3)
    putMac(writer.buffer, at, value)
  },
  get: (buffer, start, end) => {
    let value = ''
    for (let i = start; i < end; i++) value += `${i > start ? ':' : ''}${hexOctets[buffer[i] ?? 0]}`
    return value as Mac
  },
}

/** Puts as many octets at `from` as the text has pairs. @throws ERR_NETLINK_TEXT */
export function putMac(buffer: Buffer, from: number, value: string): void {
  let at = from
  let octet = 0
  for (let i = 0; i < value.length; i++) {
    const char = value.charCodeAt(i)
    if (char === colon) {
      buffer[at++] = octet
      octet = 0
    } else octet = octet * 16 + hexDigit(char, value)
  }
  buffer[at] = octet
}

const hexOctets: readonly string[] = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'))

function hexDigit(char: number, value: string): number {
  if (char >= zero && char < zero + 10) return char - zero
  if (char >= 97 && char <= 102) return char - 87
  throw new AppError('ERR_NETLINK_TEXT', `"${value}" is not a link-layer address: lower-case pairs with ":" between`)
}
