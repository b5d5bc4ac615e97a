import { rcode } from '../dns/constants.ts'
import { type Answer, type AnswerContext } from './answer.ts'
import { compileHotEntry } from './hot-compile.ts'
import { type HotReader, type HotRequest, hotResponseBytes, makeHotReader } from './hot-find.ts'
import { type HotBuffers, hotMemoryOf } from './hot-memory.ts'
import { type HotEntry, type HotStore, makeHotStore } from './hot-store.ts'

/** Ready responses, as the thread that makes them uses them. */
export interface HotResponses {
  readonly buffers: HotBuffers
  readonly store: HotStore
  /** A copy of the response, or `undefined` where the general path must make it. */
  find(packet: Uint8Array, context: AnswerContext): { readonly bytes: Uint8Array; readonly rcode: number } | undefined
  /** Keeps what the general path made of the packet, when it can be used again. */
  remember(packet: Uint8Array, context: AnswerContext, outcome: Answer): void
  /** Keeps a response of others. */
  keep(entry: HotEntry): void
}

const emptyRequest = { packet: new Uint8Array(0), length: 0, transport: 'udp', rotation: 0, nowSeconds: 0 } as const

/** Denials are kept when they are asked for again within so many others: nonsense is rarely asked twice. */
const sieveBits = 1 << 18

/** Opens the writing side over the buffers; one for all threads. */
export function openHotResponses(buffers: HotBuffers, nowSeconds: () => number): HotResponses {
  const memory = hotMemoryOf(buffers)
  const store = makeHotStore(memory)
  const reader: HotReader = makeHotReader(memory)
  const request: HotRequest = { ...emptyRequest, out: new Uint8Array(hotResponseBytes) }
  const askedTwice = openSieve()
  return {
    buffers,
    store,
    find: (packet, { transport, rotation }) => {
      Object.assign(request, { packet, length: packet.length, transport, rotation, nowSeconds: nowSeconds() })
      const length = reader.find(request)
      return length === 0 ? undefined : { bytes: request.out.slice(0, length), rcode: reader.lastRcode() }
    },
    remember: (packet, { zones, recursion }, outcome) => {
      const found = keepable(outcome, recursion)
      if (found === undefined || (found.code !== rcode.NOERROR && !askedTwice(packet))) return
      if ((packet[2] ?? 0) & 0x78 || packet[5] !== 1) return
      const entry = compileHotEntry(packet, { zones, recursion, period: found.period })
      if (entry?.rcode === found.code) store.put(entry)
    },
    keep: (entry) => {
      store.put(entry)
    },
  }
}

/**
 * What of an outcome stays so until the zones change. A name of no zone is refused where nothing is forwarded; SERVFAIL is
 * said of zones that nothing is known of yet: both end when a zone is added, upon which all is forgotten.
 */
function keepable(
  outcome: Answer,
  recursion: AnswerContext['recursion'],
): { readonly code: number; readonly period: number } | undefined {
  if (outcome.kind === 'foreign') return recursion === 'none' ? { code: rcode.REFUSED, period: 1 } : undefined
  if (outcome.kind === 'drop') return undefined
  const { rcode: code, period } = outcome
  if (code === rcode.SERVFAIL || code === rcode.REFUSED) return { code, period: 1 }
  const kept = code === rcode.NOERROR || code === rcode.NXDOMAIN
  return kept && period !== undefined ? { code, period } : undefined
}

/** True when a packet like this (but for its id) came before, as far as is remembered. */
function openSieve(): (packet: Uint8Array) => boolean {
  const bits = new Uint8Array(sieveBits >> 3)
  let set = 0
  return (packet) => {
    let hash = 0x811c9dc5
    for (let i = 12; i < packet.length; i++) hash = Math.imul(hash ^ ((packet[i] ?? 0) | 0x20), 0x01000193)
    const bit = (hash ^ (hash >>> 15)) & (sieveBits - 1)
    const mask = 1 << (bit & 7)
    if (((bits[bit >> 3] ?? 0) & mask) !== 0) return true
    bits[bit >> 3] = (bits[bit >> 3] ?? 0) | mask
    if (++set > sieveBits >> 4) {
      bits.fill(0)
      set = 0
    }
    return false
  }
}
