import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleepMs } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { diffSnapshots } from '../../core/model/delta.ts'
import { parseNodeName } from '../../core/model/ids.ts'
import { emptySnapshot } from '../../core/model/snapshot.ts'
import { encodeMessage } from '../../discovery/dns/message.ts'
import { parseName } from '../../discovery/dns/name.ts'
import { queryDns } from '../../discovery/dns/query.ts'
import { namesConfig } from '../../discovery/records/config.ts'
import { frame, makeFrameSplitter } from '../../discovery/server/frames.ts'
import { openNamesStage } from '../../discovery/stage.ts'
import { type DnsThreads, openDnsThreads } from '../../discovery/worker/open.ts'
import { query } from '../fixtures/dns/messages.ts'
import { seededRandom } from '../fixtures/dns/random.ts'
import { fixtureSnapshot } from '../fixtures/dns/snapshot.ts'

const loopback = parseIp('127.0.0.1')
const { signal } = new AbortController()
/** `WEFT_LONG=1`: a million packets, some minutes. */
const packets = process.env['WEFT_LONG'] === '1' ? 1_000_000 : 30_000

async function open(
  t: Test,
): Promise<{ readonly server: DnsThreads; readonly port: number; readonly failures: unknown[] }> {
  const failures: unknown[] = []
  const onFailure = (error: unknown) => failures.push(error)
  const common = { config: namesConfig(), addresses: [loopback], port: 0, log: silentLog, threads: 0, onFailure }
  const server = await openDnsThreads(common)
  t.teardown(() => server.close())
  const stage = openNamesStage({ self: parseNodeName('host-a'), publish: server.apply })
  const next = fixtureSnapshot()
  await stage.plan({ previous: emptySnapshot, next, delta: diffSnapshots(emptySnapshot, next) }).add({ signal })
  return { server, port: server.endpoints[0]?.port ?? 0, failures }
}

const seeds = [
  'web.marathon.mesos',
  '_web._tcp.marathon.mesos',
  'nope.mesos',
  'example.com',
  'many.data.jobs.mesos',
].flatMap((name) => {
  const edns = { udpSizeBytes: 1232, version: 0, dnssecOk: true, options: [{ code: 10, bytes: new Uint8Array(8) }] }
  return [query(name, 'A'), query(name, 'SRV', { edns })].map((message) => encodeMessage(message, { limitBytes: 4096 }))
})

/** What comes back for these must be a response to them, no larger than the client takes. */
function mutated(random: (below: number) => number): Uint8Array {
  const packet = (seeds[random(seeds.length)] ?? new Uint8Array(12)).slice()
  for (let i = random(4); i > 0; i--) packet[random(packet.length)] = random(256)
  if (random(8) === 0) return packet.slice(0, random(packet.length))
  if (random(20) === 0) return Uint8Array.from({ length: random(3000) }, () => random(256))
  // A pointer to itself, and a chain of them.
  if (random(8) === 0) packet.set([0xc0, 12], 12)
  return packet
}

t.test('mutated packets over UDP and TCP', async (t) => {
  const { port, failures } = await open(t)
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 22 })
  t.teardown(() => socket.close())
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const seen = { responses: 0, wrong: 0 }
  socket.on('message', (reply) => {
    seen.responses++
    if (((reply[2] ?? 0) & 0x80) === 0 || reply.length < 12 || reply.length > 4096) seen.wrong++
  })
  const random = seededRandom(77)
  const residentBefore = process.memoryUsage().rss
  for (let i = 0; i < packets; i++) {
    socket.send(mutated(random), port, '127.0.0.1')
    if (i % 64 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  for (let round = 0; round < 20; round++) {
    const stream = connect({ port, host: '127.0.0.1' })
    stream.on('error', () => undefined)
    for (let i = 0; i < packets / 200; i++) stream.write(frame(mutated(random)))
    stream.end()
    stream.resume()
    await new Promise((resolve) => stream.on('close', resolve))
  }
  const grownMb = (process.memoryUsage().rss - residentBefore) / 2 ** 20
  t.same(failures, [], 'no thread ended')
  t.equal(seen.wrong, 0, 'responses only, none too large')
  t.ok(seen.responses > packets / 10, `${seen.responses} responses`)
  t.ok(grownMb < 150, `${grownMb.toFixed(0)} MB more`)
  t.equal(await rcodeOf(port, 'web.marathon.mesos'), 0, 'it still answers')
})

async function rcodeOf(port: number, name: string, tcp = false): Promise<number> {
  const reply = await queryDns({
    server: loopback,
    port,
    name: parseName(name),
    type: 1,
    tcp,
    timeoutMs: 10_000,
    signal,
  })
  return reply.rcode
}

t.test('idle, half-open and slow TCP connections do not keep others out', async (t) => {
  const { port, failures } = await open(t)
  const sockets = Array.from({ length: 3000 }, () => connect({ port, host: '127.0.0.1' }))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  for (const [i, socket] of sockets.entries()) {
    socket.on('error', () => undefined)
    // A third says nothing, a third stops in the middle, a third closes its half.
    if (i % 3 === 1) socket.write(Uint8Array.of(0, 40, 1, 2))
    if (i % 3 === 2) socket.end()
  }
  t.equal(await rcodeOf(port, 'web.marathon.mesos', true), 0, 'over TCP')
  t.equal(await rcodeOf(port, 'web.marathon.mesos'), 0, 'over UDP')
  t.same(failures, [])
})

t.test('a thousand changes a second are seen at once', async (t) => {
  const { server, port } = await open(t)
  const owner = parseName('moving.marathon.mesos')
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  t.teardown(() => socket.destroy())
  const splitter = makeFrameSplitter()
  const lags: number[] = []
  for (let i = 0; i < 1000; i++) {
    const address = parseIp(`10.1.${i >> 8}.${i & 255}`)
    const start = performance.now()
    const rrsets = [{ code: 1, ttlSeconds: 5, data: [{ type: 'A' as const, address }] }]
    await server.apply({ version: 100 + i, owners: [{ owner, rrsets }], apexes: { added: [], removed: [] } })
    socket.write(frame(encodeMessage(query('moving.marathon.mesos', 'A'), { limitBytes: 512 })))
    let reply: Uint8Array | undefined
    while (reply === undefined) {
      const [chunk] = (await once(socket, 'data')) as [Uint8Array]
      reply = splitter.push(chunk)[0]
    }
    lags.push(performance.now() - start)
    t.equal([...reply.slice(-4)].join('.'), address) || t.bailout('an old answer')
  }
  const p99 = lags.toSorted((a, b) => a - b)[989] ?? Number.NaN
  t.ok(p99 < 100, `p99 ${p99.toFixed(1)} ms`)
})

t.test('closing ends every thread soon', async (t) => {
  const { server } = await open(t)
  const start = performance.now()
  await Promise.race([server.close(), sleepMs(10_000, undefined, { ref: false })])
  t.ok(performance.now() - start < 5000)
  await t.rejects(server.apply({ version: 1, owners: [], apexes: { added: [], removed: [] } }), {
    code: 'ERR_DNS_THREAD',
  })
})
