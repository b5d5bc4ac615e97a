import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { formatRcode, formatRecord, parseType } from '../../discovery/dns/presentation.ts'
import { parseName } from '../../discovery/dns/name.ts'
import { queryDns } from '../../discovery/dns/query.ts'
import { parseStandaloneConfig } from '../../discovery/standalone/config.ts'
import { openStandalone, parsePlace, type Standalone } from '../../discovery/standalone/main.ts'
import { makeRecordSplitter } from '../../discovery/standalone/record-io.ts'
import { type MesosStub, openMesosStub } from '../support/mesos-stub.ts'

const stateText = readFileSync(new URL('../fixtures/mesos/state.json', import.meta.url), 'utf8')
const recorded = (master: string): unknown => JSON.parse(stateText.replaceAll('MASTER', master))
const loopback = { address: parseIp('127.0.0.1'), port: 0 }
const { signal } = new AbortController()

interface Ends {
  teardown(end: () => Promise<void>): void
}

async function stub(t: Ends): Promise<MesosStub> {
  const master = await openMesosStub()
  t.teardown(() => master.close())
  return master
}

async function serve(t: Ends, masters: readonly string[], json?: unknown): Promise<Standalone> {
  const config = parseStandaloneConfig(json === undefined ? undefined : JSON.stringify(json))
  const urls = masters.map((host) => `http://${host}`)
  const common = { listen: [loopback], http: loopback, version: '1', log: silentLog }
  const server = await openStandalone({ ...common, config, masters: urls })
  t.teardown(() => server.close())
  return server
}

/** `A 192.0.2.1`, …, sorted; the code where there is none. */
async function ask(server: Standalone, name: string, type = 'A'): Promise<readonly string[]> {
  const [place] = server.dns
  if (place === undefined) throw new Error('it answers nowhere')
  const at = { server: place.address, port: place.port, timeoutMs: 3000, signal }
  const { rcode, answers } = await queryDns({ ...at, name: parseName(name), type: parseType(type) })
  if (answers.length === 0) return [formatRcode(rcode)]
  return answers.map((record) => formatRecord(record).split('\t').slice(3).join(' ')).sort()
}

/** Asks again and again, for at most 10 s, until the answer is as expected; returns the last one. */
async function settled(server: Standalone, name: string, expected: readonly string[]): Promise<readonly string[]> {
  const untilMs = performance.now() + 10_000
  for (;;) {
    const found = await ask(server, name)
    if (found.join() === expected.join() || performance.now() > untilMs) return found
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Expectations: reference/mesos-dns.md applied to state.json by hand; hashes by `printf ID | sha1sum`, in zbase32. */
const expected: readonly (readonly [string, string, readonly string[]])[] = [
  ['web.marathon.mesos', 'A', ['A 9.0.0.2']],
  ['web.marathon.mesos', 'AAAA', ['AAAA fd01:b::2']],
  ['web-e844k-s0.marathon.mesos', 'A', ['A 9.0.0.2']],
  ['web.marathon.slave.mesos', 'A', ['A 192.0.2.1']],
  [
    '_web._udp.marathon.mesos',
    'SRV',
    ['31000', '31001', '31005'].map((port) => `SRV 0 1 ${port} web-e844k-s0.marathon.slave.mesos.`),
  ],
  ['liquor-store.marathon.mesos', 'A', ['A 172.18.0.5']],
  ['liquor.store.marathon.mesos', 'A', ['A 172.18.0.5']],
  ['liquor-store.marathon.slave.mesos', 'AAAA', ['AAAA 2001:db8::2']],
  ['_http._liquor-store._tcp.marathon.mesos', 'SRV', ['SRV 0 1 80 liquor-store-7zffe-s1.marathon.mesos.']],
  ['_liquor-store._udp.marathon.mesos', 'SRV', ['SRV 0 1 53 liquor-store-7zffe-s1.marathon.mesos.']],
  ['_liquor-store._tcp.marathon.slave.mesos', 'SRV', ['SRV 0 1 31007 liquor-store-7zffe-s1.marathon.slave.mesos.']],
  ['chronosjob.marathon.mesos', 'A', ['A 192.0.2.3']],
  ['badip.marathon.mesos', 'A', ['A 192.0.2.1']],
  ['sick.marathon.mesos', 'A', ['NXDOMAIN']],
  ['done.marathon.mesos', 'A', ['NXDOMAIN']],
  ['lost.marathon.mesos', 'A', ['NXDOMAIN']],
  ['marathon.mesos', 'A', ['A 192.0.2.9']],
  ['_framework._tcp.marathon.mesos', 'SRV', ['SRV 0 1 40001 marathon.mesos.']],
  ['data.jobs.mesos', 'A', ['A 192.0.2.8']],
  ['_framework._tcp.data.jobs.mesos', 'SRV', ['NXDOMAIN']],
  ['slave.mesos', 'A', ['A 192.0.2.1', 'A 192.0.2.3']],
  ['slave.mesos', 'AAAA', ['AAAA 2001:db8::2']],
  ['_slave._tcp.mesos', 'SRV', ['SRV 0 1 5051 slave.mesos.', 'SRV 0 1 5052 slave.mesos.']],
  ['leader.mesos', 'A', ['A 127.0.0.1']],
  ['master.mesos', 'A', ['A 127.0.0.1']],
  ['master0.mesos', 'A', ['A 127.0.0.1']],
  ['ns1.mesos', 'A', ['A 127.0.0.1']],
  ['thisnode.thisdcos.directory', 'A', ['REFUSED']],
  ['example.com', 'A', ['REFUSED']],
]

t.test('a recorded state with entries that break Mesos-DNS', async (t) => {
  const master = await stub(t)
  const server = await serve(t, [master.host])
  t.same(await ask(server, 'web.marathon.mesos'), ['SERVFAIL'], 'before anything is known')
  master.state = recorded(master.host)
  t.same(await settled(server, 'web.marathon.mesos', ['A 9.0.0.2']), ['A 9.0.0.2'])
  for (const [name, type, records] of expected) t.same(await ask(server, name, type), records, `${name} ${type}`)
  const port = master.host.split(':')[1]
  t.same(await ask(server, '_leader._tcp.mesos', 'SRV'), [`SRV 0 1 ${port} leader.mesos.`])
  const response = await fetch(`http://127.0.0.1:${server.httpPort}/v1/hosts/web.marathon.slave.mesos`)
  t.same(await response.json(), [{ host: 'web.marathon.slave.mesos.', ip: '192.0.2.1' }])
  t.same(master.requests.slice(0, 2), ['POST /api/v1', 'GET /master/state'])
})

t.test("Mesos-DNS's configuration file", async (t) => {
  const master = await stub(t)
  master.state = recorded(master.host)
  const file = {
    DOMAIN: 'Corp',
    ttl: 7,
    ipsources: ['docker', 'host'],
    enforceRFC952: true,
    srvRecordDefaultWeight: 3,
    soaMinTTL: 9,
    soaRname: 'admin@corp.example',
    nonsense: 1,
    zk: 'zk://192.0.2.1:2181/mesos',
    weft: { unhealthy: 'served', audience: 'cluster' },
  }
  const server = await serve(t, [master.host], file)
  t.same(await settled(server, 'web.marathon.corp', ['A 192.0.2.1']), ['A 192.0.2.1'])
  t.same(await ask(server, 'sick.marathon.corp'), ['A 192.0.2.1'])
  t.same(await ask(server, 'liquor-store.marathon.corp'), ['NXDOMAIN'], 'FRAMEWORK is not for the cluster')
  t.match((await ask(server, 'corp', 'SOA'))[0], /^SOA ns1\.corp\. admin\.corp\.example\. \d+ 60 600 86400 9$/)
  t.match((await ask(server, '_web._tcp.marathon.corp', 'SRV'))[0], 'SRV 0 3 31000 web-e844k-s0.marathon.slave.corp.')
  const shown = await (await fetch(`http://127.0.0.1:${server.httpPort}/v1/config`)).json()
  t.match(shown, { TTL: 7, EnforceRFC952: true, RefreshSeconds: 60 })
  t.match(parseStandaloneConfig(JSON.stringify(file)).warnings, [/nonsense/])
  for (const wrong of [{ ttl: '5' }, { masters: 'a' }, { ipsources: ['x'] }, { dnsOn: 1 }, { weft: { x: 1 } }]) {
    const [key = ''] = Object.keys(wrong)
    const codes = { code: /ERR_(STANDALONE|NAMES)_CONFIG/, message: new RegExp(key, 'i') }
    t.throws(() => parseStandaloneConfig(JSON.stringify(wrong)), codes, key)
  }
})

/** The same tasks as the v1 API has them. */
function getState() {
  const id = (value: string) => ({ value })
  const address = { container_status: { network_infos: [{ ip_addresses: [{ ip_address: '9.0.0.2' }] }] } }
  const agentInfo = { id: id('m-S0'), hostname: '192.0.2.1', port: 5051 }
  const running = { state: 'TASK_RUNNING', timestamp: 1, ...address }
  const ranges = { range: [{ begin: 31000, end: 31000 }] }
  const task = { name: 'web', task_id: id('web.1'), framework_id: id('f'), agent_id: id('m-S0'), state: 'TASK_RUNNING' }
  return {
    get_agents: { agents: [{ agent_info: agentInfo, pid: 'slave(1)@192.0.2.1:5051' }, {}] },
    get_frameworks: { frameworks: [{ framework_info: { id: id('f'), name: 'marathon', hostname: '192.0.2.9' } }, 7] },
    get_tasks: {
      tasks: [{ ...task, statuses: [running], resources: [{ name: 'ports', type: 'RANGES', ranges }] }, null],
    },
  }
}

t.test('events, and the next leader', async (t) => {
  const [first, second] = [await stub(t), await stub(t)]
  Object.assign(first, { stream: 'open', state: getState() })
  Object.assign(second, { stream: 'open', state: getState(), leaderElsewhere: first.host })
  const server = await serve(t, [second.host, first.host])
  t.same(await settled(server, 'web.marathon.mesos', ['A 9.0.0.2']), ['A 9.0.0.2'], 'a standby leads to the leader')
  t.same(await ask(server, '_web._tcp.marathon.mesos', 'SRV'), ['SRV 0 1 31000 web-e844k-s0.marathon.slave.mesos.'])
  const id = (value: string) => ({ value })
  const task = { name: 'api', task_id: id('api.1'), framework_id: id('f'), agent_id: id('m-S0'), state: 'TASK_STAGING' }
  first.event({ type: 'TASK_ADDED', task_added: { task } })
  first.event({ type: 'NEWS', news: 1 })
  first.event({ type: 'TASK_ADDED', task_added: { task: null } })
  const status = (healthy: boolean) => ({ task_id: id('api.1'), state: 'TASK_RUNNING', timestamp: 2, healthy })
  const update = (healthy: boolean, state = 'TASK_RUNNING') => ({
    type: 'TASK_UPDATED',
    task_updated: { framework_id: id('f'), status: { ...status(healthy), timestamp: Date.now() }, state },
  })
  t.same(await ask(server, 'api.marathon.mesos'), ['NXDOMAIN'], 'not running yet')
  first.event(update(true))
  t.same(await settled(server, 'api.marathon.mesos', ['A 192.0.2.1']), ['A 192.0.2.1'])
  first.event(update(false))
  t.same(await settled(server, 'api.marathon.mesos', ['NXDOMAIN']), ['NXDOMAIN'], 'unhealthy')
  first.event(update(true))
  t.same(await settled(server, 'api.marathon.mesos', ['A 192.0.2.1']), ['A 192.0.2.1'], 'healthy again')
  first.event(update(true, 'TASK_KILLED'))
  t.same(await settled(server, 'api.marathon.mesos', ['NXDOMAIN']), ['NXDOMAIN'], 'gone')
  first.event({ type: 'AGENT_REMOVED', agent_removed: { agent_id: id('m-S0') } })
  t.same(await settled(server, 'web.marathon.mesos', ['NXDOMAIN']), ['NXDOMAIN'], 'its agent is gone')

  Object.assign(second, { leaderElsewhere: undefined })
  Object.assign(first, { leaderElsewhere: second.host })
  first.endStreams()
  t.same(await settled(server, 'web.marathon.mesos', ['A 9.0.0.2']), ['A 9.0.0.2'], 'the next leader knows it')
  t.same(await ask(server, '_leader._tcp.mesos', 'SRV'), [`SRV 0 1 ${second.host.split(':')[1]} leader.mesos.`])
  await Promise.all([first.close(), second.close()])
  t.same(await ask(server, 'web.marathon.mesos'), ['A 9.0.0.2'], 'without a master the names stay')
})

t.test('records of a stream, in pieces of any size', async (t) => {
  const bytes = Buffer.from('3\nabc0\n11\n{"ü": "\n"}')
  for (let size = 1; size <= bytes.length; size++) {
    const split = makeRecordSplitter()
    const records: string[] = []
    for (let at = 0; at < bytes.length; at += size) records.push(...split(bytes.subarray(at, at + size)))
    t.same(records, ['abc', '', '{"ü": "\n"}'], `${size} octets at once`)
  }
  for (const text of ['x\n', '\n', '-1\nx', '99999999999\n']) {
    t.throws(() => makeRecordSplitter()(Buffer.from(text)), { code: 'ERR_MESOS_STREAM' }, JSON.stringify(text))
  }
})

t.test('places', async (t) => {
  t.same(parsePlace('127.0.0.1:5353'), { address: '127.0.0.1', port: 5353 })
  t.same(parsePlace('[::1]:53'), { address: '::1', port: 53 })
  for (const text of ['53', '127.0.0.1', '::1:53', '127.0.0.1:70000', 'host:53'])
    t.throws(() => parsePlace(text), { code: /ERR/ }, text)
})
