import t from 'tap'
import { parseAgentId, parseOfferId, parseTaskId } from '../../core/model/ids.ts'
import { noResources } from '../../core/model/resources.ts'
import { fulfils, type Place } from '../../core/scheduling/constraints.ts'
import { parseAppId } from '../../core/services/ids.ts'
import { type Instance } from '../../core/services/instance.ts'
import { type OfferPool } from '../../core/scheduling/offers.ts'
import { matchOffer } from '../../core/services/match.ts'
import { placeDemands } from '../../core/services/place.ts'
import { taskInfoOf } from '../../core/services/task.ts'
import { instance, record } from '../support/services-instances.ts'

function pool(name: string, more: Partial<OfferPool['resources']> = {}, attributes = {}): OfferPool {
  const resources = { cpuMillis: 4_000, memMb: 4_096, diskMb: 1_000, ports: [{ begin: 31_000, end: 31_009 }], ...more }
  return {
    agentId: parseAgentId(name),
    role: '*',
    place: { hostname: name, attributes },
    offerIds: [parseOfferId(name)],
    resources,
  }
}

/** A public agent: all that it has is reserved. */
function reservedFor(role: string): OfferPool {
  const { resources, ...rest } = pool('a')
  const reserved = [{ role, kind: 'static', principal: '', labels: {}, resources, volumes: [] } as const]
  return { ...rest, resources: noResources, reserved }
}

const matches: readonly (readonly [string, object, OfferPool, string])[] = [
  ['fits', {}, pool('a'), 'match'],
  ['a foreign role', {}, reservedFor('slave_public'), 'UnfulfilledRole'],
  ['its own role', { acceptedResourceRoles: ['slave_public'] }, reservedFor('slave_public'), 'match'],
  ['both roles', { acceptedResourceRoles: ['*', 'slave_public'] }, reservedFor('slave_public'), 'match'],
  ['its own role only', { acceptedResourceRoles: ['slave_public'] }, pool('a'), 'UnfulfilledRole'],
  ['a constraint', { constraints: [['@hostname', 'IS', 'b']] }, pool('a'), 'UnfulfilledConstraint'],
  ['before cpus', { cpus: 9, constraints: [['rack', 'IS', 'b']] }, pool('a'), 'UnfulfilledConstraint'],
  ['cpus', { cpus: 4.001 }, pool('a'), 'InsufficientCpus'],
  ['before memory', { cpus: 5, mem: 9_999 }, pool('a'), 'InsufficientCpus'],
  ['exactly all cpus', { cpus: 4 }, pool('a'), 'match'],
  ['memory', { mem: 4_096.5 }, pool('a'), 'InsufficientMemory'],
  ['disk', { disk: 1_001 }, pool('a'), 'InsufficientDisk'],
  ['no ports left', {}, pool('a', { ports: [] }), 'InsufficientPorts'],
  ['no ports wanted', { portDefinitions: [] }, pool('a', { ports: [] }), 'match'],
  ['a certain port', { requirePorts: true, portDefinitions: [{ port: 31_005 }] }, pool('a'), 'match'],
  [
    'a certain port that is taken',
    { requirePorts: true, portDefinitions: [{ port: 80 }] },
    pool('a'),
    'InsufficientPorts',
  ],
]

t.test('an app and an offer', async (t) => {
  for (const [name, fields, offer, expected] of matches) {
    const result = matchOffer(record(fields).definition, offer, { running: [], seed: 3 })
    t.equal(result.kind === 'match' ? 'match' : result.reason, expected, name)
  }
})

t.test('constraints', async (t) => {
  const at = (rack: string): Place => ({ hostname: `h-${rack}`, attributes: { rack, zone: rack, region: `r-${rack}` } })
  const table: readonly (readonly [readonly string[], string, readonly string[], boolean])[] = [
    [['rack', 'UNIQUE'], 'a', ['b'], true],
    [['rack', 'UNIQUE'], 'a', ['a'], false],
    [['rack', 'CLUSTER'], 'a', [], true],
    [['rack', 'CLUSTER'], 'a', ['b'], false],
    [['rack', 'CLUSTER', 'b'], 'a', [], false],
    [['rack', 'MAX_PER', '2'], 'a', ['a'], true],
    [['rack', 'MAX_PER', '2'], 'a', ['a', 'a'], false],
    [['rack', 'GROUP_BY'], 'a', ['a', 'b'], true],
    [['rack', 'GROUP_BY'], 'a', ['a', 'a', 'b'], false],
    [['rack', 'GROUP_BY', '3'], 'a', ['a', 'b'], false],
    [['rack', 'GROUP_BY', '3'], 'c', ['a', 'b'], true],
    [['@hostname', 'IS', 'h-a'], 'a', [], true],
    [['shelf', 'UNIQUE'], 'a', [], false],
    [['rack', 'LIKE', '[a-c]'], 'a', [], true],
    [['rack', 'LIKE', '[a-c]'], 'ab', [], false],
    [['@hostname', 'LIKE', 'h-.*'], 'a', [], true],
    [['rack', 'UNLIKE', 'a|b'], 'a', [], false],
    [['rack', 'UNLIKE', 'a|b'], 'ab', [], true],
    [['shelf', 'UNLIKE', 'x'], 'a', [], true],
    [['shelf', 'LIKE', '.*'], 'a', [], false],
    [['@zone', 'MAX_PER', '1'], 'a', ['a'], false],
    [['@region', 'IS', 'r-a'], 'a', [], true],
    [['@region', 'CLUSTER'], 'b', ['a'], false],
  ]
  for (const [constraint, here, running, expected] of table) {
    t.equal(
      fulfils(constraint, at(here), running.map(at)),
      expected,
      `${constraint.join(' ')} at ${here} beside ${running}`,
    )
  }
})

t.test('instances spread', async (t) => {
  const placed = (count: number, instances: readonly Instance[], pools: readonly OfferPool[], fields = {}) => {
    const placing = placeDemands([{ record: record(fields), count, instances }], pools, 0)
    const names = placing.placements
      .map((placement) => placement.pool.agentId)
      .toSorted()
      .join(' ')
    return { names, reasons: Object.fromEntries(placing.rejections.get(parseAppId('/shop/web')) ?? []) }
  }
  const three = [pool('S0'), pool('S1'), pool('S2')]
  t.match(placed(3, [], three), { names: 'S0 S1 S2', reasons: {} })
  t.match(placed(2, [instance('run-new', 0)], three), { names: 'S1 S2' }, 'where it is not yet')
  t.match(placed(1, [], [pool('S0', { cpuMillis: 2_000 }), pool('S1')]), { names: 'S1' }, 'where most is free')
  const small = placed(5, [], [pool('S0', { cpuMillis: 1_500 }), pool('S1', { memMb: 100 })])
  t.same(small, { names: 'S0', reasons: { S0: 'InsufficientCpus', S1: 'InsufficientMemory' } })
  const racks = [pool('S0', {}, { rack: 'a' }), pool('S1', {}, { rack: 'a' }), pool('S2', {}, { rack: 'b' })]
  t.match(placed(4, [], racks, { constraints: [['rack', 'GROUP_BY']] }), { names: 'S0 S1 S2 S2' })
  const ports = placeDemands(
    [{ record: record({ instances: 9 }), count: 9, instances: [] }],
    [pool('S0', { cpuMillis: 99_000 })],
    8,
  )
  t.equal(new Set(ports.placements.flatMap(({ hostPorts }) => hostPorts)).size, 9, 'each has a port of its own')
})

t.test('the task of an instance', async (t) => {
  const portMappings = [
    { containerPort: 80, name: 'http', labels: { VIP_0: '/web:80' }, networkNames: ['dcos'] },
    { containerPort: 0, hostPort: 0, protocol: 'udp,tcp', name: 'in-out', networkNames: ['lab'] },
  ]
  const app = record({
    networks: [{ name: 'dcos' }, { name: 'lab' }],
    container: { portMappings },
    healthChecks: [{ protocol: 'MESOS_HTTPS', portIndex: 0 }],
    env: { PORT: 'mine' },
    labels: { 'a-b': 'c' },
    cpus: 0.1,
  })
  const resources = { cpuMillis: 100, memMb: 128, diskMb: 0, ports: [{ begin: 31_001, end: 31_001 }] }
  const task = taskInfoOf(
    { record: app, pool: pool('a'), resources, hostPorts: [undefined, 31_001] },
    parseTaskId('x.1'),
  )
  t.match(task, {
    name: 'web.shop',
    command: {
      shell: true,
      value: 'x',
      env: {
        HOST: 'a',
        PORT: 'mine',
        PORT0: '80',
        PORT1: '31001',
        PORTS: '80,31001',
        PORT_80: '80',
        PORT_HTTP: '80',
        PORT_IN_OUT: '31001',
        MARATHON_APP_ID: '/shop/web',
        MARATHON_APP_LABEL_A_B: 'c',
        MARATHON_APP_RESOURCE_CPUS: '0.1',
        MESOS_TASK_ID: 'x.1',
      },
    },
    healthCheck: { probe: { kind: 'http', scheme: 'https', path: '/', port: 80 }, gracePeriodMs: 300_000 },
    killGraceMs: 3_000,
  })
  t.same(
    task.networks.map(({ name, portMappings }) => [name, portMappings]),
    [
      ['dcos', []],
      [
        'lab',
        [
          { hostPort: 31_001, containerPort: 31_001, protocol: 'tcp' },
          { hostPort: 31_001, containerPort: 31_001, protocol: 'udp' },
        ],
      ],
    ],
  )
  t.same(task.discovery?.ports, [
    {
      number: 80,
      name: 'http',
      protocols: ['tcp'],
      labels: { VIP_0: '/web:80', 'network-scope': 'container', 'network-name': 'dcos' },
    },
    {
      number: 31_001,
      name: 'in-out',
      protocols: ['tcp', 'udp'],
      labels: { 'network-scope': 'host', 'network-name': 'lab' },
    },
  ])
  const argv = taskInfoOf(
    { record: record({ cmd: undefined, args: ['/bin/echo', 'hi'] }), pool: pool('a'), resources, hostPorts: [31_001] },
    parseTaskId('x.2'),
  )
  t.match(argv, { command: { shell: false, value: '/bin/echo', arguments: ['/bin/echo', 'hi'] }, networks: [] })
  t.match(argv.discovery?.ports, [{ number: 31_001, name: 'default', labels: { 'network-scope': 'host' } }])
})
