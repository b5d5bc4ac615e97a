import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { parseNodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, emptySnapshot, type RunningTask } from '../../core/model/snapshot.ts'
import { formatVirtualServerKey, type VirtualServer } from '../../lb/dataplane.ts'
import { goneFlows } from '../../lb/flows.ts'
import { isReservedVip } from '../../core/model/vip-reserved.ts'
import { desiredServers } from '../../lb/vip/desired.ts'
import { makeVipIndex, type VipChange } from '../../lb/vip/vip-index.ts'
import {
  testChange,
  testNetwork,
  testNode,
  testSnapshot,
  testTask,
  type TestTask,
  testVip,
} from '../support/lb-snapshot.ts'

const self = parseNodeName('n1')
const networks = [testNetwork('dcos', 1024, '10.80.0.0/14', 'fd01:b::/64')]
const nodes = [testNode('n1', '192.0.2.1', '100.97.0.1', 'fd01:a::1'), testNode('n2', '192.0.2.2', '100.97.0.2')]
const vips = [testVip('web', '100.96.0.1', 'fd01:c::1'), testVip('mygroupmyapp', '100.96.0.2')]

const format = (servers: readonly VirtualServer[]) =>
  servers.map((server) => {
    const backends = server.backends.map(({ address, port, weight, local }) => {
      return `${address} ${port} w${weight}${local === true ? ' local' : ''}`
    })
    return `${formatVirtualServerKey(server)} → ${backends.join(', ')}`
  })

const web = (more: Partial<TestTask> = {}): RunningTask =>
  testTask('web', {
    node: 'n1',
    addresses: ['10.80.0.2', 'fd01:b::2'],
    port: 8080,
    labels: { VIP_0: '/web:80' },
    ...more,
  })

/** Facts of reference/vip-load-balancer.md. */
const cases: readonly {
  readonly name: string
  readonly tasks: readonly RunningTask[]
  readonly servers: readonly string[]
}[] = [
  { name: 'no label, no server', tasks: [web({ labels: { other: '/web:80' } })], servers: [] },
  {
    name: 'a named VIP has its addresses, each with backends of its family',
    tasks: [web()],
    servers: ['tcp 100.96.0.1:80 → 10.80.0.2 8080 w1 local', 'tcp [fd01:c::1]:80 → fd01:b::2 8080 w1 local'],
  },
  {
    name: 'several labels on one port, lower case too; an address VIP',
    tasks: [
      web({
        addresses: ['10.80.0.2'],
        labels: { vip_a: '/mygroup/myapp:80', VIP1: '198.18.0.1:5000', VIP_2: '[2001:db8::1]:5000' },
      }),
    ],
    servers: ['tcp 100.96.0.2:80 → 10.80.0.2 8080 w1 local', 'tcp 198.18.0.1:5000 → 10.80.0.2 8080 w1 local'],
  },
  {
    name: 'each protocol of the port',
    tasks: [web({ addresses: ['10.80.0.2'], protocols: ['tcp', 'udp'] })],
    servers: ['tcp 100.96.0.1:80 → 10.80.0.2 8080 w1 local', 'udp 100.96.0.1:80 → 10.80.0.2 8080 w1 local'],
  },
  {
    name: 'several tasks, also of another framework behind an address VIP, in order',
    tasks: [
      testTask('b', {
        node: 'n2',
        addresses: ['10.80.1.2'],
        port: 80,
        labels: { VIP: '198.18.0.1:80' },
        framework: 'other',
      }),
      testTask('a', { node: 'n2', addresses: ['10.80.1.1'], port: 80, labels: { VIP: '198.18.0.1:80' } }),
    ],
    servers: ['tcp 198.18.0.1:80 → 10.80.1.1 80 w1, 10.80.1.2 80 w1'],
  },
  {
    name: 'a name belongs to its framework',
    tasks: [web({ framework: 'other' })],
    servers: [],
  },
  ...(
    [
      [{ health: 'healthy' }, 'w1 local'],
      [{ health: 'unhealthy' }, 'w0'],
      [{ health: 'pending' }, 'w0'],
      [{ state: 'TASK_KILLING' }, 'w0'],
    ] as const
  ).map(([more, weight]) => ({
    name: `weight of ${JSON.stringify(more)}`,
    tasks: [web({ addresses: ['10.80.0.2'], ...more })],
    servers: [`tcp 100.96.0.1:80 → 10.80.0.2 8080 ${weight}`],
  })),
  {
    name: 'host network: the node and the host port',
    tasks: [web({ node: 'n2', addresses: [], port: 31000 })],
    servers: ['tcp 100.96.0.1:80 → 192.0.2.2 31000 w1'],
  },
  {
    name: 'scope host with a mapping: the container, which every node reaches',
    tasks: [
      web({
        node: 'n2',
        addresses: ['10.80.1.2'],
        port: 31000,
        labels: { VIP_0: '/web:80', 'network-scope': 'host' },
        portMappings: [{ hostPort: 31000, containerPort: 8080, protocol: 'tcp' }],
      }),
    ],
    servers: ['tcp 100.96.0.1:80 → 10.80.1.2 8080 w1'],
  },
  {
    name: 'scope host without one: the node',
    tasks: [web({ node: 'n2', port: 31000, labels: { VIP_0: '/web:80', 'network-scope': 'host' } })],
    servers: ['tcp 100.96.0.1:80 → 192.0.2.2 31000 w1'],
  },
  {
    name: 'an unknown node, a name without an address and malformed labels give nothing, and harm nothing',
    tasks: [
      web({
        labels: {
          VIP_0: '/web:0',
          VIP_1: 'web',
          VIP_2: '/missing:80',
          VIP_3: '10.80.0.2:80',
          VIP_4: '192.0.2.2:22',
          VIP_5: '/web:81',
        },
        addresses: ['10.80.0.2'],
      }),
      testTask('lost', { node: 'n9', port: 31000, labels: { VIP_0: '/web:80' } }),
    ],
    servers: ['tcp 100.96.0.1:81 → 10.80.0.2 8080 w1 local'],
  },
]
for (const { name, tasks, servers } of cases) {
  t.test(name, async (t) =>
    t.same(format(desiredServers(testSnapshot(1, { networks, nodes, vips, tasks }), self)), servers),
  )
}

t.test('addresses that must not be VIPs', async (t) => {
  const snapshot = testSnapshot(1, { networks, nodes })
  const reserved = [
    '198.51.100.1',
    'fd01:d::c633:6401',
    '0.0.0.0',
    '127.0.0.1',
    '169.254.1.1',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    'fe80::1',
    'ff02::1',
    '192.0.2.2',
    '100.97.0.1',
    'fd01:a::1',
    '10.81.2.3',
    'fd01:b::9',
  ]
  const free = [
    '1.1.1.1',
    '198.51.100.10',
    '10.79.255.255',
    '100.96.0.1',
    '223.255.255.254',
    '2001:db8::1',
    'fd01:c::1',
    '::2',
  ]
  t.same(
    reserved.filter((address) => !isReservedVip(parseIp(address), snapshot)),
    [],
  )
  t.same(
    free.filter((address) => isReservedVip(parseIp(address), snapshot)),
    [],
  )
})

t.test('flows of backends that are gone', async (t) => {
  const tasks = (...names: string[]) =>
    names.map((name, i) =>
      testTask(name, {
        node: 'n2',
        addresses: [`10.80.1.${name}`],
        port: 53,
        protocols: ['udp', 'tcp'],
        labels: { VIP: '/web:53' },
        health: i === 0 ? 'healthy' : 'unchecked',
      }),
    )
  const servers = (...names: string[]) =>
    desiredServers(testSnapshot(1, { networks, nodes, vips, tasks: tasks(...names) }), self)
  const before = new Map(servers('1', '2').map((server) => [formatVirtualServerKey(server), server]))
  const flows = (kind: 'server.ensure' | 'server.remove', all: readonly VirtualServer[]) =>
    goneFlows(
      before,
      all.map((server) => ({ kind, server })),
    ).map(({ server, backend }) => `${server.protocol} ${backend.address} ${backend.port}`)
  const both = (name: string) => [`tcp 10.80.1.${name} 53`, `udp 10.80.1.${name} 53`]
  const quiet = servers('1', '2').map((server) => {
    return { ...server, backends: server.backends.map((backend) => ({ ...backend, weight: 0 })) }
  })
  t.same(flows('server.ensure', servers('1', '2')), [])
  t.same(flows('server.ensure', servers('2', '3')).toSorted(), both('1'))
  t.same(flows('server.ensure', quiet), ['udp 10.80.1.1 53', 'udp 10.80.1.2 53'], 'weight 0: TCP stays')
  t.same(flows('server.remove', servers('1', '2')).toSorted(), [...both('1'), ...both('2')].toSorted())
})

/** Small numbers that look random, the same in each run. */
function makeRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return (state >> 8) % below
  }
}

const texts = ({ ensure, remove, routed, unrouted }: VipChange) =>
  [format(ensure), format(remove), routed, unrouted].map((list) => list.toSorted())

t.test('the index, by deltas, is what the whole snapshot says', async (t) => {
  const random = makeRandom(7)
  const index = makeVipIndex(self)
  let current: ClusterSnapshot = emptySnapshot
  const servers = new Map<string, VirtualServer>()
  const addresses = new Set<string>()
  const states = ['healthy', 'unhealthy', 'unchecked'] as const
  for (let version = 1; version <= 300; version++) {
    const tasks = new Map([...current.tasks])
    for (let i = random(3); i >= 0; i--) {
      const id = `t${random(12)}`
      const labels = { VIP_0: `/name${random(3)}:80`, VIP_1: `198.18.0.${random(2)}:80` }
      const task = testTask(id, {
        node: `n${1 + random(3)}`,
        addresses: random(4) === 0 ? [] : [`10.80.0.${random(9)}`],
        port: 80,
        labels,
        health: states[random(3)] ?? 'healthy',
      })
      if (random(4) === 0) tasks.delete(task.id)
      else tasks.set(task.id, task)
    }
    const named = [0, 1, 2]
      .filter(() => random(8) !== 0)
      .map((i) => testVip(`name${i}`, `100.96.${random(20) === 0 ? 1 : 0}.${i}`))
    const known = random(10) === 0 ? nodes.slice(0, 1 + random(2)) : [...current.nodes.values()]
    const next = testSnapshot(version, { networks, nodes: known, vips: named, tasks: [...tasks.values()] })
    const change = index.change(testChange(current, next))
    if (random(9) === 0)
      t.same(texts(index.change(testChange(current, next))), texts(change), 'planned twice, the same')
    for (const server of change.remove) t.ok(servers.delete(formatVirtualServerKey(server)), 'removes what is there')
    for (const server of change.ensure) servers.set(formatVirtualServerKey(server), server)
    for (const address of change.unrouted) t.ok(addresses.delete(address), 'unroutes what is routed')
    t.notOk(
      change.routed.some((address) => addresses.has(address)),
      'routes what is not',
    )
    for (const address of change.routed) addresses.add(address)
    const wanted = desiredServers(next, self)
    const all = [...wanted.map(({ address }) => address), ...named.flatMap((vip) => vip.addresses)]
    const keys = [...servers.keys()].toSorted()
    if (JSON.stringify(keys.map((key) => servers.get(key))) !== JSON.stringify(wanted))
      t.fail(`version ${version}: servers differ`)
    if ([...addresses].toSorted().join() !== [...new Set(all)].toSorted().join())
      t.fail(`version ${version}: addresses differ`)
    current = next
  }
  t.equal(index.all(current).servers.length, desiredServers(current, self).length)
})
