import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { diffSnapshots } from '../../core/model/delta.ts'
import { emptySnapshot } from '../../core/model/snapshot.ts'
import { parseNodeName } from '../../core/model/ids.ts'
import { parseName } from '../../discovery/dns/name.ts'
import { queryDns } from '../../discovery/dns/query.ts'
import { namesConfig } from '../../discovery/records/config.ts'
import { openNamesStage } from '../../discovery/stage.ts'
import { openDnsThreads } from '../../discovery/worker/open.ts'
import { sumThreads } from '../../discovery/worker/stats.ts'
import { fixtureSnapshot } from '../fixtures/dns/snapshot.ts'

const loopback = parseIp('127.0.0.1')
const { signal } = new AbortController()

for (const { udp, threads } of [
  { udp: 'hot', threads: 0 },
  { udp: 'hot', threads: 1 },
  { udp: 'hot', threads: 2 },
  { udp: 'dgram', threads: 1 },
] as const) {
  t.test(`${udp}, ${threads} threads`, async (t) => {
    const failures: unknown[] = []
    const server = await openDnsThreads({
      config: namesConfig(),
      addresses: [loopback],
      port: 0,
      log: silentLog,
      udp,
      threads,
      onFailure: (error) => failures.push(error),
    })
    t.teardown(() => server.close())
    const port = server.endpoints[0]?.port ?? 0
    const ask = async (name: string, tcp = false) => {
      const reply = await queryDns({
        server: loopback,
        port,
        name: parseName(name),
        type: 1,
        tcp,
        timeoutMs: 10_000,
        signal,
      })
      return `${reply.rcode} ${reply.answers.length}`
    }
    t.equal(await ask('web.marathon.mesos'), '2 0', 'SERVFAIL before anything is known')
    const stage = openNamesStage({ self: parseNodeName('host-a'), publish: server.apply })
    const next = fixtureSnapshot()
    const step = stage.plan({ previous: emptySnapshot, next, delta: diffSnapshots(emptySnapshot, next) })
    await step.add({ signal })
    for (let i = 0; i < 3; i++) {
      t.equal(await ask('web.marathon.mesos'), '0 3')
      t.equal(await ask('web.marathon.mesos', true), '0 3')
      t.equal(await ask('nope.marathon.mesos'), '3 0')
      t.equal(await ask('many.data.jobs.mesos'), '0 200')
      t.equal(await ask('example.com'), '5 0')
    }
    const empty = { ...next, version: 8, tasks: new Map() }
    await stage.plan({ previous: next, next: empty, delta: diffSnapshots(next, empty) }).remove({ signal })
    t.equal(await ask('web.marathon.mesos'), '3 0', 'gone at once')
    const total = sumThreads(server.stats).answers.reduce((sum, { count }) => sum + count, 0)
    t.equal(total, 1 + 15 + 3 + 1, 'every answer is counted (many… is asked again over TCP)')
    await server.close()
    t.same(failures, [])
  })
}

t.test('a port that is taken', async (t) => {
  const taken = createServer()
  taken.listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const address = taken.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const failures: unknown[] = []
  const onFailure = (error: unknown) => failures.push(error)
  const options = { config: namesConfig(), addresses: [loopback], port, log: silentLog, threads: 1, onFailure }
  const openFiles = () => readdirSync('/proc/self/fd').length
  const before = openFiles()
  await t.rejects(openDnsThreads(options), { code: 'ERR_DNS_LISTEN' }, 'over TCP')
  t.ok(openFiles() <= before, 'nothing stays open')
  t.same(failures, [])
})
