import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { type Clock, systemClock } from '../../core/base/clock.ts'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { parseName } from '../../discovery/dns/name.ts'
import { queryDns } from '../../discovery/dns/query.ts'
import { namesConfig } from '../../discovery/records/config.ts'
import { openGuardedDns } from '../../discovery/worker/guard.ts'
import { type DnsThreads, openDnsThreads } from '../../discovery/worker/open.ts'
import { supervise } from '../../discovery/worker/supervise.ts'
import { newlyStarted, type Seen, watchStep } from '../../discovery/worker/watch-state.ts'
import { fixtureStage } from '../fixtures/dns/zones.ts'

const loopback = parseIp('127.0.0.1')
const { signal } = new AbortController()
const config = namesConfig()

t.test('when a server counts as hung', async (t) => {
  const alive: Seen = { silent: 0, busy: false }
  const silent: Seen = { silent: 1, busy: false }
  const busy: Seen = { silent: 1, busy: true }
  const cases: readonly (readonly [string, readonly Seen[], readonly number[]])[] = [
    ['one that answers', Array(100).fill(alive), []],
    ['the third silent look', [alive, silent, silent, silent], [3]],
    ['looks in a row count', [silent, silent, alive, silent, silent, alive], []],
    ['one that applies a million names gets its time', Array(59).fill(busy), []],
    ['but not for ever', Array(60).fill(busy), [59]],
    ['where it did not help it is done once', Array(100).fill(silent), [2]],
    ['until it answered', [silent, silent, silent, alive, silent, silent, silent], [2, 6]],
  ]
  for (const [name, looks, expected] of cases) {
    let state = newlyStarted
    const hung: number[] = []
    for (const [i, seen] of looks.entries()) {
      const step = watchStep(state, seen)
      state = step.state
      if (step.hung) hung.push(i)
    }
    t.same(hung, expected, name)
  }
})

/**
 * A port below those that the kernel gives to whoever wants any (ip_local_port_range): the server that takes the deaf one's
 * place needs it for TCP too, and nobody else may have it meanwhile.
 */
const quietPort = () => 20_000 + Math.floor(Math.random() * 10_000)

/** What binds its port and does nothing. */
async function startDeaf(): Promise<DnsThreads & { readonly closed: Promise<unknown> }> {
  const socket = createSocket('udp4')
  const closed = once(socket, 'close')
  socket.bind(quietPort(), '127.0.0.1')
  await once(socket, 'listening')
  return {
    endpoints: [{ address: loopback, port: socket.address().port }],
    stats: [new Float64Array(4)],
    apply: async () => undefined,
    applyPacked: async () => undefined,
    applying: () => 0,
    close: async () => {
      socket.close()
      await closed
    },
    closed,
  }
}

/** Ten seconds are one. */
const hasty: Clock = { ...systemClock, after: (ms, task) => systemClock.after(ms / 10, task) }

t.test('a server that is deaf is started anew, with all that it has to know', async (t) => {
  const { zones } = await fixtureStage()
  const failures: unknown[] = []
  const deaf = await startDeaf()
  let starts = 0
  const server = await openGuardedDns({
    ...{ config, addresses: [loopback], port: 0, log: silentLog, threads: 0, clock: hasty },
    whole: zones.whole,
    onFailure: (error) => failures.push(error),
    start: async (options) => (starts++ === 0 ? deaf : openDnsThreads(options)),
  })
  t.teardown(() => server.close())
  await deaf.closed
  const port = server.endpoints[0]?.port ?? 0
  const question = { server: loopback, port, name: parseName('web.marathon.mesos'), type: 1 }
  const ask = () => queryDns({ ...question, timeoutMs: 1000, signal }).catch(() => undefined)
  let reply = await ask()
  for (let i = 0; i < 100 && (reply === undefined || reply.rcode === 2); i++) reply = await ask()
  t.match(reply, { rcode: 0 })
  t.equal(reply?.answers.length, 3, 'what the zones hold')
  t.same([starts, failures], [2, []])
})

t.test('one that answers is left alone', async (t) => {
  let starts = 0
  const server = await openGuardedDns({
    ...{ config, addresses: [loopback], port: 0, log: silentLog, threads: 1, clock: systemClock },
    whole: (await fixtureStage()).zones.whole,
    onFailure: (error) => t.fail(String(error)),
    start: (options) => {
      starts++
      return openDnsThreads(options)
    },
  })
  t.teardown(() => server.close())
  await new Promise((resolve) => setTimeout(resolve, 4_500))
  t.equal(starts, 1)
})

/** Nothing but a loop that no message interrupts. */
const stuck = (first: string) => new Worker(`${first}; for (;;) {}`, { eval: true })
const ready = `require('node:worker_threads').parentPort.postMessage({ kind: 'ready', endpoints: [] })`
const nothing = { stop: () => undefined, release: () => undefined }
const options = { log: silentLog, stats: [], onFailure: () => undefined }

t.test('a thread that is stuck is ended', async (t) => {
  const threads = await supervise({ general: stuck(ready), hot: [], ...nothing }, options)
  const applied = t.rejects(threads.apply({ version: 1, owners: [], apexes: { added: [], removed: [] } }), {
    code: 'ERR_DNS_THREAD',
  })
  t.equal(threads.applying(), 1)
  await threads.close()
  await applied
})

t.test('a thread that never begins to answer is given up', async (t) => {
  const started = supervise({ general: stuck(''), hot: [], ...nothing }, { ...options, startLimitMs: 100 })
  await t.rejects(started, { code: 'ERR_DNS_THREAD', details: { late: true } })
})
