import { isIPv4, isIPv6 } from 'node:net'
import { AppError } from './errors.ts'

declare const ipBrand: unique symbol
declare const cidrBrand: unique symbol

/** An IPv4 or IPv6 address in canonical text (RFC 5952 for IPv6). Only {@link parseIp} and arithmetic here make one. */
export type Ip = string & { readonly [ipBrand]: true }

/** A prefix in canonical text, host bits zero: `10.80.0.0/14`, `fd00:77::/48`. */
export type Cidr = string & { readonly [cidrBrand]: true }

const zero = 48
const dot = 46

/** The two IP versions. */
export type IpFamily = 4 | 6

/** IPv4 or IPv6; by the presence of a colon, which canonical text guarantees. */
export function ipFamily(address: Ip | Cidr): IpFamily {
  return address.includes(':') ? 6 : 4
}

/** Bits of an address of the family: 32 or 128. */
export function familyBits(family: IpFamily): 32 | 128 {
  return family === 4 ? 32 : 128
}

/** @throws ERR_IP_INVALID when the text is not one IPv4 or IPv6 address (no zone, no leading zeros) */
export function parseIp(text: string): Ip {
  if (isIPv4(text)) return text as Ip
  if (isIPv6(text) && !text.includes('%')) return ipFromBytes(ipv6TextToBytes(text))
  throw new AppError('ERR_IP_INVALID', `"${text}" is not an IP address`)
}

/**
 * An IPv4 address as an unsigned number of 32 bits: arithmetic for hot paths, where a snapshot of a large cluster has tens
 * of thousands of addresses. No array and no string is made.
 */
export function ipv4ToNumber(address: Ip): number {
  let value = 0
  let octet = 0
  for (let i = 0; i < address.length; i++) {
    const char = address.charCodeAt(i)
    if (char === dot) {
      value = (value << 8) | octet
      octet = 0
    } else octet = octet * 10 + char - zero
  }
  return ((value << 8) | octet) >>> 0
}

/** The IPv4 address with this number; only its low 32 bits count. */
export function ipv4FromNumber(value: number): Ip {
  return `${value >>> 24}.${(value >>> 16) & 0xff}.${(value >>> 8) & 0xff}.${value & 0xff}` as Ip
}

/** 4 or 16 octets in network byte order. */
export function ipToBytes(address: Ip): Uint8Array {
  if (ipFamily(address) === 6) return ipv6TextToBytes(address)
  const value = ipv4ToNumber(address)
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)
}

/** @throws ERR_IP_INVALID when there are not 4 or 16 octets */
export function ipFromBytes(bytes: Uint8Array): Ip {
  if (bytes.length === 4) return bytes.join('.') as Ip
  if (bytes.length === 16) return ipv6BytesToText(bytes) as Ip
  throw new AppError('ERR_IP_INVALID', `an address has 4 or 16 octets, not ${bytes.length}`)
}

/** The address as a number, for arithmetic. */
export function ipToBigInt(address: Ip): bigint {
  if (ipFamily(address) === 4) return BigInt(ipv4ToNumber(address))
  let value = 0n
  for (const octet of ipToBytes(address)) value = (value << 8n) | BigInt(octet)
  return value
}

/** The address `value` of a family. @throws ERR_IP_INVALID when it does not fit */
export function ipFromBigInt(value: bigint, family: IpFamily): Ip {
  if (value < 0n || value >> BigInt(familyBits(family)) !== 0n) {
    throw new AppError('ERR_IP_INVALID', `${value} is outside the IPv${family} address space`)
  }
  if (family === 4) return ipv4FromNumber(Number(value))
  const bytes = new Uint8Array(16)
  let rest = value
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn)
    rest >>= 8n
  }
  return ipFromBytes(bytes)
}

function ipv6TextToBytes(text: string): Uint8Array {
  const [head = '', tail] = text.split('::')
  const front = hexGroups(head)
  const back = tail === undefined ? [] : hexGroups(tail)
  const groups = tail === undefined ? front : [...front, ...Array(8 - front.length - back.length).fill(0), ...back]
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]))
}

function hexGroups(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((part) => {
    if (!part.includes('.')) return [Number.parseInt(part, 16)]
    const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number)
    return [(a << 8) | b, (c << 8) | d]
  })
}

/** RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups as `::`, the first of equals. */
function ipv6BytesToText(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0))
  let best = { start: -1, length: 1 }
  for (let start = 0; start < 8; start++) {
    let end = start
    while (end < 8 && groups[end] === 0) end++
    if (end - start > best.length) best = { start, length: end - start }
  }
  const hex = groups.map((group) => group.toString(16))
  if (best.start < 0) return hex.join(':')
  return `${hex.slice(0, best.start).join(':')}::${hex.slice(best.start + best.length).join(':')}`
}
