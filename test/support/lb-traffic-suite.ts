import { type Test } from 'tap'
import { type DataPlaneMode } from '../../lb/open.ts'
import { testTask } from './lb-snapshot.ts'
import { askServer, askServers, openConnection, startServer } from './lb-traffic.ts'
import { backend, empty, hostVip, makeWorld, pending, places, routerAddresses, servers, vip } from './lb-world.ts'

const kinds = ([4, 6] as const).flatMap((family) => (['tcp', 'udp'] as const).map((protocol) => ({ family, protocol })))
const unique = (values: readonly (string | undefined)[]) => [...new Set(values)].toSorted()

/** What nothing serves. `count`: the kernel sends one host few ICMP errors a second (icmp_ratelimit): over UDP, one try. */
const refused = kinds.flatMap(({ family, protocol }) =>
  (
    [
      ['no backend', empty[family], 80],
      ['no such port, though the node serves it', vip[family], 9090],
      ['no such port', vip[family], 81],
    ] as const
  ).map(([what, address, port]) => ({ what, protocol, address, port, count: protocol === 'tcp' ? 3 : 1 })),
)

/** {host, container, hairpin} x {TCP, UDP} x {IPv4, IPv6}: answered by all backends, the client's address seen; what nothing serves is refused. */
export async function trafficSuite(t: Test, dataPlane: DataPlaneMode): Promise<void> {
  const { host, program } = await makeWorld(t, { containers: 'all', dataPlane })
  for (const name of servers) await startServer(host(name), name, 8080)
  await startServer(host('node'), 'node', 9090) // a server of the node itself, on all addresses
  const hostPort = testTask('node', { node: 'n1', port: 9090, labels: { VIP_0: '/host:80' } })
  await program([backend('b1'), backend('b2'), backend('b3'), pending, hostPort])

  const targets = kinds.map(({ family, protocol }) => ({ protocol, address: vip[family], port: 80, count: 40 }))
  const sources = [
    { from: 'client', 4: places.client.ip4, 6: places.client.ip6 },
    { from: 'node', 4: routerAddresses.vtep4, 6: routerAddresses.vtep6 },
    { from: 'b1', 4: places.b1.ip4, 6: places.b1.ip6 },
  ] as const
  for (const source of sources) {
    const got = askServers(host(source.from), targets)
    for (const [i, { family, protocol }] of kinds.entries()) {
      const attempts = got[i] ?? []
      const what = `${protocol}${family} from ${source.from}`
      t.same(unique(attempts.map(({ server, error }) => server ?? error)), servers, `${what}: answered by all backends`)
      const byOthers = attempts.filter(({ server }) => server !== source.from)
      t.same(unique(byOthers.map(({ seen }) => seen)), [source[family]], `${what}: its own address is seen`)
    }
  }
  for (const from of ['client', 'node'] as const) {
    const [hostPortAnswers = [], ...got] = askServers(host(from), [
      { protocol: 'tcp', address: hostVip[4], port: 80 },
      ...refused,
    ])
    t.equal(hostPortAnswers[0]?.server, 'node', `host port from ${from}`)
    for (const [i, { what, protocol, address }] of refused.entries()) {
      const attempts = got[i] ?? []
      t.same(
        unique(attempts.map(({ error }) => error)),
        ['ECONNREFUSED'],
        `${protocol} ${address} from ${from}: ${what}`,
      )
      // The quickest: the machine may be busy.
      t.ok(Math.min(...attempts.map(({ elapsedMs }) => elapsedMs)) < 100, 'refused at once')
    }
  }
}

/** VIPs answer ping, and after a restart with the other setting they don't; connections go on. */
export async function pingSuite(t: Test, dataPlane: DataPlaneMode): Promise<void> {
  const { host, node, program, restart, audit } = await makeWorld(t, { containers: 'all', dataPlane })
  await startServer(host('b1'), 'b1', 8080)
  await program([backend('b1')])
  const isAnswered = (from: 'client' | 'node', address: string) => {
    try {
      host(from).run('ping', '-n', '-c', '1', '-W', '0.5', address)
      return true
    } catch {
      return false // exit status 1: no answer
    }
  }
  const asked = (['client', 'node'] as const).flatMap((from) => ([4, 6] as const).map((family) => ({ from, family })))
  const all = () => asked.map(({ from, family }) => isAnswered(from, vip[family]))
  t.same(all(), [true, true, true, true], 'answered')
  for (const [ping, expected] of [
    ['ignore', false],
    ['answer', true],
  ] as const) {
    restart(dataPlane, ping)
    t.ok((await audit()).length > 0, `a restart changes it to ${ping}`)
    t.same(
      all(),
      asked.map(() => expected),
    )
    t.ok(isAnswered('client', routerAddresses.vtep4), "the node's own addresses answer all the same")
    const [attempt] = askServer(host('client'), { protocol: 'tcp', address: vip[4], port: 80 })
    t.equal(attempt?.server, 'b1', 'so does the service')
  }
  t.match(node.run('nft', 'list', 'table', 'inet', 'weft'), /lb-address4/)
}

/** Backends drain, leave, all go, and come back. */
export async function drainSuite(t: Test, dataPlane: DataPlaneMode): Promise<void> {
  const { host, program, audit } = await makeWorld(t, { containers: 'all', dataPlane })
  for (const name of servers) await startServer(host(name), name, 8080)
  const target = { protocol: 'tcp', address: vip[4], port: 80, count: 20 } as const
  const answering = () => [...new Set(askServer(host('client'), target).map(({ server, error }) => server ?? error))]

  await program([backend('b1')])
  const connection = await openConnection(host('client'), vip[4], 80)
  t.equal(connection.first.server, 'b1')
  await program([backend('b1', { state: 'TASK_KILLING' }), backend('b2')])
  t.same(answering(), ['b2'], 'new connections go elsewhere from the first')
  t.equal((await connection.ask()).server, 'b1', 'weight 0: the established one stays')
  await program([backend('b2')])
  t.equal((await connection.ask()).error, 'ECONNRESET', 'removed: it ends at once, as its container is gone')
  t.same(answering(), ['b2'])
  await program([])
  t.same(answering(), ['ECONNREFUSED'], 'all gone: refused')
  await program([backend('b3')])
  t.same(answering(), ['b3'], 'and back')
  t.same(await audit(), [], 'an audit finds nothing to do')
}
