import { type Clock } from '../../core/base/clock.ts'
import { AppError } from '../../core/base/errors.ts'
import { maxMessageBytes, rcode } from '../dns/constants.ts'
import { decodeMessage, encodeMessage, type Message } from '../dns/message.ts'
import { nameKey } from '../dns/name.ts'
import { limitBytes, ownUdpSizeBytes } from '../server/limits.ts'
import { type Forward } from '../server/respond.ts'
import { type Cache, type Cached } from './cache.ts'
import { isHopeless, type ProxyConfig, upstreamsFor } from './config.ts'
import { type Exchange } from './exchange.ts'
import { isLoop, traced } from './loop.ts'
import { noProxyObserver, type ProxyEvent, type ProxyObserver } from './observer.ts'
import { raceUpstreams } from './race.ts'
import { openScores } from './scores.ts'
import { aged, canonical, failureSeconds, keepSeconds, shortened } from './shape.ts'

/** What the proxy works with. */
export interface ProxyOptions {
  readonly config: ProxyConfig
  readonly exchange: Exchange
  readonly cache: Cache
  readonly clock: Clock
  /** Names this proxy in queries that it sends; 8 octets. */
  readonly id: Uint8Array
  /** Seconds of the shared monotonic clock. */
  readonly nowSeconds: () => number
  /** Told of each reply that plain queries may get until then: ready responses are made of it. */
  readonly kept?: (cached: Cached) => void
  readonly observer?: ProxyObserver
  readonly signal: AbortSignal
}

/** How long stale data is served when nobody answers, and with which TTL. RFC 8767 §5. */
const staleSeconds = 86_400
const staleTtlSeconds = 30
/** A client with something stale to give waits no longer than that. RFC 8767 §5 says 1.8 s; ours gives up sooner. */
const staleAfterMs = 400
/** Answers are asked anew when this part of their life is left, so that names in use are always there. */
export const prefetchShare = 0.1

/**
 * Resolves names of no zone of ours. Rejects (the client gets SERVFAIL) when nobody answers and nothing is known.
 */
export function openProxy(options: ProxyOptions): Forward {
  const { config, cache, clock, nowSeconds, observer = noProxyObserver } = options
  const { happened } = observer
  const resolve = coalesced(options)
  return async (packet, { transport }) => {
    const query = decodeMessage(packet)
    const [question] = query.questions
    if (question === undefined) throw new AppError('ERR_DNS_FORMAT', 'a query needs a question')
    const respond = (message: Message) => encodeReply(message, query, transport)
    const local = (event: ProxyEvent, code: number) => {
      happened(event)
      return respond(bare(query, code))
    }
    if (isLoop(query.edns, options.id)) return local('loop', rcode.REFUSED)
    if (isHopeless(config, nameKey(question.name))) return local('local', rcode.NXDOMAIN)
    const key = keyOf(query)
    const now = nowSeconds()
    const known = cache.get(key)
    if (known !== undefined && now < known.untilSeconds) {
      const left = known.untilSeconds - now
      // A failure to renew is told to those who wait for it.
      if (left <= prefetchShare * (known.untilSeconds - known.bornSeconds)) {
        resolve(key, query, 'prefetch').catch(() => undefined)
      }
      happened('hit')
      return respond(aged(decodeMessage(known.bytes), now - known.bornSeconds))
    }
    const stale = usableStale(known, now)
    const fresh = await (stale === undefined
      ? resolve(key, query, 'miss')
      : orLater(clock, resolve(key, query, 'miss')))
    if (fresh !== undefined && (stale === undefined || isUsable(fresh))) return respond(decodeMessage(fresh.bytes))
    if (stale !== undefined) {
      happened('stale')
      return respond(shortened(decodeMessage(stale.bytes), staleTtlSeconds))
    }
    happened('failed')
    throw new AppError('ERR_DNS_UPSTREAMS', 'no upstream answered: check --upstreams and the network')
  }
}

type Resolve = (key: string, query: Message, why: 'miss' | 'prefetch') => Promise<Cached | undefined>

/** Asks upstreams; who asks the same meanwhile waits for the same answer. */
function coalesced(options: ProxyOptions): Resolve {
  const { config, clock, observer = noProxyObserver } = options
  const scores = openScores(observer.scored)
  const inFlight = new Map<string, Promise<Cached | undefined>>()
  const race = async (key: string, query: Message) => {
    const [question] = query.questions
    if (question === undefined) return undefined
    const outgoing = upstreamQuery(query, options.id)
    const reply = await raceUpstreams({
      upstreams: upstreamsFor(config, nameKey(question.name)),
      ask: (upstream, { signal }) => askTolerant(options.exchange, { upstream, query: outgoing }, signal),
      scores,
      clock,
      observer,
      signal: options.signal,
    })
    return reply === undefined ? undefined : keep(options, { key, message: canonical(reply, question), query })
  }
  return (key, query, why) => {
    const known = inFlight.get(key)
    if (known !== undefined) {
      if (why === 'miss') observer.happened('coalesced')
      return known
    }
    observer.happened(why)
    const running = race(key, query).finally(() => inFlight.delete(key))
    inFlight.set(key, running)
    return running
  }
}

function isUsable({ rcode: code }: { readonly rcode: number }): boolean {
  return code === rcode.NOERROR || code === rcode.NXDOMAIN
}

/** Failures are never served stale. */
function usableStale(known: Cached | undefined, now: number): Cached | undefined {
  if (known === undefined || now > known.untilSeconds + staleSeconds) return undefined
  return isUsable(known) ? known : undefined
}

/** The value, or `undefined` when it takes too long; it is still waited for by the cache. */
function orLater<T>(clock: Clock, value: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    const cancel = clock.after(staleAfterMs, () => resolve(undefined))
    value.then(resolve, () => resolve(undefined)).finally(cancel)
  })
}

/** Servers that know no EDNS answer FORMERR or NOTIMP: they are asked again without. RFC 6891 §7. */
async function askTolerant(
  exchange: Exchange,
  { upstream, query }: { readonly upstream: Parameters<Exchange['ask']>[0]; readonly query: Message },
  signal: AbortSignal,
): Promise<Message> {
  const reply = await exchange.ask(upstream, query, { signal })
  const refused = reply.rcode === rcode.FORMERR || reply.rcode === rcode.NOTIMP || reply.rcode === rcode.BADVERS
  if (!refused || reply.edns?.version === 0) return reply
  const { edns: _, ...plain } = query
  return exchange.ask(upstream, plain, { signal })
}

function upstreamQuery(query: Message, id: Uint8Array): Message {
  const edns = {
    udpSizeBytes: ownUdpSizeBytes,
    version: 0,
    dnssecOk: query.edns?.dnssecOk ?? false,
    options: [traced(query.edns, id)],
  }
  const { authenticData, checkingDisabled, questions } = query
  const sections = { answers: [], authorities: [], additionals: [] }
  const flags = { authoritative: false, truncated: false, recursionAvailable: false, recursionDesired: true, rcode: 0 }
  return { id: 0, response: false, opcode: 0, ...flags, authenticData, checkingDisabled, questions, ...sections, edns }
}

/** What makes two queries the same for an upstream. */
function keyOf(query: Message): string {
  const [question] = query.questions
  const flags = `${query.edns?.dnssecOk === true ? 'D' : ''}${query.checkingDisabled ? 'C' : ''}`
  return question === undefined ? '' : `${nameKey(question.name)} ${question.type} ${question.class} ${flags}`
}

/** Keeps a reply as long as it may be, and tells whoever makes ready responses. */
function keep(
  { cache, nowSeconds, kept, observer }: ProxyOptions,
  { key, message, query }: { readonly key: string; readonly message: Message; readonly query: Message },
): Cached {
  const seconds = keepSeconds(message)
  const born = nowSeconds()
  const bytes = encodeMessage(message, { limitBytes: maxMessageBytes })
  const cached = { bytes, rcode: message.rcode, bornSeconds: born, untilSeconds: born + seconds }
  const before = cache.get(key)
  const failure = !isUsable(message)
  // A failure must not push out what can still be served stale.
  if (seconds === 0 || (failure && usableStale(before, born) !== undefined)) return cached
  cache.put(key, cached)
  observer?.cached(cache.size)
  const plain = query.edns?.dnssecOk !== true && !query.checkingDisabled && !message.authenticData
  if (plain && !failure && seconds > failureSeconds) kept?.(cached)
  return cached
}

/** A response without asking anybody. */
function bare(query: Message, code: number): Message {
  const empty = { answers: [], authorities: [], additionals: [] }
  return {
    ...query,
    ...empty,
    response: true,
    rcode: code,
    authoritative: false,
    truncated: false,
    authenticData: false,
  }
}

/** For this client: its id, its case, its size. AD only where it was asked for (RFC 6840 §5.7). */
function encodeReply(message: Message, query: Message, transport: 'udp' | 'tcp'): Uint8Array {
  const { edns: _, ...bare } = message
  const dnssecOk = query.edns?.dnssecOk ?? false
  const response = {
    ...bare,
    id: query.id,
    response: true,
    recursionDesired: query.recursionDesired,
    recursionAvailable: true,
    authenticData: message.authenticData && (query.authenticData || dnssecOk),
    checkingDisabled: query.checkingDisabled,
    questions: query.questions,
  }
  const edns = { udpSizeBytes: ownUdpSizeBytes, version: 0, dnssecOk, options: [] }
  return encodeMessage(query.edns === undefined ? response : { ...response, edns }, {
    limitBytes: limitBytes(query, transport),
  })
}
