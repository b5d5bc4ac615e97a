import { type Test } from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { type BackendCounters, backendKey, type CounterReader } from '../../lb/counters.ts'
import { openIpvsCounters } from '../../lb/ipvs/counters.ts'
import { openNftablesCounters } from '../../lb/nftables/counters.ts'
import { openConntrack } from '../../networking/netlink/conntrack.ts'
import { type TestHost } from './hosts.ts'
import { askServer, openConnection, startServer } from './lb-traffic.ts'
import { eventually } from './local-cluster.ts'
import { backend, makeWorld, places, vip } from './lb-world.ts'

function openCounters(t: Test, node: TestHost, mode: 'ipvs' | 'nftables'): CounterReader {
  if (mode === 'ipvs') return openIpvsCounters({ netns: node.path })
  node.run('sh', '-c', 'echo 1 > /proc/sys/net/netfilter/nf_conntrack_acct')
  const conntrack = openConntrack({ netns: node.path })
  t.teardown(conntrack.close)
  return openNftablesCounters({ conntrack, vips: () => new Set([parseIp(vip[4])]) })
}

/** What passes is what is counted. */
export async function countersSuite(t: Test, mode: 'ipvs' | 'nftables'): Promise<void> {
  const world = await makeWorld(t, { containers: 'all', dataPlane: mode })
  await startServer(world.host('b1'), 'b1', 8080)
  await world.program([backend('b1')])
  const reader = openCounters(t, world.node, mode)
  t.teardown(reader.close)
  const server = { protocol: 'tcp', address: parseIp(vip[4]), port: 80 } as const
  const key = backendKey(server, { address: parseIp(places.b1.ip4), port: 8080 })
  const read = async () => (await reader.read()).get(key) ?? { active: 0, inactive: 0, total: 0 }
  t.match(await read(), { active: 0, inactive: 0, total: 0 }, 'nothing yet')
  askServer(world.host('client'), { protocol: 'tcp', address: vip[4], port: 80, count: 3 })
  // IPVS adds up what its processors counted each 2 s (net/netfilter/ipvs/ip_vs_est.c); who is connected it tells at once.
  const until = (holds: (counters: BackendCounters) => boolean) =>
    eventually('counted', async () => {
      const counters = await read()
      return holds(counters) ? counters : undefined
    })
  const short = await until(({ total }) => total >= 3)
  t.match(short, { active: 0, inactive: 3, total: 3 }, 'three that ended')
  const connection = await openConnection(world.host('client'), vip[4], 80)
  t.equal(connection.first.server, 'b1')
  t.equal((await read()).active, 1, 'one that is open')
  const open = await until(({ total }) => total >= 4)
  t.ok((open.packets ?? 0) > (short.packets ?? 0) && (short.bytes ?? 0) > 3 * 40, 'octets of both directions')
  await connection.ask()
  t.ok(await until(({ bytes = 0 }) => bytes > (open.bytes ?? 0)), 'it grows')
}
