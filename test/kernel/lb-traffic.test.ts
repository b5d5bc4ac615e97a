import tap, { type Test } from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { testTask } from '../support/lb-snapshot.ts'
import { askServer, openConnection, startServer } from '../support/lb-traffic.ts'
import {
  backend,
  empty,
  hostVip,
  makeWorld,
  pending,
  type PlaceName,
  places,
  routerAddresses,
  servers,
  vip,
  type World,
} from '../support/lb-world.ts'

/** What nothing serves is refused, at once. */
async function refusals(
  t: Test,
  host: World['host'],
  { protocol, family }: { readonly protocol: 'tcp' | 'udp'; readonly family: 4 | 6 },
): Promise<void> {
  for (const from of ['client', 'node'] as const) {
    for (const [what, address, port] of [
      ['no backend', empty[family], 80],
      ['no such port, though the node serves it', vip[family], 9090],
      ['no such port', vip[family], 81],
    ] as const) {
      // The kernel sends one host few ICMP errors a second (icmp_ratelimit), so one try must do over UDP.
      const refused = askServer(host(from), { protocol, address, port }, protocol === 'tcp' ? 3 : 1)
      const codes = [...new Set(refused.map(({ error }) => error))]
      t.same(codes, ['ECONNREFUSED'], `${protocol}${family} from ${from}: ${what} is refused`)
      // The quickest: the machine may be busy.
      t.ok(Math.min(...refused.map(({ elapsedMs }) => elapsedMs)) < 100, 'at once')
    }
  }
}

tap.test('traffic through VIPs', { skip: canMakeHosts }, async (t) => {
  const { host, program } = await makeWorld(t, { containers: 'all' })
  for (const name of servers) await startServer(host(name), name, 8080)
  await startServer(host('node'), 'node', 9090) // a server of the node itself, on all addresses
  const hostPort = testTask('node', { node: 'n1', port: 9090, labels: { VIP_0: '/host:80' } })
  await program([backend('b1'), backend('b2'), backend('b3'), pending, hostPort])

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

      await refusals(t, host, { protocol, family })
    }
  }
  const address = hostVip[4]
  for (const from of ['client', 'node'] as const) {
    t.equal(askServer(host(from), { protocol: 'tcp', address, port: 80 })[0]?.server, 'node', `host port from ${from}`)
  }
})

tap.test('backends come and go', { skip: canMakeHosts }, async (t) => {
  const { host, program, audit } = await makeWorld(t, { containers: 'all' })
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
