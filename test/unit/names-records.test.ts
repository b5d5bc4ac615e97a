import t from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { parseIp } from '../../core/base/ip.ts'
import { type DiscoveryInfo } from '../../core/model/task.ts'
import { nameKey, parseName } from '../../discovery/dns/name.ts'
import { formatType } from '../../discovery/dns/presentation.ts'
import { formatRdata } from '../../discovery/dns/rdata.ts'
import { emptyCluster, type NamedCluster, type NamedTask } from '../../discovery/records/cluster.ts'
import { findCollisions } from '../../discovery/records/collisions.ts'
import { type IpSource, type NamesConfig, namesConfig } from '../../discovery/records/config.ts'
import { parseNamesConfig } from '../../discovery/records/parse-config.ts'
import { openNamesStage } from '../../discovery/stage.ts'
import { referenceRecords } from '../support/names-reference.ts'

const ips = (...texts: readonly string[]) => texts.map((text) => parseIp(text))
const { signal } = new AbortController()

function task(id: string, rest: Partial<NamedTask> = {}): readonly [string, NamedTask] {
  const base = { framework: 'marathon', node: 'host-a', agentId: 'm-S0', networks: [], portMappings: [], ports: [] }
  return [id, { id, name: id, ...base, state: 'TASK_RUNNING', health: 'unchecked', ...rest }]
}

function discovery(name: string, ports: DiscoveryInfo['ports']): Partial<NamedTask> {
  return { discovery: { name, visibility: 'CLUSTER', ports } }
}

const labels = {}
const both = { docker: ips('172.17.0.2'), mesos: ips('172.18.0.2', 'fd17::2') }

const tasks = [
  task('plain.1', { name: 'plain', networks: [{ name: 'dcos', addresses: ips('10.80.0.2', 'fd00:80::2') }] }),
  task('two.1', {
    networks: [
      { name: 'dcos', addresses: ips('10.80.0.3') },
      { name: 'dcos6', addresses: ips('fd00:81::3', 'fd00:81::4') },
    ],
    ports: [{ begin: 31_000, end: 31_002 }],
  }),
  task('labelled.1', { labelled: both }),
  task('docker.1', { labelled: { docker: ips('172.17.0.9'), mesos: [] } }),
  task('all.1', { labelled: both, networks: [{ name: 'dcos', addresses: ips('10.80.0.4') }] }),
  task('liquor.1', {
    framework: 'Two.Dots.Inc',
    node: 'host-c',
    agentId: 'm-S12',
    networks: [{ name: 'dcos', addresses: ips('10.80.0.5', 'fd00:80::5') }],
    portMappings: [{ hostPort: 31_005, containerPort: 80, protocol: 'tcp' }],
    ports: [{ begin: 31_005, end: 31_005 }],
    ...discovery('liquor.store', [
      { number: 80, name: 'http', protocols: ['tcp'], labels: { VIP_0: '/web:80' } },
      { number: 53, name: 'dns.query', protocols: [], labels },
      { number: 9, protocols: ['udp'], labels },
      { number: 10, protocols: ['tcp', 'udp'], labels },
    ]),
  }),
  task('long.1', { name: `${'l'.repeat(62)}xy`, framework: 'other.dots', labelled: both }),
  task('digits.1', { name: '4_ever.Young' }),
  task('uni.1', { name: 'Grüße_Ω', networks: [{ name: 'dcos', addresses: ips('10.80.0.6') }] }),
  task('none.1', { name: '日本' }),
  task('sick.1', { health: 'unhealthy' }),
  task('pending.1', { health: 'pending' }),
  task('dying.1', { state: 'TASK_KILLING' }),
  task('lost.1', { node: 'host-x' }),
]

const cluster: NamedCluster = {
  version: 3,
  networks: new Map([['dcos', { subnets: [parseCidr('10.80.0.0/14'), parseCidr('fd00:80::/48')] }]]),
  nodes: new Map([
    ['host-a', { name: 'host-a', underlay: parseIp('192.0.2.1'), agentId: 'm-S0', master: 'leader' }],
    ['host-b', { name: 'host-b', underlay: parseIp('192.0.2.2'), master: 'standby' }],
    ['host-c', { name: 'host-c', underlay: parseIp('2001:db8::3'), agentId: 'm-S12' }],
  ]),
  tasks: new Map(tasks),
  vips: new Map([
    ['web.Two.Dots.Inc', { name: 'web', framework: 'Two.Dots.Inc', addresses: ips('100.96.0.1', 'fd00:96::1') }],
  ]),
}

const orders: readonly (readonly IpSource[])[] = [
  ['netinfo', 'mesos', 'host'],
  ['host', 'netinfo', 'mesos'],
  ['docker', 'mesos', 'netinfo', 'host'],
  ['mesos', 'docker', 'host'],
  ['netinfo'],
]

async function lines(config: Partial<NamesConfig>, of = cluster): Promise<readonly string[]> {
  const stage = openNamesStage({ self: 'host-a', config })
  await stage.audit(of, { signal })
  const found = [...stage.zones.owners()].flatMap(([owner, rrsets]) =>
    rrsets.flatMap(({ code, data }) => data.map((datum) => `${owner} ${formatType(code)} ${formatRdata(datum)}`)),
  )
  return found.sort()
}

t.test('the exact set of records, in both modes and five orders of sources', async (t) => {
  const rules = {
    rfc1123: { mostOctets: 63, notFirst: '-' },
    rfc952: { mostOctets: 24, notFirst: '-0123456789' },
  } as const
  for (const [mode, rule] of Object.entries(rules)) {
    for (const ipSources of orders) {
      // As DNS compares them: discovery names come as they were written.
      const expected = referenceRecords(cluster, { self: 'host-a', sources: ipSources, ...rule }).map(lowerOwner)
      t.ok(expected.length > 130, `${expected.length} records`)
      const labels = mode === 'rfc952' ? 'rfc952' : 'rfc1123'
      t.same(await lines({ labels, ipSources }), [...new Set(expected)].sort(), `${mode} ${ipSources.join(',')}`)
    }
  }
})

function lowerOwner(line: string): string {
  const space = line.indexOf(' ')
  return line.slice(0, space).toLowerCase() + line.slice(space)
}

t.test('some of it, by hand', async (t) => {
  const all = await lines({})
  const has = [
    'two-1.marathon.dcos6.containerip.dcos.thisdcos.directory. AAAA fd00:81::4',
    'two-1.marathon.mesos. AAAA fd00:81::3',
    'labelled-1.marathon.mesos. AAAA fd17::2',
    'docker-1.marathon.mesos. A 192.0.2.1',
    '4-ever-young.marathon.mesos. A 192.0.2.1',
    '_dns-query._liquor-store._udp.two.dots.inc.mesos. SRV 0 1 53 liquor-store-7zffe-s12.two.dots.inc.mesos.',
    'liquor-store.two.dots.inc.autoip.dcos.thisdcos.directory. AAAA 2001:db8::3',
    'web.two.dots.inc.l4lb.thisdcos.directory. AAAA fd00:96::1',
    'zk-5.zk. A 192.0.2.1',
  ]
  for (const line of has) t.ok(all.includes(line), line)
  t.ok((await lines({ labels: 'rfc952' })).includes('ever-young.marathon.mesos. A 192.0.2.1'))
  t.ok((await lines({ ipSources: ['docker'] })).includes('docker-1.marathon.mesos. A 172.17.0.9'))
  t.notOk((await lines({ ipSources: ['docker'] })).some((line) => line.startsWith('plain.marathon.mesos. A')))
})

t.test('audiences and health', async (t) => {
  const of = (visibility: DiscoveryInfo['visibility']) =>
    task(visibility, { discovery: { name: visibility.toLowerCase(), visibility, ports: [] } })
  const some = { ...cluster, tasks: new Map([of('FRAMEWORK'), of('CLUSTER'), of('EXTERNAL'), task('plain')]) }
  const cases: readonly (readonly [NamesConfig['audience'], readonly string[]])[] = [
    ['framework', ['cluster', 'external', 'framework', 'plain']],
    ['cluster', ['cluster', 'external', 'plain']],
    ['external', ['external']],
  ]
  for (const [audience, names] of cases) {
    const served = (await lines({ audience }, some)).flatMap(
      (line) => /^(\w+)\.marathon\.mesos\. A /.exec(line)?.[1] ?? [],
    )
    t.same(served, names, audience)
  }
  const served = await lines({ unhealthy: 'served' })
  t.same(
    ['sick-1', 'pending-1', 'dying-1'].map((name) => served.some((line) => line.startsWith(`${name}.marathon.mesos.`))),
    [true, true, false],
  )
})

t.test('collisions', async (t) => {
  const long = (end: string) => task(end, { name: `${'l'.repeat(63)}${end}` })
  const some: NamedCluster = {
    ...emptyCluster,
    tasks: new Map([
      long('a'),
      long('b'),
      task('x.1', { name: 'a.b' }),
      task('x.2', { name: 'a_b' }),
      task('x.3', { name: 'c' }),
      task('x.4', { name: 'c' }),
    ]),
    vips: new Map([
      ['1', { name: 'web', framework: 'm', addresses: [] }],
      ['2', { name: 'web', framework: 'm', addresses: [] }],
    ]),
  }
  t.same(findCollisions(some, namesConfig()), [
    { name: 'a-b.marathon.mesos.', sources: ['a.b of marathon', 'a_b of marathon'] },
    {
      name: `${'l'.repeat(63)}.marathon.mesos.`,
      sources: [`${'l'.repeat(63)}a of marathon`, `${'l'.repeat(63)}b of marathon`],
    },
  ])
  const warned: unknown[] = []
  const none = () => undefined
  const log = { error: none, warn: (fields: unknown) => warned.push(fields), info: none, debug: none, child: () => log }
  const stage = openNamesStage({ self: 'host-a', log })
  for (const version of [1, 2]) await stage.audit({ ...some, version }, { signal })
  t.equal(warned.length, 1, 'told once')
  t.ok(stage.zones.exists(nameKey(parseName('ns1.mesos'))))
})

t.test('configuration', async (t) => {
  const zones = { 'component.thisdcos.directory': [{ type: 'cname', name: 'registry', value: 'leader.mesos' }] }
  const parsed = parseNamesConfig(
    JSON.stringify({ domain: 'Corp', ipSources: ['host'], zones, transfersTo: ['10.0.0.0/8'] }),
  )
  t.same(parsed, {
    domain: 'corp.',
    ipSources: ['host'],
    aliasZones: [
      {
        apex: 'component.thisdcos.directory.',
        aliases: [{ owner: 'registry.component.thisdcos.directory.', target: 'leader.mesos.' }],
      },
    ],
    transfersTo: ['10.0.0.0/8'],
  })
  const wrong = [
    '',
    '[]',
    '{"x":1}',
    '{"ttlSeconds":-1}',
    '{"labels":"long"}',
    '{"ipSources":["a"]}',
    '{"ipSources":"host"}',
  ]
  const more = [
    '{"clusterKey":"l"}',
    '{"zones":{"a":[{"type":"a"}]}}',
    '{"transfersTo":["10.0.0.1/8"]}',
    '{"domain":"a..b"}',
  ]
  for (const json of [...wrong, ...more]) t.throws(() => parseNamesConfig(json), { code: 'ERR_NAMES_CONFIG' }, json)
})
