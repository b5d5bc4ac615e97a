import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { formatMetrics, gauge, openTally, openTimes } from '../../core/base/metrics.ts'
import { backendKey, type VipCounters } from '../../lb/counters.ts'
import { openFakePlane } from '../../lb/fake.ts'
import { openBypass } from '../../lb/health/bypass.ts'
import { toCounters } from '../../lb/ipvs/counters.ts'
import { openNftablesCounters } from '../../lb/nftables/counters.ts'
import { desiredServers } from '../../lb/vip/desired.ts'
import { type Flow, type FlowFilter } from '../../networking/netlink/conntrack.ts'
import { parseNodeName } from '../../core/model/ids.ts'
import { vipStatus } from '../../networking/node/vip-status.ts'
import { testNode, testSnapshot, testTask, testVip } from '../support/lb-snapshot.ts'

const { signal } = new AbortController()
const vip = parseIp('100.96.0.1')
const backend = { address: parseIp('10.80.0.11'), port: 8080 }
const web = { protocol: 'tcp', address: vip, port: 80 } as const
const key = backendKey(web, backend)

/** A flow of client port `from`, led to {@link backend} unless `to` says another. */
function flow(from: number, more: Partial<Flow> = {}, to = backend.address): Flow {
  return {
    protocol: 6,
    original: { source: parseIp('10.80.0.9'), sourcePort: from, destination: vip, destinationPort: 80 },
    reply: { source: to, sourcePort: 8080, destination: parseIp('10.80.0.9'), destinationPort: from },
    zone: 0,
    id: Uint8Array.of(from),
    ...more,
  }
}

const established = { tcpState: 3, packets: 10, bytes: 1000 }
const ended = { tcpState: 7, packets: 6, bytes: 400 }

t.test('nftables: what conntrack tracks, and what readings saw', async (t) => {
  let flows: readonly Flow[] = []
  const list = async ({ family, protocol }: FlowFilter) => (family === 4 && protocol === 6 ? flows : [])
  const reader = openNftablesCounters({ conntrack: { list }, vips: () => new Set([vip]) })
  const read = async () => (await reader.read()).get(key)
  t.equal(await read(), undefined)
  flows = [flow(1, established), flow(2, ended), flow(3, {}, vip)]
  t.same(await read(), { active: 1, inactive: 1, total: 2, packets: 16, bytes: 1400 }, 'the refused one is of nobody')
  flows = [flow(1, established), flow(4, established)]
  t.same(await read(), { active: 2, inactive: 0, total: 3, packets: 26, bytes: 2400 }, 'one ended, one is new')
  flows = []
  t.same(await read(), { active: 0, inactive: 0, total: 3, packets: 26, bytes: 2400 }, 'what is gone counts on')
  flows = [flow(1, { tcpState: 3 })]
  t.match(await read(), { active: 1, inactive: 0, total: 4, bytes: 2400 }, 'a kernel that counts no octets')
})

t.test('IPVS: the statistics of a destination', async (t) => {
  const stats = { connections: 7n, packetsIn: 10n, packetsOut: 8n, bytesIn: 1000n, bytesOut: 2n ** 33n }
  const all = { activeConnections: 2, inactiveConnections: 1, stats }
  t.same(toCounters(all), { active: 2, inactive: 1, total: 7, packets: 18, bytes: 2 ** 33 + 1000 })
  t.same(toCounters({ activeConnections: 2 }), { active: 2, inactive: 0, total: 2 }, 'without statistics')
})

t.test('the status of a VIP: why a backend gets nothing new', async (t) => {
  const task = (id: string, node: string, address: string) =>
    testTask(id, { node, addresses: [address], port: 8080, labels: { VIP_0: '/web:80' } })
  const snapshot = testSnapshot(3, {
    nodes: [testNode('n1', '198.18.1.1', '100.97.0.1'), testNode('n2', '198.18.1.2', '100.97.0.2')],
    tasks: [
      task('a', 'n1', '10.80.0.11'),
      task('b', 'n2', '10.80.1.11'),
      { ...task('c', 'n1', '10.80.0.12'), state: 'TASK_KILLING' },
      { ...task('d', 'n1', '10.80.0.13'), health: 'pending' },
    ],
    vips: [testVip('web', '100.96.0.1')],
  })
  const [n1, n2] = [parseNodeName('n1'), parseNodeName('n2')]
  const placeOf = (address: string) => (address.startsWith('10.80.1.') ? n2 : n1)
  const bypass = openBypass(openFakePlane(), { self: n1, placeOf })
  await bypass.plane.repair(desiredServers(snapshot, n1), { signal })
  await bypass.set(new Set([n2]), { signal })
  const counters: VipCounters = new Map([[key, { active: 1, inactive: 0, total: 9, packets: 4, bytes: 300 }]])
  const peers = [{ node: n2, underlay: parseIp('198.18.1.2'), state: 'down', downMs: 1500 } as const]
  const [status] = vipStatus({ self: n1, snapshot, servers: bypass.servers(), counters, placeOf, peers })
  t.match(status, { name: 'web.weft', protocol: 'tcp', address: '100.96.0.1', port: 80, scheduler: 'wlc' })
  t.match(status?.backends, [
    { task: 'a', node: 'n1', weight: 1, state: 'serving', active: 1, total: 9, bytes: 300 },
    { task: 'c', node: 'n1', weight: 0, state: 'draining', total: 0 },
    { task: 'd', node: 'n1', weight: 0, state: 'pending' },
    { task: 'b', node: 'n2', weight: 0, state: 'bypassed', reason: /n2 does not answer this one since 1\.5 s/ },
  ])
})

t.test("Prometheus's text", async (t) => {
  const tally = openTally('a_total', 'Some things')
  tally.add({ kind: 'x"\\' })
  tally.add({ kind: 'x"\\' }, 2)
  const times = openTimes('b_seconds', 'How long')
  times.observe({}, 0.02)
  times.observe({}, 9)
  const text = formatMetrics([tally.family(), times.family(), gauge('c', 'Now', [{ value: 1.5 }])])
  const lines = text.split('\n')
  t.ok(lines.includes('a_total{kind="x\\"\\\\"} 3'))
  t.ok(lines.includes('b_seconds_bucket{le="0.01"} 0'))
  t.ok(lines.includes('b_seconds_bucket{le="0.025"} 1'))
  t.ok(lines.includes('b_seconds_bucket{le="+Inf"} 2'))
  t.ok(lines.includes('b_seconds_sum 9.02'))
  t.match(text, /# HELP c Now\n# TYPE c gauge\nc 1\.5\n$/)
})
