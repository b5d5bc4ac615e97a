import { errorMessage } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'
import { rcode } from '../dns/constants.ts'
import { answer, type Answer, type AnswerContext, refuse } from './answer.ts'
import { openDenials } from './denials.ts'
import { defaultHotSize, makeHotBuffers } from './hot-memory.ts'
import { type HotResponses, openHotResponses } from './hot-responses.ts'
import { type ZoneReader } from './zone-store.ts'

/**
 * Resolves a name that is in no zone of ours: the proxy. Gets the query, returns the response as it goes out.
 * Rejecting gives the client SERVFAIL.
 */
export type Forward = (
  query: Uint8Array,
  options: { readonly transport: 'udp' | 'tcp'; readonly signal: AbortSignal },
) => Promise<Uint8Array>

/** What is told of each packet: for metrics. */
export interface ServerObserver {
  /** `foreign`: a ready response of another's zone. */
  answered(event: { readonly transport: 'udp' | 'tcp'; readonly rcode: number; readonly foreign?: boolean }): void
  dropped(event: { readonly transport: 'udp' | 'tcp'; readonly reason: DropReason }): void
}

/** Why something got no answer; `rate-truncated`: only that it is to come again over TCP. */
export type DropReason =
  | 'not-a-query'
  | 'send-failed'
  | 'slow-client'
  | 'too-many-connections'
  | 'overload'
  | 'rate-limited'
  | 'rate-truncated'

/** What the listeners share. */
export interface ResponderOptions {
  readonly zones: ZoneReader
  readonly log: Logger
  readonly observer?: ServerObserver
  readonly forward?: Forward
  /** What `version.bind` is answered; absent: refused. */
  readonly versionText?: string
  /**
   * Ready responses that other threads share; the caller then forgets what changes of the zones touch. Absent: the
   * responder keeps its own, and forgets all with each change.
   */
  readonly hot?: HotResponses
}

/** For a responder of its own: what one thread repeats. */
const ownHotSize = { ...defaultHotSize, positiveBytes: 8 << 20, negativeBytes: 1 << 20, buckets: 1 << 13 }

/** Seconds of the machine's monotonic clock: the same in all threads, and deaf to changes of the time of day. */
export function monotonicSeconds(): number {
  return process.hrtime()[0]
}

/**
 * From a packet to the response. Known names are answered in the same turn; only forwarded ones are waited for.
 * `undefined`: nothing is to be sent.
 */
export type Responder = (
  packet: Uint8Array,
  options: { readonly transport: 'udp' | 'tcp'; readonly signal: AbortSignal },
) => Uint8Array | undefined | Promise<Uint8Array | undefined>

/** A responder over the zones; each answer begins one record further on than the one before. */
export function makeResponder(options: ResponderOptions): Responder {
  const { zones, log, observer, forward, versionText } = options
  const hot = options.hot ?? openHotResponses(makeHotBuffers(ownHotSize), monotonicSeconds)
  const upToDate = options.hot === undefined ? followRevision(zones, hot) : () => undefined
  const denials = openDenials(zones)
  let rotation = 0
  return (packet, { transport, signal }) => {
    rotation = (rotation + 1) % 2 ** 30
    const context: AnswerContext = {
      zones,
      transport,
      rotation,
      recursion: forward === undefined ? 'none' : 'forwarded',
      ...(versionText === undefined ? {} : { versionText }),
    }
    const finish = (outcome: Answer): Uint8Array | undefined => {
      if (outcome.kind === 'reply') {
        observer?.answered({ transport, rcode: outcome.rcode })
        return outcome.bytes
      }
      observer?.dropped({ transport, reason: 'not-a-query' })
      return undefined
    }
    upToDate()
    const known = hot.find(packet, context)
    if (known !== undefined) {
      observer?.answered({ transport, rcode: known.rcode })
      return known.bytes
    }
    const denied = denials.find(packet, transport)
    const outcome: Answer =
      denied === undefined
        ? answer(packet, context)
        : { kind: 'reply', bytes: denied, rcode: rcode.NXDOMAIN, period: 1 }
    if (denied === undefined) denials.remember(packet, outcome)
    hot.remember(packet, context, outcome)
    if (outcome.kind !== 'foreign') return finish(outcome)
    const { query } = outcome
    if (forward === undefined || !query.recursionDesired) return finish(refuse(query, context, rcode.REFUSED))
    return forward(packet, { transport, signal }).then(
      (bytes) => finish({ kind: 'reply', bytes, rcode: (bytes[3] ?? 0) & 0xf }),
      (error) => {
        log.debug({ error: errorMessage(error) }, 'forwarding failed')
        return finish(refuse(query, context, rcode.SERVFAIL))
      },
    )
  }
}

/** Forgets all with each change of the zones. */
function followRevision(zones: ZoneReader, { store }: HotResponses): () => void {
  let revision = -1
  return () => {
    if (zones.revision() === revision) return
    revision = zones.revision()
    store.forgetAll()
    store.setSerial(zones.serial())
  }
}
