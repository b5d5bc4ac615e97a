import { errorMessage } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'
import { rcode } from '../dns/constants.ts'
import { answer, type Answer, type AnswerContext, refuse } from './answer.ts'
import { openPrecompiled } from './precompiled.ts'
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
  answered(event: { readonly transport: 'udp' | 'tcp'; readonly rcode: number }): void
  dropped(event: { readonly transport: 'udp' | 'tcp'; readonly reason: DropReason }): void
}

/** Why something got no answer. */
export type DropReason = 'not-a-query' | 'send-failed' | 'slow-client' | 'too-many-connections'

/** What the listeners share. */
export interface ResponderOptions {
  readonly zones: ZoneReader
  readonly log: Logger
  readonly observer?: ServerObserver
  readonly forward?: Forward
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
export function makeResponder({ zones, log, observer, forward }: ResponderOptions): Responder {
  const precompiled = openPrecompiled(zones)
  let rotation = 0
  return (packet, { transport, signal }) => {
    rotation = (rotation + 1) % 2 ** 30
    const context: AnswerContext = {
      zones,
      transport,
      rotation,
      recursion: forward === undefined ? 'none' : 'forwarded',
    }
    const finish = (outcome: Answer): Uint8Array | undefined => {
      if (outcome.kind === 'reply') {
        observer?.answered({ transport, rcode: outcome.rcode })
        return outcome.bytes
      }
      observer?.dropped({ transport, reason: 'not-a-query' })
      return undefined
    }
    const known = precompiled.find(packet, context)
    if (known !== undefined) {
      observer?.answered({ transport, rcode: 0 })
      return known
    }
    const outcome = answer(packet, context)
    precompiled.remember(packet, context, outcome)
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
