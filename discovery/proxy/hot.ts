import { maxMessageBytes } from '../dns/constants.ts'
import { decodeMessage, encodeMessage } from '../dns/message.ts'
import { nameKey } from '../dns/name.ts'
import { type HotEntry } from '../server/hot-store.ts'
import { type Cached } from './cache.ts'
import { prefetchShare } from './proxy.ts'
import { ttlOffsets } from './shape.ts'

/** Larger ones are rare, and go over TCP. */
const maxBytes = 4096

/**
 * A ready response of a kept reply. It ends a little before the reply does, so that the proxy sees a query then and asks
 * anew in time. `undefined`: not worth keeping.
 */
export function hotEntryOf({ bytes, bornSeconds, untilSeconds }: Cached): HotEntry | undefined {
  const early = Math.ceil(prefetchShare * (untilSeconds - bornSeconds))
  if (bytes.length > maxBytes || untilSeconds - early <= bornSeconds) return undefined
  const message = decodeMessage(bytes)
  const query = { ...message, response: false, recursionAvailable: false, rcode: 0 }
  const empty = { answers: [], authorities: [], additionals: [] }
  return {
    packet: encodeMessage({ ...query, ...empty }, { limitBytes: maxMessageBytes }),
    area: message.answers.length > 0 ? 'positive' : 'negative',
    rcode: message.rcode,
    variants: [bytes],
    names: message.questions.map(({ name }) => nameKey(name)),
    cached: { bornSeconds, untilSeconds: untilSeconds - early, ttlOffsets: ttlOffsets(bytes) },
  }
}
