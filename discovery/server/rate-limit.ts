/**
 * How often a client is answered over UDP: whoever forges the address of a victim shall not make this server flood it. A
 * bucket of tokens for each prefix of clients, since a victim has a network behind it. What is over the rate gets nothing,
 * or (each `slip`th) a response without records that says "truncated", by which a real client comes again over TCP, where
 * nobody can forge. Source: ISC, "Response Rate Limiting in the Domain Name System", technical note 2012-1.
 */
import { type Ip, ipToBytes } from '../../core/base/ip.ts'
import { headerBytes } from '../dns/constants.ts'
import { putOpt } from './hot-find.ts'
import { makeHotQuestion, optBytes, recognize } from './hot-question.ts'

/** Limits of the answers to one prefix. */
export interface RateLimit {
  readonly responsesPerSecond: number
  /** Answers at once after a rest. */
  readonly burst: number
  /** Each so many that are over the rate get TC; 1: all, 0: none. */
  readonly slip: number
  /** Bits by which clients are told apart. */
  readonly ipv4PrefixLength: number
  readonly ipv6PrefixLength: number
  /** Prefixes that are remembered; the one that was quiet longest goes. */
  readonly maxPrefixes: number
}

/** BIND's defaults, but for the rate, which is given. Source: BIND 9 ARM, "rate-limit". */
export function rateLimit(given: Pick<RateLimit, 'responsesPerSecond'> & Partial<RateLimit>): RateLimit {
  const { responsesPerSecond } = given
  const prefixes = { ipv4PrefixLength: 24, ipv6PrefixLength: 56, maxPrefixes: 20_000 }
  return { burst: responsesPerSecond, slip: 2, ...prefixes, ...given }
}

/** What becomes of a client's query. */
export type RateVerdict = 'answer' | 'truncate' | 'drop'

interface Bucket {
  tokens: number
  atMs: number
  over: number
}

/** Decides for one query after another. Its memory is bounded by `maxPrefixes`. */
export function makeRateLimiter(limit: RateLimit): (client: Ip, nowMs: number) => RateVerdict {
  const buckets = new Map<string, Bucket>()
  return (client, nowMs) => {
    const key = prefixOf(client, limit)
    const bucket = buckets.get(key) ?? { tokens: limit.burst, atMs: nowMs, over: 0 }
    // The order of the map is the order of the last query.
    buckets.delete(key)
    buckets.set(key, bucket)
    if (buckets.size > limit.maxPrefixes) deleteOldest(buckets)
    return take(bucket, limit, nowMs)
  }
}

function take(bucket: Bucket, limit: RateLimit, nowMs: number): RateVerdict {
  const earned = (Math.max(0, nowMs - bucket.atMs) * limit.responsesPerSecond) / 1000
  bucket.tokens = Math.min(limit.burst, bucket.tokens + earned)
  bucket.atMs = Math.max(bucket.atMs, nowMs)
  if (bucket.tokens >= 1) {
    bucket.tokens--
    bucket.over = 0
    return 'answer'
  }
  bucket.over++
  return limit.slip > 0 && bucket.over % limit.slip === 0 ? 'truncate' : 'drop'
}

function deleteOldest(buckets: Map<string, Bucket>): void {
  const [oldest] = buckets.keys()
  if (oldest !== undefined) buckets.delete(oldest)
}

function prefixOf(client: Ip, { ipv4PrefixLength, ipv6PrefixLength }: RateLimit): string {
  const bytes = ipToBytes(client)
  const bits = bytes.length === 4 ? ipv4PrefixLength : ipv6PrefixLength
  let key = `${bytes.length}`
  for (let i = 0; i * 8 < bits; i++) {
    const kept = Math.min(8, bits - i * 8)
    key += String.fromCharCode((bytes[i] ?? 0) & (0xff << (8 - kept)))
  }
  return key
}

/**
 * "Truncated", without a record; never larger than the query. `undefined` for what resolvers do not send: it gets nothing.
 */
export function truncatedReply(packet: Uint8Array): Uint8Array | undefined {
  const question = makeHotQuestion()
  if (!recognize(packet, packet.length, question)) return undefined
  const end = headerBytes + question.keyLength
  const out = new Uint8Array(question.opt === 0 ? end : end + optBytes)
  out.set(packet.subarray(0, end))
  // QR and TC; RD comes back. RFC 1035 §4.1.1.
  out[2] = 0x82 | ((packet[2] ?? 0) & 0x01)
  out.fill(0, 3, headerBytes)
  out[5] = 1
  if (question.opt !== 0) putOpt({ out, packet }, question, end)
  return out
}
