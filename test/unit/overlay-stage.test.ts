import t from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { AppError } from '../../core/base/errors.ts'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { diffSnapshots } from '../../core/model/delta.ts'
import { parseMac, parseNodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, type Node } from '../../core/model/snapshot.ts'
import { type Route, type RouteOp, type RouteSocket } from '../../networking/netlink/ops.ts'
import { findClashes, formatClash } from '../../networking/overlay/clash.ts'
import { overlayContext } from '../../networking/overlay/desired.ts'
import { overlayProblems } from '../../networking/overlay/problems.ts'
import { linkLocalAddress, nexthopId, nodeNumber } from '../../networking/overlay/remote-ids.ts'
import { type DirectRouting } from '../../networking/overlay/direct.ts'
import { openOverlayStage } from '../../networking/overlay/stage.ts'
import { type Sysctl } from '../../networking/overlay/sysctl.ts'
import { type Stage } from '../../networking/node/stage.ts'
import { openFakeRouteSocket } from '../support/fake-route-socket.ts'
import { allocatedNode, overlaySnapshot, twoNetworks } from '../support/overlay-snapshots.ts'

const self = parseNodeName('n1')
const { signal } = new AbortController()
const nodes = Array.from({ length: 9 }, (_, index) => allocatedNode(index + 1))
const [n1 = allocatedNode(1), n2 = allocatedNode(2)] = nodes

/** Settings in memory, as a fresh namespace has them. */
function fakeSysctl(initial: Readonly<Record<string, string>> = {}): Sysctl & { readonly values: Map<string, string> } {
  const values = new Map(Object.entries(initial))
  return { values, read: (name) => values.get(name) ?? '0', write: (name, value) => void values.set(name, value) }
}

function openStage({
  mtuBytes = 1500,
  routes = openFakeRouteSocket([{ name: 'eth0', mtuBytes }]),
  sysctl = fakeSysctl(),
  directRouting = 'never' as DirectRouting,
} = {}) {
  const stage = openOverlayStage({
    ...{ routes, self, underlayDevice: 'eth0', directRouting, sysctl, log: silentLog },
  })
  return { stage, routes, sysctl }
}

async function change(stage: Stage, previous: ClusterSnapshot, next: ClusterSnapshot): Promise<void> {
  const steps = stage.plan({ previous, next, delta: diffSnapshots(previous, next) })
  await steps.add({ signal })
  await steps.remove({ signal })
}

/** A repeatable row of numbers in [0, 1): mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    const a = Math.imul(state ^ (state >>> 15), 1 | state)
    const b = (a + Math.imul(a ^ (a >>> 7), 61 | a)) ^ a
    return ((b ^ (b >>> 14)) >>> 0) / 4294967296
  }
}

function randomSnapshot(version: number, random: () => number): ClusterSnapshot {
  const moved = (node: Node): Node =>
    random() < 0.2 ? { ...node, underlay: parseIp(`198.19.0.${version % 250}`) } : node
  const present = nodes.filter(({ name }) => (name === self ? random() < 0.95 : random() < 0.7)).map(moved)
  const networks = random() < 0.8 ? twoNetworks : twoNetworks.slice(0, 1)
  return overlaySnapshot(version, present, networks)
}

t.test('after any row of changes an audit finds nothing to do', async (t) => {
  const random = randomFrom(4711)
  const { stage, routes } = openStage()
  let current = overlaySnapshot(0, [])
  for (let version = 1; version <= 200; version++) {
    const next = randomSnapshot(version, random)
    await change(stage, current, next)
    t.same(await stage.audit(next, { signal }), [], `version ${version}`)
    current = next
  }
  await change(stage, current, overlaySnapshot(999, []))
  t.same(
    (await routes.links()).map(({ name }) => name),
    ['lo', 'eth0'],
  )
  t.same(
    [await routes.routes(), await routes.nexthops(), await routes.fdb(), await routes.addresses()],
    [[], [], [], []],
  )
})

t.test('a second process finds all in place', async (t) => {
  const snapshot = overlaySnapshot(1, nodes)
  const { stage, routes, sysctl } = openStage()
  t.ok((await stage.audit(snapshot, { signal })).length > 100)
  routes.forget()
  t.same(await openStage({ routes, sysctl }).stage.audit(snapshot, { signal }), [])
  t.same(routes.performed, [])
})

t.test('what others made stays, also where it resembles ours', async (t) => {
  const { stage, routes } = openStage()
  const foreign: readonly RouteOp[] = [
    { kind: 'link.add', link: { type: 'dummy', name: 'wfabc123' } },
    { kind: 'link.set', name: 'wfabc123', change: { state: 'up' } },
    {
      kind: 'route.replace',
      route: { destination: parseCidr('10.80.1.7/32'), type: 'unicast', protocol: 87, device: 'wfabc123' },
    },
    {
      kind: 'route.replace',
      route: { destination: parseCidr('100.96.0.1/32'), type: 'local', protocol: 87, device: 'lo' },
    },
    {
      kind: 'nexthop.replace',
      nexthop: { id: 7, device: 'eth0', gateway: parseIp('198.18.0.9'), family: 4, protocol: 4 },
    },
    {
      kind: 'route.replace',
      route: { destination: parseCidr('192.0.2.0/24'), type: 'unicast', protocol: 4, nexthopId: 7 },
    },
  ]
  t.ok((await routes.perform(foreign)).every(({ ok }) => ok))
  await stage.audit(overlaySnapshot(1, nodes), { signal })
  t.same(await stage.audit(overlaySnapshot(2, []), { signal }), [], 'not known to the master (yet): nothing is swept')
  await change(stage, overlaySnapshot(1, nodes), overlaySnapshot(2, []))
  t.same(
    (await routes.links()).map(({ name }) => name),
    ['lo', 'eth0', 'wfabc123'],
  )
  t.same([(await routes.routes()).length, (await routes.nexthops()).length], [3, 1])
})

t.test('one refused op: the rest is done, and the error names the command', async (t) => {
  const { routes } = openStage()
  const failing: RouteSocket = {
    ...routes,
    perform: async (ops) => {
      const outcomes = await routes.perform(ops)
      return ops.map((op, index) =>
        op.kind === 'neighbour.replace' && op.neighbour.address === '100.97.0.2'
          ? { ok: false, error: new AppError('ERR_NETLINK_ENOBUFS', 'table full') }
          : (outcomes[index] ?? { ok: true }),
      )
    },
  }
  const { stage } = openStage({ routes: { ...routes, ...failing } })
  const snapshot = overlaySnapshot(1, nodes)
  const failure = await stage.audit(snapshot, { signal }).catch((error: unknown) => error)
  const errors = failure instanceof AggregateError ? failure.errors : []
  t.equal(errors.length, 2)
  t.match(errors[0], {
    code: 'ERR_OVERLAY_APPLY',
    message: /ip neighbour replace 100.97.0.2 dev wfv102.*table full/,
  })
  t.equal((await routes.routes()).length, 3 + 8 * 5)
})

t.test('the underlay: its MTU is followed by audits, its absence is told', async (t) => {
  const snapshot = overlaySnapshot(1, [n1, n2])
  const { stage, routes } = openStage()
  await stage.audit(snapshot, { signal })
  await routes.perform([{ kind: 'link.set', name: 'eth0', change: { mtuBytes: 9000 } }])
  t.equal((await stage.audit(snapshot, { signal })).length, 2 + 5)
  t.equal((await routes.link('wfv1024'))?.mtuBytes, 8950)
  const lost = openStage({ routes: openFakeRouteSocket() }).stage
  await t.rejects(lost.audit(snapshot, { signal }), { code: 'ERR_OVERLAY_UNDERLAY' })
  await t.rejects(change(lost, overlaySnapshot(0, []), snapshot), { code: 'ERR_OVERLAY_UNDERLAY' })
})

t.test(
  'direct routing: switched at run time by routes alone, followed by audits, strict filtering made loose',
  async (t) => {
    const snapshot = overlaySnapshot(1, nodes)
    const sysctl = fakeSysctl({ 'net/ipv4/conf/eth0/rp_filter': '1' })
    const { stage, routes } = openStage({ sysctl })
    await stage.audit(snapshot, { signal })
    const vxlan = await routes.routes()
    const auto = openStage({ routes, sysctl, directRouting: 'auto' }).stage
    t.same(await auto.audit(snapshot, { signal }), [], 'no prefix of the underlay device: no direct routes')
    const address = { device: 'eth0', address: n1.underlay, prefixLength: 24 }
    await routes.perform([{ kind: 'address.replace', address }])
    routes.forget()
    await auto.audit(snapshot, { signal })
    const kinds = Map.groupBy(routes.performed, ({ kind }) => kind)
    t.same(
      [...kinds].map(([kind, ops]) => [kind, ops.length]),
      [
        ['nexthop.replace', 8],
        ['route.replace', 16],
        ['nexthop.del', 8],
        ['neighbour.del', 8],
        ['fdb.del', 8],
      ],
      'ways are made first, then routes lead there, then what nobody uses goes',
    )
    t.equal(sysctl.values.get('net/ipv4/conf/eth0/rp_filter'), '2')
    const moved = new Map(snapshot.nodes).set(n2.name, { ...n2, underlay: parseIp('198.19.0.2') })
    await change(auto, snapshot, { ...snapshot, version: 2, nodes: moved })
    t.match(await routes.routes(), { length: vxlan.length })
    const toN2 = (await routes.routes()).find(({ destination }) => destination === '10.84.2.0/24')
    t.equal(toN2?.nexthopId, nexthopId({ vni: 1025, number: 2, family: 4 }), 'behind a router: VXLAN')
    await stage.audit(snapshot, { signal })
    t.same(await routes.routes(), vxlan)
  },
)

t.test('an aborted round stops', async (t) => {
  const { stage } = openStage()
  await t.rejects(stage.audit(overlaySnapshot(1, nodes), { signal: AbortSignal.abort() }), { name: 'AbortError' })
})

t.test('sysctls: forwarding, loose filtering on our devices only, router advertisements kept', async (t) => {
  const sysctl = fakeSysctl({ 'net/ipv6/conf/eth0/accept_ra': '1' })
  const { stage } = openStage({ sysctl })
  const repairs = (await stage.audit(overlaySnapshot(1, nodes), { signal })).map(({ operation }) => operation)
  t.same(
    repairs.filter((line) => line.startsWith('sysctl')),
    [
      'sysctl -w net/ipv6/conf/eth0/accept_ra=2',
      'sysctl -w net/ipv4/ip_forward=1',
      'sysctl -w net/ipv6/conf/all/forwarding=1',
      'sysctl -w net/ipv4/conf/wfv1024/rp_filter=2',
      'sysctl -w net/ipv4/conf/wfv1025/rp_filter=2',
    ],
  )
  t.equal(sysctl.values.size, 5)
})

t.test('a range that clashes is refused, the other network is made; a device that is there stays', async (t) => {
  const { stage, routes } = openStage()
  const snapshot = overlaySnapshot(1, [n1, n2])
  const route = {
    destination: parseCidr('10.84.3.0/24'),
    type: 'unicast',
    protocol: 4,
    device: 'eth0',
    gateway: parseIp('198.18.0.9'),
  } as const
  await routes.perform([{ kind: 'route.replace', route }])
  const failure = await stage.audit(snapshot, { signal }).catch((error: unknown) => error)
  const errors = failure instanceof AggregateError ? failure.errors : []
  t.match(errors, [
    {
      code: 'ERR_OVERLAY_CLASH',
      message: /10\.84\.0\.0\/16 of the overlay overlaps the route 10\.84\.3\.0\/24 via 198\.18\.0\.9 dev eth0/,
    },
  ])
  t.ok(await routes.link('wfv1024'))
  t.notOk(await routes.link('wfv1025'))
  await t.rejects(change(stage, overlaySnapshot(1, [n1, n2], twoNetworks.slice(0, 1)), snapshot), 'also at run time')
  await routes.perform([{ kind: 'route.del', route }])
  await stage.audit(snapshot, { signal })
  await routes.perform([{ kind: 'route.replace', route }])
  t.same(await stage.audit(snapshot, { signal }), [])
})

t.test('clashes', async (t) => {
  const base = { type: 'unicast', protocol: 4, device: 'eth0', table: 254 } as const
  const routeTo = (destination: string, more: Partial<Route> = {}): Route => ({
    ...base,
    destination: parseCidr(destination),
    ...more,
  })
  const ranges = [parseCidr('10.80.0.0/14'), parseCidr('fd00:80::/48')]
  const table: readonly (readonly [Route, string | undefined])[] = [
    [routeTo('10.81.0.0/16'), '10.80.0.0/14 of the overlay overlaps the route 10.81.0.0/16 dev eth0 of this machine'],
    [routeTo('10.0.0.0/8'), '10.80.0.0/14 of the overlay overlaps the route 10.0.0.0/8 dev eth0 of this machine'],
    [
      routeTo('10.83.255.255/32', { type: 'local' }),
      '10.80.0.0/14 of the overlay overlaps the route 10.83.255.255/32 dev eth0 of this machine',
    ],
    [
      routeTo('fd00:80:0:1::/64'),
      'fd00:80::/48 of the overlay overlaps the route fd00:80:0:1::/64 dev eth0 of this machine',
    ],
    [routeTo('10.84.0.0/16'), undefined],
    [routeTo('0.0.0.0/0'), undefined],
    [routeTo('::/0'), undefined],
    [routeTo('10.81.0.0/16', { protocol: 87 }), undefined],
    [routeTo('10.81.0.0/16', { device: 'wfv1024' }), undefined],
    [routeTo('10.0.0.0/8', { type: 'blackhole' }), undefined],
  ]
  for (const [route, wanted] of table)
    t.equal(findClashes(ranges, [route]).map(formatClash)[0], wanted, route.destination)
})

t.test('problems name both sides', async (t) => {
  const problemsOf = (snapshot: ClusterSnapshot, underlayMtuBytes = 1500) => {
    const context = overlayContext(snapshot, { self, underlayMtuBytes })
    return context === undefined ? ['not there'] : overlayProblems(snapshot, context)
  }
  t.same(problemsOf(overlaySnapshot(1, nodes)), [])
  const table: readonly (readonly [Node, RegExp])[] = [
    [{ ...n2, vtep: { ...n2.vtep, mac: n1.vtep.mac } }, /nodes n1 and n2 have the same VTEP MAC 70:b3/],
    [
      { ...n2, vtep: { ...n2.vtep, addresses: [parseIp('100.97.64.1')] } },
      /nodes n1 and n2 have VTEP addresses with equal/,
    ],
    [{ ...n2, vtep: { ...n2.vtep, addresses: [parseIp('fd01:a::2')] } }, /node n2 has IPv4 subnets but no IPv4 VTEP/],
    [{ ...n2, underlay: parseIp('2001:db8::2') }, /node n2 is at 2001:db8::2, which 198.18.0.1 can't send/],
  ]
  for (const [node, wanted] of table) t.match(problemsOf(overlaySnapshot(1, [n1, node])), [wanted])
  const networks = twoNetworks.map((network) => (network.name === 'blue' ? { ...network, vni: 1024 + 65536 } : network))
  t.match(problemsOf(overlaySnapshot(1, [n1], networks)), [/networks dcos and blue have the VNIs 1024 and 66560/])
  t.match(problemsOf(overlaySnapshot(1, [n1]), 1300), [/MTU is 1250, but IPv6 needs 1280/])
})

t.test('ids follow from the allocation', async (t) => {
  t.equal(nodeNumber(n2), 2)
  t.equal(
    nodeNumber({ ...n2, vtep: { ...n2.vtep, addresses: [parseIp('fd01:a::1:3'), parseIp('100.97.15.254')] } }),
    0xffe,
  )
  t.equal(nexthopId({ vni: 1024, number: 2, family: 4 }), 0x81000002)
  t.equal(nexthopId({ vni: 0xffff, number: 0x3fff, family: 6 }), 0xffffffff)
  t.equal(linkLocalAddress(parseMac('70:b3:d5:61:00:02')), 'fe80::72b3:d5ff:fe61:2')
})

t.test('each audit tells the MTU of the underlay device, and who made a device is told of it', async (t) => {
  const routes = openFakeRouteSocket([{ name: 'eth0', mtuBytes: 1500 }])
  const made: string[] = []
  const stage = openOverlayStage({
    ...{ routes, self, underlayDevice: 'eth0', directRouting: 'never', sysctl: fakeSysctl(), log: silentLog },
    onDevice: (device) => void made.push(device),
  })
  t.equal(stage.underlayMtuBytes(), undefined)
  await stage.audit(overlaySnapshot(1, nodes), { signal })
  t.equal(stage.underlayMtuBytes(), 1500)
  await routes.perform([{ kind: 'link.set', name: 'eth0', change: { mtuBytes: 1400 } }])
  await stage.audit(overlaySnapshot(1, nodes), { signal })
  t.equal(stage.underlayMtuBytes(), 1400)
  t.same(made, ['wfv1024', 'wfv1025'], 'a change of MTU makes none')
})
