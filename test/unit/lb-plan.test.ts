import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { parseNodeName } from '../../core/model/ids.ts'
import { type VipScheduler } from '../../core/model/vip.ts'
import { emptySnapshot } from '../../core/model/snapshot.ts'
import { type LbOp, type RealServer, type VirtualServer } from '../../lb/dataplane.ts'
import { openFakePlane } from '../../lb/fake.ts'
import { makeLbState, planLbOps } from '../../lb/nftables/plan.ts'
import { sharesOf } from '../../lb/nftables/shares.ts'
import { openNftablesPlane } from '../../lb/nftables/plane.ts'
import { planVipRoutes, vipRoute } from '../../lb/routes.ts'
import { openLbStage } from '../../lb/stage.ts'
import { type OpOutcome, type RouteOp, type RouteSocket } from '../../networking/netlink/ops.ts'
import { openFakeNft } from '../../networking/nft/fake.ts'
import { formatNftOp, formatNftTransaction } from '../../networking/nft/ops.ts'
import { testChange, testNode, testSnapshot, testTask, testVip } from '../support/lb-snapshot.ts'

const { signal } = new AbortController()
const server = (address: string, backends: readonly [string, number, 'local'?][]): VirtualServer => ({
  address: parseIp(address),
  port: 80,
  protocol: 'tcp',
  backends: backends.map(([to, weight, local]): RealServer => {
    return { address: parseIp(to), port: 8080, weight, ...(local === undefined ? {} : { local: true }) }
  }),
})
const [a, b, c] = ['10.80.0.1', '10.80.0.2', '10.80.0.3'] as const
const ensure = (one: VirtualServer): LbOp => ({ kind: 'server.ensure', server: one })
const remove = (one: VirtualServer): LbOp => ({ kind: 'server.remove', server: one })

/** From servers to servers: the whole transaction. The chains for one and two backends are there. */
const plans: readonly {
  readonly name: string
  readonly from: readonly VirtualServer[]
  readonly ops: readonly LbOp[]
  readonly text: readonly string[]
}[] = [
  {
    name: 'nothing new',
    from: [server('100.96.0.1', [[a, 1]])],
    ops: [ensure(server('100.96.0.1', [[a, 1]]))],
    text: [],
  },
  {
    name: 'a first backend, of this node',
    from: [],
    ops: [ensure(server('100.96.0.1', [[a, 1, 'local']]))],
    text: [
      'add element inet weft lb-service4 { 100.96.0.1 . tcp . 80 : goto lb-pick4-1 }',
      'add element inet weft lb-address4 { 100.96.0.1 }',
      'add element inet weft lb-slot4-0 { 100.96.0.1 . tcp . 80 : 10.80.0.1 . 8080 }',
      'add element inet weft lb-hairpin4 { 10.80.0.1 . 10.80.0.1 }',
    ],
  },
  {
    name: 'a second',
    from: [server('100.96.0.1', [[a, 1]])],
    ops: [
      ensure(
        server('100.96.0.1', [
          [a, 1],
          [b, 1],
        ]),
      ),
    ],
    text: [
      'delete element inet weft lb-service4 { 100.96.0.1 . tcp . 80 }',
      'add element inet weft lb-service4 { 100.96.0.1 . tcp . 80 : goto lb-pick4-2 }',
      'add element inet weft lb-slot4-1 { 100.96.0.1 . tcp . 80 : 10.80.0.2 . 8080 }',
    ],
  },
  {
    name: 'a third: a chain and a slot that were not there yet',
    from: [
      server('100.96.0.1', [
        [a, 1],
        [b, 1],
      ]),
    ],
    ops: [
      ensure(
        server('100.96.0.1', [
          [a, 1],
          [b, 1],
          [c, 1],
        ]),
      ),
    ],
    text: [
      'add map inet weft lb-slot4-2 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service ; }',
      'add chain inet weft lb-slot4-2',
      'add rule inet weft lb-slot4-2 meta l4proto { tcp, udp } dnat ip to ip daddr . meta l4proto . th dport map @lb-slot4-2 comment "backend a766b785"',
      'add chain inet weft lb-pick4-3',
      'add rule inet weft lb-pick4-3 numgen random mod 3 vmap { 0 : jump lb-slot4-0, 1 : jump lb-slot4-1, 2 : jump lb-slot4-2 } comment "random 1b26c8df"',
      'add rule inet weft lb-pick4-3 goto lb-slot4-0 comment "first 4ff02818"',
      'delete element inet weft lb-service4 { 100.96.0.1 . tcp . 80 }',
      'add element inet weft lb-service4 { 100.96.0.1 . tcp . 80 : goto lb-pick4-3 }',
      'add element inet weft lb-slot4-2 { 100.96.0.1 . tcp . 80 : 10.80.0.3 . 8080 }',
    ],
  },
  {
    name: 'the only one drains',
    from: [server('100.96.0.1', [[a, 1, 'local']])],
    ops: [ensure(server('100.96.0.1', [[a, 0]]))],
    text: [
      'delete element inet weft lb-service4 { 100.96.0.1 . tcp . 80 }',
      'add element inet weft lb-service4 { 100.96.0.1 . tcp . 80 : goto lb-none }',
      'delete element inet weft lb-slot4-0 { 100.96.0.1 . tcp . 80 }',
      'delete element inet weft lb-hairpin4 { 10.80.0.1 . 10.80.0.1 }',
      'add element inet weft lb-draining4 { 100.96.0.1 . tcp . 80 . 10.80.0.1 . 8080 }',
    ],
  },
  {
    name: 'one of two servers of an address goes: what both need stays',
    from: [server('100.96.0.1', [[a, 1, 'local']]), { ...server('100.96.0.1', [[a, 1, 'local']]), port: 81 }],
    ops: [remove(server('100.96.0.1', []))],
    text: [
      'delete element inet weft lb-service4 { 100.96.0.1 . tcp . 80 }',
      'delete element inet weft lb-slot4-0 { 100.96.0.1 . tcp . 80 }',
    ],
  },
]
for (const { name, from, ops, text } of plans) {
  t.test(name, async (t) => {
    const known = makeLbState([
      server('100.96.9.9', [[a, 1]]),
      server('100.96.9.8', [
        [a, 1],
        [b, 1],
      ]),
      ...from,
    ])
    t.same(
      planLbOps(known, ops).map((op) => formatNftOp('weft', op)),
      text,
    )
  })
}

/** Weights of backends, by scheduler: which backend each slot gets. */
const shares: readonly (readonly [VipScheduler, readonly number[], string, string])[] = [
  ['wlc', [1, 1, 1], 'random', '0 1 2'],
  ['wlc', [50, 100, 50], 'random', '0 1 2 1'],
  ['wlc', [3, 0, 1], 'random', '0 2 0 0'],
  ['lc', [3, 1], 'random', '0 1'],
  ['rr', [3, 1], 'turn', '0 1'],
  ['wrr', [4, 2], 'turn', '0 1 0'],
  ['sh', [1, 2], 'source', '0 1 1'],
  ['mh', [0, 0], 'source', ''],
]

t.test('slots by weight', async (t) => {
  for (const [scheduler, weights, method, expected] of shares) {
    const backends = weights.map((weight, i): RealServer => ({ address: parseIp(`10.80.0.${i}`), port: 80, weight }))
    const found = sharesOf({ ...server('100.96.0.1', []), scheduler, backends })
    t.same([found.method, found.slots.map(({ address }) => address.slice(8)).join(' ')], [method, expected])
  }
  const many = Array.from({ length: 40 }, (_, i) => [`10.80.1.${i}`, i === 0 ? 100 : 99] as const)
  const { slots } = sharesOf(
    server(
      '100.96.0.1',
      many.map(([to, weight]) => [to, weight]),
    ),
  )
  t.equal(slots.length, 40, 'coarser when they would be too many')
  const hundreds = Array.from({ length: 300 }, (_, i): [string, number] => [`10.80.${i >> 8}.${i & 255}`, 1 + (i & 1)])
  t.equal(sharesOf(server('100.96.0.1', hundreds)).size, 300, 'each backend has one at least')
})

t.test('what cannot be text of a command', async (t) => {
  for (const key of ['1.2.3.4 }; flush ruleset', 'a\nb', '"', '']) {
    const ops = [{ kind: 'element.add', set: 's', elements: [{ key }] }] as const
    t.throws(() => formatNftTransaction({ table: 'weft', ops }), { code: 'ERR_NFT_TEXT' }, JSON.stringify(key))
  }
  t.throws(() => formatNftTransaction({ table: 'a b', ops: [{ kind: 'table.add' }] }), { code: 'ERR_NFT_TEXT' })
})

t.test('a difference that does not fit is repaired by reading', async (t) => {
  const nft = openFakeNft()
  const plane = openNftablesPlane({ nft, table: 'weft' })
  const two = server('100.96.0.1', [
    [a, 1],
    [b, 1],
  ])
  await plane.apply([ensure(two)], { signal })
  const elements = [{ key: '100.96.0.1 . tcp . 80' }]
  await nft.apply({ table: 'weft', ops: [{ kind: 'element.delete', set: 'lb-slot4-1', elements }] }, { signal })
  await plane.apply([ensure(server('100.96.0.1', [[a, 1]]))], { signal })
  t.same(await plane.read({ signal }), [server('100.96.0.1', [[a, 1]])])
  await plane.apply([ensure(two)], { signal })
  t.same(await plane.read({ signal }), [two])
})

t.test('routes of VIPs', async (t) => {
  const node = testNode('n1', '192.0.2.1', '100.97.0.1')
  const here = vipRoute(parseIp('100.96.0.1'), node)
  const elsewhere = vipRoute(parseIp('100.96.0.1'), testNode('n1', '192.0.2.1', '100.97.0.9'))
  t.match(here, {
    destination: '100.96.0.1/32',
    type: 'local',
    device: 'lo',
    table: 255,
    protocol: 87,
    preferredSource: '100.97.0.1',
  })
  t.notOk('preferredSource' in vipRoute(parseIp('fd01:c::1'), node), 'no VTEP address of the family')
  t.same(planVipRoutes([here], [here]), { add: [], remove: [] })
  t.same(planVipRoutes([here], [elsewhere]), { add: [{ kind: 'route.replace', route: here }], remove: [] })
  t.same(planVipRoutes([], [here]), { add: [], remove: [{ kind: 'route.del', route: here }] })
})

/** Tells what was done, in order; `failing` is refused. */
function fakeRoutes(told: string[], failing = ''): RouteSocket {
  const perform = async (ops: readonly RouteOp[]): Promise<readonly OpOutcome[]> =>
    ops.map((op) => {
      const destination = 'route' in op ? op.route.destination : ''
      told.push(`${op.kind} ${destination}`)
      return destination === failing ? { ok: false, error: new Error('refused') } : { ok: true }
    })
  const none = async () => []
  const link = async () => undefined
  return {
    perform,
    links: none,
    link,
    addresses: none,
    neighbours: none,
    fdb: none,
    nexthops: none,
    routes: none,
    close: () => undefined,
  }
}

t.test('the stage: servers before routes, and the reverse', async (t) => {
  const told: string[] = []
  const plane = openFakePlane()
  const apply: typeof plane.apply = async (ops, options) => {
    told.push(...ops.map((op) => `${op.kind} ${op.server.address}`))
    await plane.apply(ops, options)
  }
  const stage = openLbStage({
    self: parseNodeName('n1'),
    plane: { ...plane, apply },
    routes: fakeRoutes(told, '100.96.0.2/32'),
  })
  const nodes = [testNode('n1', '192.0.2.1', '100.97.0.1')]
  const task = (name: string) =>
    testTask(name, { node: 'n1', addresses: [a], port: 80, labels: { VIP: `/${name}:80` } })
  const one = testSnapshot(1, { nodes, vips: [testVip('one', '100.96.0.1')], tasks: [task('one')] })
  const run = async (from: typeof one, to: typeof one) => {
    told.length = 0
    const steps = stage.plan(testChange(from, to))
    t.same(told, [], 'planning performs nothing')
    await steps.add({ signal })
    told.push('|')
    await steps.remove({ signal })
    return told.join(', ')
  }
  t.equal(await run(emptySnapshot, one), 'server.ensure 100.96.0.1, route.replace 100.96.0.1/32, |')
  const moved = {
    ...one,
    nodes: new Map([[nodes[0]?.name ?? parseNodeName('n1'), testNode('n1', '192.0.2.1', '100.97.0.5')]]),
  }
  t.equal(await run(one, moved), 'route.replace 100.96.0.1/32, |', "the node's VTEP address changed")
  t.equal(await run(moved, one), 'route.replace 100.96.0.1/32, |')
  t.equal(
    await run(one, { ...one, tasks: new Map() }),
    '|, server.remove 100.96.0.1',
    'allocated still: routed, so refused',
  )
  t.equal(await run(one, testSnapshot(2, { nodes })), '|, route.del 100.96.0.1/32, server.remove 100.96.0.1')
  const two = testSnapshot(3, { nodes, vips: [testVip('two', '100.96.0.2')], tasks: [task('two')] })
  await t.rejects(run(emptySnapshot, two), { message: /100\.96\.0\.2.*refused/ }, 'a route that fails is told')
})
