import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { dcosNetRoute } from '../../discovery/http/dcos-net.ts'
import { mesosDnsConfig, mesosDnsRoute } from '../../discovery/http/mesos-dns.ts'
import { metricsText } from '../../discovery/http/metrics-text.ts'
import { firstRoute, type Route } from '../../discovery/http/reply.ts'
import { openHttpServer } from '../../discovery/http/server.ts'
import { weftDnsRoute } from '../../discovery/http/weft.ts'
import { type NamesView } from '../../discovery/stage.ts'
import { makeStatsBuffer, statsObserver, sumThreads } from '../../discovery/worker/stats.ts'
import { fixtureStage } from '../fixtures/dns/zones.ts'

const backend = [{ ip: '10.80.0.2', port: 8080 }]
const vips = [{ vip: 'web.marathon.l4lb.thisdcos.directory:80', protocol: 'tcp', backend }]

async function serve(t: Tap, route: Route): Promise<(path: string, headers?: Record<string, string>) => Promise<Got>> {
  const server = await openHttpServer({ address: parseIp('127.0.0.1'), port: 0, route, log: silentLog })
  t.teardown(() => server.close())
  return async (path, headers = {}) => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { headers })
    const text = await response.text()
    const isJson = response.headers.get('content-type') === 'application/json'
    return { status: response.status, etag: response.headers.get('etag'), body: isJson ? JSON.parse(text) : text }
  }
}

/** A member of an object or list that a server sent; `undefined` where there is none. */
function at(value: unknown, ...keys: readonly (string | number)[]): unknown {
  return keys.reduce(
    (found: unknown, key) => Object.entries(Object(found)).find(([name]) => name === String(key))?.[1],
    value,
  )
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

interface Got {
  readonly status: number
  readonly etag: string | null
  readonly body: unknown
}
type Tap = { teardown(f: () => Promise<void>): void }

function mesosDns(view: NamesView): Route {
  const config = mesosDnsConfig(view.config, { Listener: '198.51.100.1' })
  return mesosDnsRoute({ view, version: '1.2', config, refreshSeconds: 60, enumeration: 'on' })
}

t.test('Mesos-DNS', async (t) => {
  const { view } = await fixtureStage()
  const get = await serve(t, mesosDns(view))
  const exact: readonly (readonly [string, unknown])[] = [
    ['/v1/version', { Service: 'Mesos-DNS', Version: '1.2', URL: 'https://github.com/mesosphere/mesos-dns' }],
    ['/v1/hosts/leader.mesos', [{ host: 'leader.mesos.', ip: '192.0.2.1' }]],
    ['/v1/hosts/LEADER.mesos.', [{ host: 'leader.mesos.', ip: '192.0.2.1' }]],
    [
      '/v1/hosts/web-e844k-s0.marathon.mesos',
      [
        { host: 'web-e844k-s0.marathon.mesos.', ip: '10.80.0.2' },
        { host: 'web-e844k-s0.marathon.mesos.', ip: 'fd00:80::2' },
      ],
    ],
    ['/v1/hosts/nope.mesos', [{ host: '', ip: '' }]],
    [
      '/v1/services/_http._liquor-store._tcp.marathon.mesos',
      [
        {
          service: '_http._liquor-store._tcp.marathon.mesos',
          host: 'liquor-store-7zffe-s0.marathon.mesos.',
          ip: '10.80.0.3',
          port: '80',
        },
      ],
    ],
    ['/v1/services/_nope._tcp.mesos', [{ service: '', host: '', ip: '', port: '' }]],
  ]
  for (const [path, body] of exact) t.same((await get(path)).body, body, path)
  t.match((await get('/v1/config')).body, { Domain: 'mesos', TTL: 5, Listener: '198.51.100.1', EnforceRFC952: false })
  t.equal((await get('/v1/hosts/leader.mesos/ports')).status, 501)

  const frameworks = list(at((await get('/v1/enumerate')).body, 'frameworks'))
  t.same(frameworks.map((framework) => at(framework, 'name')).sort(), ['Data.Jobs', 'marathon'])
  const marathon = frameworks.find((framework) => at(framework, 'name') === 'marathon')
  const car = list(at(marathon, 'tasks')).find((task) => at(task, 'id') === 'car.1')
  t.same(car, {
    name: 'car.store_v2',
    id: 'car.1',
    records: [
      { name: 'car-store-v2.marathon.mesos.', host: '10.80.1.3', rtype: 'A' },
      { name: 'car-store-v2-3x56i-s1.marathon.mesos.', host: '10.80.1.3', rtype: 'A' },
      { name: 'car-store-v2.marathon.slave.mesos.', host: '192.0.2.2', rtype: 'A' },
      { name: 'car-store-v2-3x56i-s1.marathon.slave.mesos.', host: '192.0.2.2', rtype: 'A' },
    ],
  })
  t.notOk(JSON.stringify(frameworks).includes('sick'), 'what is not served is not told')

  const axfr = (await get('/v1/axfr')).body
  const head = { TTL: 5, Serial: 7, RefreshSeconds: 60, Mname: 'ns1.mesos.', Rname: 'root.ns1.mesos.', Domain: 'mesos' }
  t.same({ ...Object(axfr), Records: {} }, { ...head, Records: {} })
  t.same(list(at(axfr, 'Records', 'As', 'master.mesos.')).toSorted(), ['192.0.2.1', '192.0.2.2'])
  t.same(at(axfr, 'Records', 'AAAAs', 'worker.data.jobs.mesos.'), ['fd00:80:0:2::9'])
  t.same(at(axfr, 'Records', 'SRVs', '_leader._tcp.mesos.'), ['leader.mesos.:5050'])
  const names = Object.keys({ ...Object(at(axfr, 'Records', 'As')), ...Object(at(axfr, 'Records', 'AAAAs')) })
  t.same(
    names.filter((name) => !name.endsWith('.mesos.')),
    [],
  )
})

t.test('dcos-net and weft', async (t) => {
  const { view, zones } = await fixtureStage()
  const stats = new Float64Array(makeStatsBuffer())
  statsObserver(stats).answered({ transport: 'udp', rcode: 3 })
  statsObserver(stats).dropped({ transport: 'tcp', reason: 'slow-client' })
  const counters = () => sumThreads([stats, new Float64Array(makeStatsBuffer())])
  const metrics = () => metricsText(counters(), { serial: zones.serial(), collisions: 0 })
  const dcosNet = dcosNetRoute({ view, version: '1.2', vips: () => vips, updatedMs: () => 1500, metrics })
  const get = await serve(t, firstRoute(dcosNet, weftDnsRoute({ view, counters })))
  const exact: readonly (readonly [string, unknown])[] = [
    ['/v1/version', { Service: 'dcos-dns', Version: '1.2' }],
    ['/v1/hosts/leader.mesos', [{ host: 'leader.mesos', ip: '192.0.2.1' }]],
    [
      '/v1/hosts/web.marathon.dclb.thisdcos.global',
      ['100.96.0.1', 'fd00:96::1'].map((ip) => ({ host: 'web.marathon.dclb.thisdcos.global', ip })),
    ],
    ['/v1/hosts/nope.mesos', []],
    [
      '/v1/services/_http._liquor-store._tcp.marathon.mesos',
      [
        {
          host: 'liquor-store-7zffe-s0.marathon.mesos',
          port: 80,
          service: '_http._liquor-store._tcp.marathon.mesos',
          ip: '10.80.0.3',
        },
      ],
    ],
    ['/v1/vips', vips],
  ]
  for (const [path, body] of exact) t.same((await get(path)).body, body, path)
  const nodes = (await get('/v1/nodes?force')).body
  t.same(at(nodes, 2), {
    private_ip: '2001:db8::3',
    public_ips: [],
    hostname: 'host-c',
    updated: '1970-01-01T00:00:01.500Z',
  })
  const records = list((await get('/v1/records')).body)
  t.ok(records.length > 600, 'all of a list that is sent in pieces')
  t.ok(records.some((record) => JSON.stringify(record) === '{"name":"leader.mesos","host":"192.0.2.1","rtype":"A"}'))
  t.ok(records.some((record) => at(record, 'host') === 'liquor-store-7zffe-s0.marathon.mesos:80'))
  const { etag } = await get('/v1/vips')
  t.match(etag, /^".{27}="$/)
  t.same(await get('/v1/vips', { 'if-none-match': `"other", ${etag}` }), { status: 304, etag, body: '' })
  t.equal((await get('/v1/vips', { 'if-none-match': '"other"' })).status, 200)

  const text = String((await get('/v1/metrics')).body)
  t.match(text, 'dns_answers_total{transport="udp",rcode="NXDOMAIN"} 1\n')
  t.match(text, 'dns_drops_total{transport="tcp",reason="slow-client"} 1\n')
  t.match(text, '\ndns_zone_serial 7\n')
  t.match((await get('/weft/v1/dns/stats')).body, {
    node: 'host-a',
    serial: 7,
    answers: [{ transport: 'udp', rcode: 'NXDOMAIN', count: 1 }],
    collisions: [],
  })
  const trace = async (name: string, type = 'A') => (await get(`/weft/v1/dns/trace?name=${name}&type=${type}`)).body
  t.match(await trace('web.marathon.mesos', 'AAAA'), {
    outcome: 'answered',
    zone: { apex: 'mesos.', state: 'ready', serial: 7 },
    sources: [{ name: 'web.marathon.mesos.', from: ['task web.1', 'task web.2', 'task web.3'] }],
  })
  t.match(await trace('web.marathon.dclb.thisdcos.global'), {
    renamedTo: 'web.marathon.l4lb.thisdcos.directory.',
    sources: [{ name: 'web.marathon.l4lb.thisdcos.directory.', from: ['vip web.marathon'] }],
  })
  t.match(await trace('sick.marathon.mesos'), {
    outcome: 'no answer',
    rcode: 'NXDOMAIN',
    hints: ['task sick.1 on host-a: TASK_RUNNING, unhealthy'],
  })
  t.match(await trace('example.com'), { outcome: 'forwarded' })
})

t.test('requests that mean nothing', async (t) => {
  const { view } = await fixtureStage()
  const get = await serve(t, mesosDns(view))
  const statuses: readonly (readonly [string, number])[] = [
    ['/', 404],
    ['/v2/version', 404],
    ['/v1/hosts/', 404],
    ['/v1/hosts', 404],
    ['/v1/hosts/a/b', 404],
    ['/v1/hosts/%ff', 400],
    [`/v1/hosts/${'a'.repeat(64)}.mesos`, 400],
    ['/v1/hosts/a..b', 400],
    ['/v1/hosts/%E6%97%A5', 400],
  ]
  for (const [path, status] of statuses) t.equal((await get(path)).status, status, path)
})
