import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { decodeMessage, encodeMessage } from '../../discovery/dns/message.ts'
import { parseName } from '../../discovery/dns/name.ts'
import { queryDns } from '../../discovery/dns/query.ts'
import { namesConfig } from '../../discovery/records/config.ts'
import { parseNamesConfig } from '../../discovery/records/parse-config.ts'
import { makeRateLimiter, rateLimit, truncatedReply } from '../../discovery/server/rate-limit.ts'
import { openDnsThreads } from '../../discovery/worker/open.ts'
import { sumThreads } from '../../discovery/worker/stats.ts'
import { query } from '../fixtures/dns/messages.ts'

const a = parseIp('192.0.2.1')
const neighbour = parseIp('192.0.2.200')
const other = parseIp('198.51.100.7')

t.test('a prefix has its burst, then its rate; slips go on', async (t) => {
  const decide = makeRateLimiter(rateLimit({ responsesPerSecond: 10, burst: 3 }))
  const at = (nowMs: number, client = a) => decide(client, nowMs)
  t.same([at(0), at(0), at(0, neighbour)], ['answer', 'answer', 'answer'])
  t.same([at(1), at(1), at(1, neighbour), at(1)], ['drop', 'truncate', 'drop', 'truncate'])
  t.equal(at(1, other), 'answer', 'others are not concerned')
  t.equal(at(101), 'answer', 'a tenth of a second earns one')
  t.equal(at(102), 'drop')
  t.equal(at(50), 'truncate', 'a clock that goes back earns nothing')
  t.same(
    [at(5000), at(5000), at(5000), at(5000)],
    ['answer', 'answer', 'answer', 'drop'],
    'a rest earns no more than a burst',
  )
})

t.test('IPv6 by 56 bits; slip 0 and 1', async (t) => {
  const never = makeRateLimiter(rateLimit({ responsesPerSecond: 1, slip: 0 }))
  const always = makeRateLimiter(rateLimit({ responsesPerSecond: 1, slip: 1 }))
  const [one, same, far] = ['2001:db8::1', '2001:db8:0:ff::2', '2001:db8:0:100::1'].map(parseIp)
  for (const [decide, over] of [
    [never, 'drop'],
    [always, 'truncate'],
  ] as const) {
    t.equal(decide(one ?? a, 0), 'answer')
    t.same([decide(same ?? a, 0), decide(one ?? a, 0)], [over, over])
    t.equal(decide(far ?? a, 0), 'answer')
  }
})

t.test('memory is bounded: a million clients', async (t) => {
  const decide = makeRateLimiter(rateLimit({ responsesPerSecond: 1, maxPrefixes: 1000, ipv4PrefixLength: 32 }))
  for (let i = 0; i < 1_000_000; i++) decide(parseIp(`10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`), 0)
  t.equal(decide(parseIp('10.15.66.63'), 0), 'drop', 'the last one is remembered')
  t.equal(decide(parseIp('10.0.0.0'), 0), 'answer', 'the first one is not')
})

t.test('a truncated reply is no larger than its query', async (t) => {
  const edns = { udpSizeBytes: 4096, version: 0, dnssecOk: true, options: [] }
  for (const message of [query('web.marathon.mesos', 'A'), query('wEb.marathon.mesos', 'SRV', { edns })]) {
    const packet = encodeMessage(message, { limitBytes: 512 })
    const reply = truncatedReply(packet) ?? packet
    t.equal(reply.length, packet.length)
    t.match(decodeMessage(reply), {
      id: message.id,
      response: true,
      truncated: true,
      rcode: 0,
      answers: [],
      questions: message.questions,
    })
  }
  t.equal(truncatedReply(new Uint8Array(12)), undefined)
})

t.test('configuration', async (t) => {
  t.same(parseNamesConfig('{"rateLimit":{"responsesPerSecond":5,"slip":1}}'), {
    rateLimit: { responsesPerSecond: 5, slip: 1 },
  })
  for (const bad of ['{"slip":1}', '{"responsesPerSecond":0}', '{"responsesPerSecond":5,"Slip":1}', '5']) {
    t.throws(() => parseNamesConfig(`{"rateLimit":${bad}}`), { code: 'ERR_NAMES_CONFIG' }, bad)
  }
})

t.test('a server with a limit', async (t) => {
  const loopback = parseIp('127.0.0.1')
  const config = namesConfig({ rateLimit: { responsesPerSecond: 1, burst: 10, slip: 2 } })
  const onFailure = (error: unknown) => t.fail(String(error))
  const server = await openDnsThreads({ config, addresses: [loopback], port: 0, log: silentLog, onFailure })
  t.teardown(() => server.close())
  const port = server.endpoints[0]?.port ?? 0
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  let truncated = 0
  let whole = 0
  socket.on('message', (reply) => (decodeMessage(reply).truncated ? truncated++ : whole++))
  const packet = encodeMessage(query('web.marathon.mesos', 'A'), { limitBytes: 512 })
  const drops = () => sumThreads(server.stats).drops
  const counted = () => drops().reduce((sum, { count }) => sum + count, 0)
  for (let i = 0; i < 100; i++) socket.send(packet, port, '127.0.0.1')
  for (let i = 0; i < 500 && counted() + whole < 100; i++) await new Promise((resolve) => setTimeout(resolve, 10))
  for (let i = 0; i < 100 && truncated < 40; i++) await new Promise((resolve) => setTimeout(resolve, 10))
  t.ok(whole >= 10 && whole <= 16, `${whole} whole answers`)
  t.ok(truncated >= 40 && truncated <= 45, `${truncated} truncated ones`)
  t.same(
    drops()
      .map(({ reason }) => reason)
      .toSorted(),
    ['rate-limited', 'rate-truncated'],
  )
  const { signal } = new AbortController()
  const asked = { server: loopback, port, name: parseName('web.marathon.mesos'), type: 1, timeoutMs: 5000, signal }
  t.equal(
    (await queryDns({ ...asked, tcp: true })).rcode,
    2,
    'TCP is not limited: it answers that nothing is known yet',
  )
})
