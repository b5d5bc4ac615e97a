import tap, { type Test } from 'tap'
import { parseNodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, emptySnapshot, type RunningTask } from '../../core/model/snapshot.ts'
import { openNftablesPlane } from '../../lb/nftables/plane.ts'
import { openLbStage } from '../../lb/stage.ts'
import { openIsolationStage } from '../../networking/isolation/stage.ts'
import { openRouteSocket } from '../../networking/netlink/route-socket.ts'
import { openLibnftables } from '../../networking/nft/libnftables.ts'
import { canMakeHosts, makeHost, type TestHost } from '../support/hosts.ts'
import { nftNamespace } from '../support/nft-namespace.ts'
import {
  testChange,
  testNetwork,
  testNode,
  testSnapshot,
  testTask,
  type TestTask,
  testVip,
} from '../support/lb-snapshot.ts'
import {
  askServer,
  makeRouterNode,
  openConnection,
  plugContainer,
  routerAddresses,
  startServer,
} from '../support/lb-world.ts'

const { signal } = new AbortController()
const vip = { 4: '100.96.0.1', 6: 'fd01:c::1' } as const
const empty = { 4: '100.96.0.2', 6: 'fd01:c::2' } as const
const places = {
  b1: { device: 'wfb1', ip4: '10.80.0.11', ip6: 'fd01:b:0:1::11' },
  b2: { device: 'wfb2', ip4: '10.80.0.12', ip6: 'fd01:b:0:1::12' },
  b3: { device: 'wfb3', ip4: '10.80.0.13', ip6: 'fd01:b:0:1::13' },
  client: { device: 'wfc', ip4: '10.80.0.20', ip6: 'fd01:b:0:1::20' },
  other: { device: 'wfo', ip4: '10.90.0.20', ip6: 'fd01:b:0:2::20' },
} as const
type PlaceName = keyof typeof places
const servers = ['b1', 'b2', 'b3'] as const

const networks = [
  testNetwork('dcos', 1024, '10.80.0.0/14', 'fd01:b:0:1::/64'),
  testNetwork('other', 1025, '10.90.0.0/16', 'fd01:b:0:2::/64'),
]
const nodes = [testNode('n1', routerAddresses.underlay, routerAddresses.vtep4, routerAddresses.vtep6)]
const vips = [testVip('web', ...Object.values(vip)), testVip('none', ...Object.values(empty))]

function backend(name: (typeof servers)[number], more: Partial<TestTask> = {}): RunningTask {
  const { ip4, ip6 } = places[name]
  const labels = { VIP_0: '/web:80' }
  return testTask(name, { node: 'n1', addresses: [ip4, ip6], port: 8080, protocols: ['tcp', 'udp'], labels, ...more })
}

const pending = testTask('none', {
  node: 'n1',
  addresses: [places.b1.ip4, places.b1.ip6],
  port: 8080,
  protocols: ['tcp', 'udp'],
  labels: { VIP_0: '/none:80' },
  health: 'pending',
})

async function makeWorld(t: Test) {
  const node = makeHost('node')
  t.teardown(node.remove)
  makeRouterNode(node)
  const hosts = new Map<string, TestHost>([['node', node]])
  for (const [name, place] of Object.entries(places)) {
    const host = makeHost(name)
    t.teardown(host.remove)
    plugContainer(node, host, place)
    hosts.set(name, host)
  }
  const nft = await openLibnftables({ namespace: nftNamespace(node) })
  const routes = openRouteSocket({ netns: node.path })
  t.teardown(() => {
    routes.close()
    nft.close()
  })
  const stages = [
    openIsolationStage({ nft, table: 'weft' }),
    openLbStage({ self: parseNodeName('n1'), plane: openNftablesPlane({ nft, table: 'weft' }), routes }),
  ]
  let current: ClusterSnapshot = emptySnapshot
  const program = async (tasks: readonly RunningTask[]) => {
    const next = testSnapshot(current.version + 1, { networks, nodes, tasks, vips })
    const steps = stages.map((stage) => stage.plan(testChange(current, next)))
    current = next
    for (const step of steps) await step.add({ signal })
    for (const step of steps.toReversed()) await step.remove({ signal })
  }
  const audit = async () => (await Promise.all(stages.map((stage) => stage.audit(current, { signal })))).flat()
  const host = (name: PlaceName | 'node') => hosts.get(name) ?? node
  return { node, host, program, audit }
}

tap.test('traffic through VIPs', { skip: canMakeHosts }, async (t) => {
  const { node, host, program } = await makeWorld(t)
  for (const name of servers) await startServer(host(name), name, 8080)
  await startServer(node, 'node', 9090)
  await program([backend('b1'), backend('b2'), backend('b3'), pending])

  for (const family of [4, 6] as const) {
    const place = (name: PlaceName) => (family === 4 ? places[name].ip4 : places[name].ip6)
    const sources: readonly [PlaceName | 'node', string][] = [
      ['client', place('client')],
      ['node', family === 4 ? routerAddresses.vtep4 : routerAddresses.vtep6],
    ]
    for (const protocol of ['tcp', 'udp'] as const) {
      const target = { protocol, address: vip[family], port: 80 }
      for (const [from, source] of sources) {
        const got = askServer(host(from), target, 40)
        t.same(
          got.filter(({ error }) => error !== undefined),
          [],
          `${protocol}${family} from ${from}: all answered`,
        )
        t.same([...new Set(got.map(({ server }) => server))].toSorted(), servers, 'spread over all backends')
        t.same([...new Set(got.map(({ seen }) => seen))], [source], "the client's own address is seen")
      }
      const hairpin = askServer(host('b1'), target, 40)
      t.same([...new Set(hairpin.map(({ server }) => server))].toSorted(), servers, `${protocol}${family} hairpin`)
      const seen = hairpin.filter(({ server }) => server !== 'b1').map((one) => one.seen)
      t.same([...new Set(seen)], [place('b1')], 'only a connection to itself is masqueraded')

      for (const from of ['client', 'node'] as const) {
        for (const [what, address, port] of [
          ['no backend', empty[family], 80],
          ['no such port', vip[family], 9090],
          ['a name without tasks', vip[family], 81],
        ] as const) {
          const [refused] = askServer(host(from), { protocol, address, port })
          t.equal(refused?.error, 'ECONNREFUSED', `${protocol}${family} from ${from}: ${what} is refused`)
          t.ok((refused?.elapsedMs ?? 1000) < 100, `at once: ${refused?.elapsedMs} ms`)
        }
      }
    }
  }
})

tap.test('backends come and go', { skip: canMakeHosts }, async (t) => {
  const { host, program, audit } = await makeWorld(t)
  for (const name of servers) await startServer(host(name), name, 8080)
  const target = { protocol: 'tcp', address: vip[4], port: 80 } as const
  const answering = () => [
    ...new Set(askServer(host('client'), target, 20).map(({ server, error }) => server ?? error)),
  ]

  await program([backend('b1')])
  const connection = await openConnection(host('client'), vip[4], 80)
  t.equal(connection.first.server, 'b1')
  await program([backend('b1', { state: 'TASK_KILLING' }), backend('b2')])
  t.same(answering(), ['b2'], 'new connections go elsewhere from the first')
  t.equal((await connection.ask()).server, 'b1', 'weight 0: the established one stays')
  await program([backend('b2')])
  t.equal((await connection.ask()).server, 'b1', 'removed: the established one stays until it is closed')
  t.same(answering(), ['b2'])
  await program([])
  t.same(answering(), ['ECONNREFUSED'], 'all gone: refused')
  await program([backend('b3')])
  t.same(answering(), ['b3'], 'and back')
  t.same(await audit(), [], 'an audit finds nothing to do')
})

tap.test('isolation of networks', { skip: canMakeHosts }, async (t) => {
  const { node, host, program } = await makeWorld(t)
  await program([backend('b1'), backend('b2')])
  for (const name of ['b1', 'other', 'node'] as const) await startServer(host(name), name, 8080)
  const cases: readonly [PlaceName | 'node', string, string, string][] = [
    ['client', places.b1.ip4, 'b1', 'same network'],
    ['client', places.b1.ip6, 'b1', 'same network'],
    ['client', places.other.ip4, 'TIMEOUT', 'other network'],
    ['client', places.other.ip6, 'TIMEOUT', 'other network'],
    ['other', places.b1.ip4, 'TIMEOUT', 'the other way round'],
    ['node', places.b1.ip4, 'b1', 'node to container'],
    ['node', places.other.ip6, 'other', 'node to container'],
    ['other', routerAddresses.underlay, 'node', 'container to node'],
    ['other', routerAddresses.vtep6, 'node', 'container to node'],
    ['other', vip[4], 'TIMEOUT', 'a VIP of the other network, judged after its translation'],
  ]
  for (const [from, address, expected, what] of cases) {
    const port = address === vip[4] ? 80 : 8080
    const [got] = askServer(host(from), { protocol: 'tcp', address, port })
    t.equal(got?.server ?? got?.error, expected, `${from} → ${address}: ${what}`)
  }
  const counted = node.run('nft', 'list', 'chain', 'inet', 'weft', 'iso-forward')
  t.match(counted, /saddr @iso-network4 ip daddr @iso-network4 counter packets [1-9]/, 'drops are counted')
})
