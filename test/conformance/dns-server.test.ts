import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { type Clock, systemClock } from '../../core/base/clock.ts'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { decodeMessage, encodeMessage, type Message } from '../../discovery/dns/message.ts'
import { parseName } from '../../discovery/dns/name.ts'
import { queryDns } from '../../discovery/dns/query.ts'
import { typeCode } from '../../discovery/dns/rdata.ts'
import { frame, makeFrameSplitter } from '../../discovery/server/frames.ts'
import { type Forward } from '../../discovery/server/respond.ts'
import { type DnsServerOptions, openDnsServer } from '../../discovery/server/server.ts'
import { query } from '../fixtures/dns/messages.ts'
import { seededRandom } from '../fixtures/dns/random.ts'
import { fixtureStage } from '../fixtures/dns/zones.ts'

const { zones } = await fixtureStage()
const loopback = parseIp('127.0.0.1')
const { signal } = new AbortController()
const bytesOf = (message: Message) => encodeMessage(message, { limitBytes: 65535 })
const web = query('web.marathon.mesos', 'A')

async function open(t: Test, options: Partial<DnsServerOptions> = {}) {
  const server = await openDnsServer({ addresses: [loopback], port: 0, zones, log: silentLog, ...options })
  t.teardown(() => server.close())
  return server.endpoints[0]?.port ?? 0
}

/** A TCP client that gathers messages and tells when the server hung up. */
async function client(t: Test, port: number) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  t.teardown(() => socket.destroy())
  const splitter = makeFrameSplitter()
  const messages: Message[] = []
  socket.on('data', (chunk) => messages.push(...splitter.push(chunk).map((bytes) => decodeMessage(bytes))))
  socket.on('error', () => undefined)
  // Not `once`: that rejects when the server resets the connection, which is one way of closing it.
  const closed = new Promise<void>((resolve) => {
    socket.on('close', () => resolve())
  })
  await once(socket, 'connect')
  const received = async (count: number) => {
    while (messages.length < count) await once(socket, 'data')
    return messages
  }
  return { socket, received, closed }
}

/** A clock whose timers fire when told. */
function manualClock() {
  const timers = new Set<() => void>()
  const clock: Clock = {
    ...systemClock,
    after: (_ms, task) => {
      timers.add(task)
      return () => timers.delete(task)
    },
  }
  const fire = () => {
    for (const task of [...timers]) task()
  }
  return { clock, fire, timers }
}

t.test('TCP', async (t) => {
  t.test('a query in single octets', async (t) => {
    const { socket, received } = await client(t, await open(t))
    for (const octet of frame(bytesOf(web))) {
      socket.write(Uint8Array.of(octet))
      await new Promise((resolve) => setImmediate(resolve))
    }
    t.equal((await received(1))[0]?.answers.length, 3)
  })
  t.test('pipelined queries, then half a close', async (t) => {
    const { socket, received, closed } = await client(t, await open(t))
    const queries = Array.from({ length: 50 }, (_, id) => frame(bytesOf({ ...web, id })))
    socket.end(Buffer.concat(queries))
    t.same(
      (await received(50)).map(({ id }) => id),
      Array.from({ length: 50 }, (_, id) => id),
    )
    await closed
  })
  t.test('an idle connection is closed, a slow one too', async (t) => {
    const { clock, fire, timers } = manualClock()
    const port = await open(t, { clock })
    const idle = await client(t, port)
    idle.socket.write(frame(bytesOf(web)))
    await idle.received(1)
    const slow = await client(t, port)
    slow.socket.write(Uint8Array.of(0, 40, 1))
    await waitFor(() => timers.size === 2)
    fire()
    await Promise.all([idle.closed, slow.closed])
    t.equal(timers.size, 0, 'no timer is left')
  })
  t.test('one connection too many closes the one that was quiet longest', async (t) => {
    const port = await open(t, { tcp: { maxConnections: 2 } })
    const [first, second] = [await client(t, port), await client(t, port)]
    first.socket.write(frame(bytesOf(web)))
    await first.received(1)
    const third = await client(t, port)
    await second.closed
    for (const { socket } of [first, third]) socket.write(frame(bytesOf(web)))
    t.equal((await first.received(2)).length, 2)
    t.equal((await third.received(1)).length, 1)
  })
  t.test('who does not read is dropped', async (t) => {
    const port = await open(t, { tcp: { maxUnsentBytes: 100_000 } })
    const { socket, closed } = await client(t, port)
    socket.removeAllListeners('data')
    socket.pause()
    const many = Buffer.concat(Array.from({ length: 200 }, () => frame(bytesOf(query('many.data.jobs.mesos', 'A')))))
    // Each write asks for 650 kB of answers: the kernel's buffers are full after a few.
    for (let i = 0; i < 200 && !socket.destroyed; i++) {
      socket.write(many)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    socket.resume()
    await closed
    t.pass('the connection is gone')
  })
})

t.test('UDP garbage changes nothing', async (t) => {
  const port = await open(t)
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  const random = seededRandom(5)
  socket.send(new Uint8Array(0), port, '127.0.0.1')
  for (let i = 0; i < 300; i++) {
    socket.send(
      Uint8Array.from({ length: random(600) }, () => random(256)),
      port,
      '127.0.0.1',
    )
  }
  const reply = await queryDns({
    server: loopback,
    port,
    name: parseName('web.marathon.mesos'),
    type: 1,
    timeoutMs: 10_000,
    signal,
  })
  t.equal(reply.answers.length, 3)
})

t.test('the client', async (t) => {
  const port = await open(t)
  const base = { server: loopback, port, type: typeCode('A'), timeoutMs: 10_000, signal }
  const many = await queryDns({ ...base, name: parseName('many.data.jobs.mesos') })
  t.same([many.answers.length, many.truncated], [200, false], 'truncated over UDP, whole over TCP')
  const overTcp = await queryDns({ ...base, name: parseName('web.marathon.mesos'), tcp: true })
  t.equal(overTcp.answers.length, 3)
  const silent = createSocket('udp4')
  t.teardown(() => silent.close())
  silent.bind(0, '127.0.0.1')
  await once(silent, 'listening')
  const name = parseName('web.marathon.mesos')
  const nowhere = { ...base, name, port: silent.address().port }
  await t.rejects(queryDns({ ...nowhere, timeoutMs: 50 }), { code: 'ERR_DNS_TIMEOUT' })
  await t.rejects(queryDns({ ...nowhere, signal: AbortSignal.abort() }), { name: 'AbortError' })
  silent.on('message', (packet, from) => {
    const asked = decodeMessage(packet)
    const wrongId = { ...asked, response: true, id: asked.id ^ 1 }
    const wrongName = { ...query('evil.mesos', 'A'), response: true, id: asked.id }
    for (const reply of [wrongId, wrongName, { ...asked, response: true, rcode: 5 }]) {
      silent.send(bytesOf(reply), from.port, from.address)
    }
  })
  t.equal((await queryDns(nowhere)).rcode, 5, 'replies to other questions are ignored')
})

t.test('foreign names go to the hook', async (t) => {
  const forward: Forward = async (packet) => {
    const asked = decodeMessage(packet)
    if (asked.questions[0]?.name === 'broken.example.') throw new Error('all upstreams failed')
    return bytesOf({ ...asked, response: true, recursionAvailable: true, rcode: 3 })
  }
  const port = await open(t, { forward })
  const ask = (name: string, tcp: boolean) =>
    queryDns({ server: loopback, port, name: parseName(name), type: 1, tcp, timeoutMs: 10_000, signal })
  for (const tcp of [false, true]) {
    t.match(await ask('example.com', tcp), { rcode: 3, recursionAvailable: true })
    t.match(await ask('broken.example', tcp), { rcode: 2, recursionAvailable: true }, 'SERVFAIL')
    t.match(await ask('web.marathon.mesos', tcp), { rcode: 0, authoritative: true, recursionAvailable: true })
  }
})

t.test('an address that is not here, or taken', async (t) => {
  const port = await open(t)
  const again = openDnsServer({ addresses: [loopback], port, zones, log: silentLog })
  await t.rejects(again, { code: 'ERR_DNS_LISTEN' })
  const elsewhere = openDnsServer({ addresses: [loopback, parseIp('192.0.2.1')], port: 0, zones, log: silentLog })
  await t.rejects(elsewhere, { code: 'ERR_DNS_LISTEN' })
})

async function waitFor(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5))
  if (!condition()) throw new Error('the condition did not come true within 10 s')
}
