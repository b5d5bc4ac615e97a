import tap from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { askServers, startServer } from '../support/lb-traffic.ts'
import { backend, makeWorld, type PlaceName, places, routerAddresses, vip } from '../support/lb-world.ts'

tap.test('isolation of networks', { skip: canMakeHosts }, async (t) => {
  const { node, host, program } = await makeWorld(t, { containers: 'all' })
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
  for (const from of ['client', 'other', 'node'] as const) {
    const own = cases.filter(([source]) => source === from)
    const got = askServers(
      host(from),
      own.map(([, address, expected]) => ({
        protocol: 'tcp',
        address,
        port: address === vip[4] ? 80 : 8080,
        timeoutMs: expected === 'TIMEOUT' ? 700 : 5000,
      })),
    )
    for (const [i, [, address, expected, what]] of own.entries()) {
      const [attempt] = got[i] ?? []
      t.equal(attempt?.server ?? attempt?.error, expected, `${from} → ${address}: ${what}`)
    }
  }
  const counted = node.run('nft', 'list', 'chain', 'inet', 'weft', 'iso-forward')
  t.match(counted, /saddr @iso-network4 ip daddr @iso-network4 counter packets [1-9]/, 'drops are counted')
})
