import t from 'tap'
import { systemClock } from '../../core/base/clock.ts'
import { parseIp } from '../../core/base/ip.ts'
import { metricsText } from '../../discovery/http/metrics-text.ts'
import { type Message } from '../../discovery/dns/message.ts'
import { raceUpstreams } from '../../discovery/proxy/race.ts'
import { openScores } from '../../discovery/proxy/scores.ts'
import { proxyStatsObserver } from '../../discovery/worker/proxy-stats.ts'
import { makeStatsBuffer, proxyPart, statsObserver, sumThreads } from '../../discovery/worker/stats.ts'
import { query } from '../fixtures/dns/messages.ts'

const upstreams = ['192.0.2.1', '2001:db8::2', '192.0.2.3'].map((text) => ({ address: parseIp(text), port: 53 }))

t.test('counters of the proxy', async (t) => {
  const [general, hot] = [new Float64Array(makeStatsBuffer()), new Float64Array(makeStatsBuffer())]
  t.notHas(sumThreads([general, hot]), { proxy: {} }, 'nothing was forwarded')
  const observer = proxyStatsObserver(proxyPart(general))
  const [one, two] = upstreams
  if (one === undefined || two === undefined) throw new Error('unreachable')
  for (const event of ['miss', 'miss', 'hit', 'stale'] as const) observer.happened(event)
  for (const event of ['queries', 'answers'] as const) observer.upstream(two, event)
  for (const event of ['queries', 'timeouts', 'queries', 'refusals'] as const) observer.upstream(one, event)
  for (const tookMs of [0.05, 1, 1, 1, 900]) observer.answeredIn(two, tookMs)
  observer.scored(one, 1.5)
  observer.cached({ entries: 3, octets: 1000, evictions: 1 })
  statsObserver(hot).answered({ transport: 'udp', rcode: 0, foreign: true })
  const counters = sumThreads([general, hot])
  t.match(counters.proxy, {
    events: { hit: 1, ready: 1, miss: 2, stale: 1, loop: 0 },
    cache: { entries: 3, bytes: 1000, evictions: 1 },
    upstreams: [
      { address: '2001:db8::2', port: 53, queries: 1, answers: 1, latencyMs: { p50: 1.13, p99: 1158.52 } },
      { address: '192.0.2.1', queries: 2, answers: 0, timeouts: 1, refusals: 1, failures: 1.5 },
    ],
  })
  const text = metricsText(counters, { serial: 1, collisions: 0 })
  for (const line of [
    'dns_proxy_events_total{event="ready"} 1',
    'dns_proxy_cache_entries 3',
    'dns_upstream_events_total{upstream="192.0.2.1#53",event="timeouts"} 1',
    'dns_upstream_failures{upstream="192.0.2.1#53"} 1.5',
    'dns_upstream_latency_seconds{upstream="2001:db8::2#53",quantile="0.50"} 0.00113',
  ]) {
    t.ok(text.includes(`\n${line}\n`), line)
  }
})

t.test('two dead upstreams at the head of the list do not delay for long', async (t) => {
  const awake = setInterval(() => undefined, 1000)
  t.teardown(() => clearInterval(awake))
  const stats = new Float64Array(makeStatsBuffer())
  const observer = proxyStatsObserver(proxyPart(stats))
  const scores = openScores(observer.scored)
  const reply: Message = { ...query('www.example.com', 'A'), response: true, rcode: 0 }
  const ask = (upstream: (typeof upstreams)[number]) =>
    upstream === upstreams[2] ? Promise.resolve(reply) : new Promise<Message>(() => undefined)
  const { signal } = new AbortController()
  const took: number[] = []
  for (let i = 0; i < 20; i++) {
    const start = performance.now()
    t.equal(await raceUpstreams({ upstreams, ask, scores, clock: systemClock, observer, signal }), reply)
    took.push(performance.now() - start)
  }
  observer.happened('miss')
  const { proxy } = sumThreads([stats])
  const [dead, , alive] = proxy?.upstreams ?? []
  t.match(alive, { address: '192.0.2.3', answers: 20, queries: 20 })
  t.ok((dead?.timeouts ?? 0) >= 2 && (dead?.timeouts ?? 0) < 5, `late ${dead?.timeouts} times, then out of the way`)
  t.ok(took.filter((ms) => ms > 40).length < 5, `slowest ${Math.max(...took).toFixed(0)} ms`)
})
