import { readFileSync } from 'node:fs'
import t from 'tap'
import { systemClock } from '../../core/base/clock.ts'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { openZkClient } from '../../core/store/zookeeper-client.ts'
import { parseZooKeeperUrl } from '../../core/store/zookeeper-url.ts'
import { formatRcode, formatRecord } from '../../discovery/dns/presentation.ts'
import { parseName } from '../../discovery/dns/name.ts'
import { queryDns } from '../../discovery/dns/query.ts'
import { parseStandaloneConfig } from '../../discovery/standalone/config.ts'
import { leadingNode, parseMasterInfo } from '../../discovery/standalone/leader.ts'
import { openStandalone, type Standalone } from '../../discovery/standalone/main.ts'
import { openMesosStub } from '../support/mesos-stub.ts'
import { lacks, startStoreServer } from '../support/store-server.ts'

const stateText = readFileSync(new URL('../fixtures/mesos/state.json', import.meta.url), 'utf8')
const loopback = { address: parseIp('127.0.0.1'), port: 0 }
const { signal } = new AbortController()

t.test('which node leads', async (t) => {
  t.equal(
    leadingNode(['json.info_0000000012', 'info_0000000001', 'log_replicas', 'json.info_0000000009']),
    'json.info_0000000009',
  )
  t.equal(leadingNode(['log_replicas', 'info_0000000001']), undefined)
})

t.test('where a master is', async (t) => {
  const cases: readonly (readonly [unknown, string | undefined])[] = [
    [{ address: { hostname: 'm1', ip: '192.0.2.1', port: 5050 }, pid: 'master@192.0.2.9:1' }, 'http://192.0.2.1:5050'],
    [{ address: { hostname: 'm1', ip: '2001:db8::1', port: 5050 } }, 'http://[2001:db8::1]:5050'],
    [{ address: { hostname: 'm1.example', port: 5050 } }, 'http://m1.example:5050'],
    [{ pid: 'master@192.0.2.1:5050', ip: 16_908_480, port: 5050 }, 'http://192.0.2.1:5050'],
    [{ hostname: 'm1' }, undefined],
    [{ address: { ip: '192.0.2.1', port: 70_000 } }, undefined],
  ]
  for (const [info, url] of cases) t.equal(parseMasterInfo(JSON.stringify(info)), url, JSON.stringify(info))
  t.throws(() => parseMasterInfo('no JSON'))
})

/** Asks again and again, for at most 20 s, until the leader's port is the expected one. */
async function leaderPort(server: Standalone, expected: string): Promise<string> {
  const untilMs = performance.now() + 20_000
  const [place] = server.dns
  for (;;) {
    const at = { server: place?.address ?? loopback.address, port: place?.port ?? 0, timeoutMs: 3000, signal }
    const { rcode, answers } = await queryDns({ ...at, name: parseName('_leader._tcp.mesos'), type: 33 })
    const found = answers.map((record) => formatRecord(record).split(/\s+/).at(-2)).join() || formatRcode(rcode)
    if (found === expected || performance.now() > untilMs) return found
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

t.test('the leader is followed through ZooKeeper', { skip: lacks('zookeeper') }, async (t) => {
  const zk = await startStoreServer('zookeeper')
  t.teardown(() => zk.remove())
  const masters = await Promise.all([openMesosStub(), openMesosStub()])
  for (const master of masters) {
    t.teardown(() => master.close())
    master.state = JSON.parse(stateText.replaceAll('MASTER', master.host))
  }
  const [first, second] = masters.map(({ host }) => host)
  const url = `zk://127.0.0.1:${zk.port}/dc/mesos`
  const config = parseStandaloneConfig(JSON.stringify({ zk: url, refreshSeconds: 60 }))
  t.same([config.zk, config.warnings], [url, []])
  const common = { listen: [loopback], version: '1', log: silentLog }
  const server = await openStandalone({ ...common, config, masters: [], zk: config.zk })
  t.teardown(() => server.close())
  t.equal(await leaderPort(server, 'SERVFAIL'), 'SERVFAIL', 'there is no election yet')
  const ending = new AbortController()
  t.teardown(() => ending.abort())
  const options = { clock: systemClock, limitMs: 10_000, signal: ending.signal }
  const contender = () => openZkClient(parseZooKeeperUrl(url), options)
  const [one, two] = await Promise.all([contender(), contender()])
  await one.create('/dc', '', 'persistent')
  await one.create('/dc/mesos', '', 'persistent')
  await one.create('/dc/mesos/log_replicas', '', 'persistent')
  const info = (host = '') => {
    const [ip, port] = host.split(':')
    return JSON.stringify({ address: { hostname: 'm', ip, port: Number(port) }, id: 'm', version: '1.11.0' })
  }
  const portOf = (host = '') => host.split(':').at(-1) ?? ''
  await one.create('/dc/mesos/json.info_', info(first), 'ephemeral-sequential')
  t.equal(await leaderPort(server, portOf(first)), portOf(first), 'the first contender')
  await two.create('/dc/mesos/json.info_', info(second), 'ephemeral-sequential')
  t.equal(await leaderPort(server, portOf(first)), portOf(first), 'a second one waits')
  one.close()
  t.equal(await leaderPort(server, portOf(second)), portOf(second), 'it leads when the first has gone')
  await zk.kill()
  t.equal(await leaderPort(server, portOf(second)), portOf(second), 'without ZooKeeper the last leader stays')
})
