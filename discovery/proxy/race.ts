import { type Clock } from '../../core/base/clock.ts'
import { AppError } from '../../core/base/errors.ts'
import { rcode } from '../dns/constants.ts'
import { type Message } from '../dns/message.ts'
import { type Upstream } from './config.ts'
import { noProxyObserver, type ProxyObserver } from './observer.ts'
import { type Scores } from './scores.ts'

/** Asks one upstream once, over UDP, and over TCP when the reply was truncated. Rejects when no reply comes. */
export type Ask = (upstream: Upstream, options: { readonly signal: AbortSignal }) => Promise<Message>

/** How a race is run. */
export interface RaceOptions {
  readonly upstreams: readonly Upstream[]
  readonly ask: Ask
  readonly scores: Scores
  readonly clock: Clock
  readonly observer?: ProxyObserver
  readonly signal: AbortSignal
}

/** How many are asked at once; all where there are fewer than three. Source: reference/dns-proxy.md, "dual dispatch". */
const atOnce = 2
/** Without a usable answer the next ones are asked too, soon ({@link Scores.patienceMs}); all again later: packets get lost. */
const againMs = [400, 1000] as const
/** Then the client gets SERVFAIL, before it gives up itself. */
export const raceLimitMs = 1800

/** Why the others are not waited for. Without a reason an error would be made for each query, with its stack. */
const over = new AppError('ERR_DNS_NETWORK', 'the race among upstreams is over')

/**
 * The first usable answer. A SERVFAIL or REFUSED, however quick, is only taken when nobody knows better.
 * @returns undefined when nobody answered in time
 */
export function raceUpstreams(options: RaceOptions): Promise<Message | undefined> {
  const { clock, scores, observer = noProxyObserver } = options
  const upstreams = scores.order(options.upstreams, clock.monotonicMs())
  const ending = new AbortController()
  return new Promise((resolve) => {
    let running = 0
    let asked = 0
    let fallback: Message | undefined
    const cancel: (() => void)[] = []
    const finish = (message: Message | undefined) => {
      for (const stop of cancel) stop()
      options.signal.removeEventListener('abort', abort)
      ending.abort(over)
      resolve(message)
    }
    const abort = () => finish(fallback)
    const lost = () => {
      if (--running > 0 || ending.signal.aborted) return
      if (asked < upstreams.length) more(upstreams.length)
      else finish(fallback)
    }
    const silent = new Set<Upstream>()
    const start = (upstream: Upstream) => {
      running++
      silent.add(upstream)
      observer.upstream(upstream, 'queries')
      const startedMs = clock.monotonicMs()
      options.ask(upstream, { signal: ending.signal }).then(
        (reply) => {
          if (ending.signal.aborted) return
          silent.delete(upstream)
          const nowMs = clock.monotonicMs()
          if (isUsable(reply)) {
            scores.answered(upstream, nowMs, nowMs - startedMs)
            observer.upstream(upstream, 'answers')
            observer.answeredIn(upstream, nowMs - startedMs)
            finish(reply)
            return
          }
          scores.failed(upstream, nowMs)
          observer.upstream(upstream, 'refusals')
          fallback ??= reply
          lost()
        },
        () => {
          if (ending.signal.aborted) return
          silent.delete(upstream)
          scores.failed(upstream, clock.monotonicMs())
          observer.upstream(upstream, 'errors')
          lost()
        },
      )
    }
    const more = (count: number) => {
      const next = upstreams.slice(asked, count)
      asked = Math.max(asked, count)
      for (const upstream of next) start(upstream)
    }
    options.signal.addEventListener('abort', abort, { once: true })
    const late = () => {
      // Silence is a failure too.
      for (const upstream of silent) {
        scores.failed(upstream, clock.monotonicMs())
        observer.upstream(upstream, 'timeouts')
      }
      abort()
    }
    const hedge = () => {
      if (asked >= upstreams.length) return
      for (const upstream of silent) {
        scores.late(upstream, clock.monotonicMs())
        observer.upstream(upstream, 'timeouts')
      }
      more(upstreams.length)
    }
    cancel.push(clock.after(raceLimitMs, late))
    const patienceMs = Math.max(
      0,
      ...upstreams.slice(0, atOnce).map((one) => scores.patienceMs(one, clock.monotonicMs())),
    )
    cancel.push(clock.after(patienceMs, hedge))
    for (const ms of againMs) cancel.push(clock.after(ms, () => upstreams.forEach(start)))
    more(upstreams.length <= atOnce ? upstreams.length : atOnce)
    if (upstreams.length === 0 || options.signal.aborted) finish(undefined)
  })
}

/** Says something of the name. */
function isUsable(reply: Message): boolean {
  return reply.rcode === rcode.NOERROR || reply.rcode === rcode.NXDOMAIN
}
