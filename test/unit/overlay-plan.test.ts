import t from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { parseIp } from '../../core/base/ip.ts'
import { applyDelta, diffSnapshots } from '../../core/model/delta.ts'
import { parseNodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, type Node } from '../../core/model/snapshot.ts'
import { formatRouteOp } from '../../networking/netlink/format.ts'
import { desiredObjects, desiredOverlay, type OverlayInputs } from '../../networking/overlay/desired.ts'
import { planFresh, planOverlay, planOverlayChange } from '../../networking/overlay/plan.ts'
import { allocatedNode, largeNetwork, overlaySnapshot, twoNetworks } from '../support/overlay-snapshots.ts'

const self = parseNodeName('n1')
const inputs: OverlayInputs = { self, underlayMtuBytes: 1500 }
const [n1, n2, n3] = [allocatedNode(1), allocatedNode(2), allocatedNode(3)]
const dcosOnly = twoNetworks.filter(({ name }) => name === 'dcos')
const emptyCluster = overlaySnapshot(1, [], [])
const ids = { a4: 2164260866, a6: 3238002690, b4: 2164277250 } as const

/** What makes the way from n1 to n2, and what takes it away, as an operator would type it. */
const toN2 = [
  'bridge fdb replace 70:b3:d5:61:00:02 dev wfv1025 dst 198.18.0.2 self permanent',
  'bridge fdb replace 70:b3:d5:61:00:02 dev wfv1024 dst 198.18.0.2 self permanent',
  'ip neighbour replace 100.97.0.2 dev wfv1025 lladdr 70:b3:d5:61:00:02 nud permanent',
  'ip neighbour replace 100.97.0.2 dev wfv1024 lladdr 70:b3:d5:61:00:02 nud permanent',
  'ip neighbour replace fe80::72b3:d5ff:fe61:2 dev wfv1024 lladdr 70:b3:d5:61:00:02 nud permanent',
  `ip nexthop replace id ${ids.b4} via 100.97.0.2 dev wfv1025 onlink protocol 87`,
  `ip nexthop replace id ${ids.a4} via 100.97.0.2 dev wfv1024 onlink protocol 87`,
  `ip nexthop replace id ${ids.a6} via fe80::72b3:d5ff:fe61:2 dev wfv1024 onlink protocol 87`,
  `ip route replace 10.84.2.0/24 nhid ${ids.b4} src 100.97.0.1 table 254 protocol 87 metric 87 mtu 1450`,
  `ip route replace 100.97.0.2/32 nhid ${ids.a4} src 100.97.0.1 table 254 protocol 87 metric 87 mtu 1450`,
  `ip route replace 10.80.2.0/24 nhid ${ids.a4} src 100.97.0.1 table 254 protocol 87 metric 87 mtu 1450`,
  `ip route replace fd01:a::2/128 nhid ${ids.a6} src fd01:a::1 table 254 protocol 87 metric 87 mtu 1450`,
  `ip route replace fd00:80:0:2::/64 nhid ${ids.a6} src fd01:a::1 table 254 protocol 87 metric 87 mtu 1450`,
]
const withoutN2 = [
  'ip route del 10.84.2.0/24 table 254 protocol 87 metric 87',
  'ip route del 100.97.0.2/32 table 254 protocol 87 metric 87',
  'ip route del 10.80.2.0/24 table 254 protocol 87 metric 87',
  'ip route del fd01:a::2/128 table 254 protocol 87 metric 87',
  'ip route del fd00:80:0:2::/64 table 254 protocol 87 metric 87',
  `ip nexthop del id ${ids.b4}`,
  `ip nexthop del id ${ids.a4}`,
  `ip nexthop del id ${ids.a6}`,
  'ip neighbour del 100.97.0.2 dev wfv1025',
  'ip neighbour del 100.97.0.2 dev wfv1024',
  'ip neighbour del fe80::72b3:d5ff:fe61:2 dev wfv1024',
  'bridge fdb del 70:b3:d5:61:00:02 dev wfv1025 dst 198.18.0.2 self',
  'bridge fdb del 70:b3:d5:61:00:02 dev wfv1024 dst 198.18.0.2 self',
]
const ownDcos = [
  'ip link add wfv1024 address 70:b3:d5:61:00:01 mtu 1450 type vxlan id 1024 local 198.18.0.1 dstport 64000 nolearning',
  'ip link set dev wfv1024 up',
]
const ownDcosAddresses = [
  'ip address replace 100.97.0.1/32 dev wfv1024',
  'ip address replace fd01:a::1/128 dev wfv1024 nodad',
]
const ownBlue = [
  'ip link add wfv1025 address 70:b3:d5:61:00:01 mtu 1450 type vxlan id 1025 local 198.18.0.1 dstport 64000 nolearning',
  'ip link set dev wfv1025 up',
  'ip address replace 100.97.0.1/32 dev wfv1025',
  'ip address replace fd01:a::1/128 dev wfv1025 nodad',
]
const dcosRefusals = [
  'ip route replace unreachable 10.80.0.0/14 table 254 protocol 87 metric 65535',
  'ip route replace unreachable fd00:80::/48 table 254 protocol 87 metric 65535',
]
const blueRefusal = 'ip route replace unreachable 10.84.0.0/16 table 254 protocol 87 metric 65535'

interface Case {
  readonly name: string
  readonly from: ClusterSnapshot
  readonly to: ClusterSnapshot
  readonly add: readonly string[]
  readonly remove: readonly string[]
}

const cases: readonly Case[] = [
  {
    name: 'the node itself is not there yet: nothing',
    from: emptyCluster,
    to: overlaySnapshot(2, [n2]),
    add: [],
    remove: [],
  },
  {
    name: 'the node itself joins, alone',
    from: overlaySnapshot(1, []),
    to: overlaySnapshot(2, [n1]),
    add: [...ownDcos, ...ownBlue.slice(0, 2), ...ownDcosAddresses, ...ownBlue.slice(2), ...dcosRefusals, blueRefusal],
    remove: [],
  },
  {
    name: 'another joins',
    from: overlaySnapshot(1, [n1, n3]),
    to: overlaySnapshot(2, [n1, n3, n2]),
    add: toN2,
    remove: [],
  },
  {
    name: 'another leaves',
    from: overlaySnapshot(1, [n1, n2, n3]),
    to: overlaySnapshot(2, [n1, n3]),
    add: [],
    remove: withoutN2,
  },
  {
    name: 'another gets an agent: nothing',
    from: overlaySnapshot(1, [n1, n2]),
    to: overlaySnapshot(2, [n1, { ...n2, master: 'leader' }]),
    add: [],
    remove: [],
  },
  {
    name: 'another moves to another underlay address',
    from: overlaySnapshot(1, [n1, n2]),
    to: overlaySnapshot(2, [n1, { ...n2, underlay: parseIp('198.18.9.9') }]),
    add: [
      'bridge fdb replace 70:b3:d5:61:00:02 dev wfv1025 dst 198.18.9.9 self permanent',
      'bridge fdb replace 70:b3:d5:61:00:02 dev wfv1024 dst 198.18.9.9 self permanent',
    ],
    remove: [
      'bridge fdb del 70:b3:d5:61:00:02 dev wfv1025 dst 198.18.0.2 self',
      'bridge fdb del 70:b3:d5:61:00:02 dev wfv1024 dst 198.18.0.2 self',
    ],
  },
  {
    name: 'one leaves and another gets what it had: nothing of the new one is removed',
    from: overlaySnapshot(1, [n1, n2]),
    to: overlaySnapshot(2, [n1, { ...n2, name: parseNodeName('n9') }]),
    add: [],
    remove: [],
  },
  {
    name: 'the node itself moves: its devices are made again, with all that was on them',
    from: overlaySnapshot(1, [n1, n2], dcosOnly),
    to: overlaySnapshot(2, [{ ...n1, underlay: parseIp('198.18.8.8') }, n2], dcosOnly),
    add: [
      'ip link del dev wfv1024',
      ...ownDcos.map((line) => line.replace('198.18.0.1', '198.18.8.8')),
      ...ownDcosAddresses,
      ...toN2.filter((line) => /dev wfv1024|nhid (2164260866|3238002690)/.test(line)),
    ],
    remove: [],
  },
  {
    name: 'the node gets another MAC: neighbours are made again, the kernel dropped them',
    from: overlaySnapshot(1, [n1, n2], dcosOnly),
    to: overlaySnapshot(2, [{ ...n1, vtep: { ...n1.vtep, mac: n3.vtep.mac } }, n2], dcosOnly),
    add: [
      'ip link set dev wfv1024 address 70:b3:d5:61:00:03',
      ...toN2.filter((line) => line.startsWith('ip neighbour') && line.includes('wfv1024')),
    ],
    remove: [],
  },
  {
    name: 'a network is made',
    from: overlaySnapshot(1, [n1, n2], dcosOnly),
    to: overlaySnapshot(2, [n1, n2]),
    add: [
      ...ownBlue,
      ...toN2.filter((line) => /dev wfv1025/.test(line)),
      blueRefusal,
      ...toN2.filter((line) => line.includes(`nhid ${ids.b4}`)),
    ],
    remove: [],
  },
  {
    name: 'a network is removed: its device takes the rest along',
    from: overlaySnapshot(1, [n1, n2]),
    to: overlaySnapshot(2, [n1, n2], dcosOnly),
    add: [],
    remove: [blueRefusal.replace('replace', 'del'), 'ip link del dev wfv1025'],
  },
  {
    name: 'the node itself leaves: nothing stays',
    from: overlaySnapshot(1, [n1, n2]),
    to: overlaySnapshot(2, [n2]),
    add: [],
    remove: [...dcosRefusals, blueRefusal]
      .map((line) => line.replace('replace', 'del'))
      .concat(['ip link del dev wfv1024', 'ip link del dev wfv1025']),
  },
]

for (const { name, from, to, add, remove } of cases) {
  t.test(name, async (t) => {
    const plan = planOverlayChange({ previous: from, next: to, delta: diffSnapshots(from, to) }, inputs)
    t.same(plan.add.map(formatRouteOp), add)
    t.same(plan.remove.map(formatRouteOp), remove)
    const whole = planOverlay(desiredOverlay(to, inputs), desiredOverlay(from, inputs))
    t.same(plan, whole, 'the short way plans what the long way does')
  })
}

t.test('no network with IPv6: no IPv6 at all, the machine may have it turned off', async (t) => {
  const blueOnly = twoNetworks.filter(({ name }) => name === 'blue')
  const { add } = planOverlay(desiredOverlay(overlaySnapshot(1, [n1, n2], blueOnly), inputs), new Map())
  t.equal(add.length, 9)
  t.same(
    add.map(formatRouteOp).filter((line) => /fd|fe80|nodad/.test(line.replaceAll('fdb', ''))),
    [],
  )
})

t.test('MTU: 50 octets less over IPv4, 70 less over IPv6, set on devices and routes', async (t) => {
  const six = [n1, n2].map((node, index) => ({ ...node, underlay: parseIp(`2001:db8::${index + 1}`) }))
  const mtus = (snapshot: ClusterSnapshot, underlayMtuBytes: number) => {
    const { add } = planOverlay(desiredOverlay(snapshot, { self, underlayMtuBytes }), new Map())
    const found = add.map(formatRouteOp).flatMap((line) => / mtu (\d+)/.exec(line)?.[1] ?? [])
    t.equal(found.length, 2 + 5)
    return [...new Set(found)]
  }
  t.same(mtus(overlaySnapshot(1, [n1, n2]), 1500), ['1450'])
  t.same(mtus(overlaySnapshot(1, six), 1500), ['1430'])
  t.same(mtus(overlaySnapshot(1, six), 9000), ['8930'])
  const snapshot = overlaySnapshot(1, [n1, n2])
  const plan = planOverlay(desiredOverlay(snapshot, { self, underlayMtuBytes: 9000 }), desiredOverlay(snapshot, inputs))
  t.same(plan.remove, [])
  const lines = plan.add.map(formatRouteOp)
  t.same(lines.slice(0, 2), ['ip link set dev wfv1024 mtu 8950', 'ip link set dev wfv1025 mtu 8950'])
  t.same(
    lines.slice(2),
    toN2.filter((line) => line.includes(' route ')).map((line) => line.replace('mtu 1450', 'mtu 8950')),
  )
})

t.test('direct routing: who, over which gateway, with which MTU', async (t) => {
  const onLink = [parseCidr('198.18.0.0/24'), parseCidr('2001:db8::/64')]
  const six = [n1, n2].map((node, index) => ({ ...node, underlay: parseIp(`2001:db8::${index + 1}`) }))
  const far = { ...n2, underlay: parseIp('198.18.7.2') }
  const four = 'ip nexthop replace id 2147483650 via 198.18.0.2 dev eth0 onlink protocol 87'
  const sixth = 'ip nexthop replace id 3221225474 via 2001:db8::2 dev eth0 onlink protocol 87'
  const routes = (nhid: number, mtu: number) =>
    ['10.84', '10.80'].map(
      (prefix) =>
        `ip route replace ${prefix}.2.0/24 nhid ${nhid} src 100.97.0.1 table 254 protocol 87 metric 87 mtu ${mtu}`,
    )
  const table: readonly (readonly [string, readonly Node[], Partial<OverlayInputs>, readonly string[]])[] = [
    [
      'on the segment',
      [n1, n2],
      { direct: { mode: 'auto', device: 'eth0', onLink } },
      [four, ...routes(2147483650, 1450)],
    ],
    ['behind a router', [n1, far], { direct: { mode: 'auto', device: 'eth0', onLink } }, []],
    [
      'always',
      [n1, n2],
      { direct: { mode: 'always', device: 'eth0', onLink: [] } },
      [four, ...routes(2147483650, 1500)],
    ],
    [
      'a path that carries less',
      [n1, n2],
      { direct: { mode: 'auto', device: 'eth0', onLink }, pathMtuBytes: new Map([[n2.name, 1400]]) },
      [four, ...routes(2147483650, 1400)],
    ],
    [
      'over IPv6 both versions',
      six,
      { direct: { mode: 'auto', device: 'eth0', onLink } },
      [sixth, ...routes(3221225474, 1430)],
    ],
  ]
  for (const [name, nodes, more, wanted] of table) {
    const { add } = planOverlay(desiredOverlay(overlaySnapshot(1, nodes), { ...inputs, ...more }), new Map())
    const lines = add.map(formatRouteOp)
    t.same(
      lines.filter((line) => / dev eth0 |nhid (2147483650|3221225474) src 100/.test(line)),
      wanted,
      name,
    )
    t.ok(
      lines.some((line) => /^ip route replace 100.97.0.2\/32 nhid 2164260866 /.test(line)),
      'VTEPs stay in VXLAN',
    )
  }
  const narrow = { ...inputs, pathMtuBytes: new Map([[n2.name, 1400]]) }
  const { add, remove } = planOverlay(
    desiredOverlay(overlaySnapshot(1, [n1, n2, n3]), narrow),
    desiredOverlay(overlaySnapshot(1, [n1, n2, n3]), inputs),
  )
  t.same(remove, [])
  t.same(
    add.map(formatRouteOp),
    toN2.filter((line) => line.includes(' route ')).map((line) => line.replace('mtu 1450', 'mtu 1350')),
    'VXLAN: 50 less of what passes, for this node alone',
  )
})

t.test('one node more at 10,000 is planned without looking at the others', async (t) => {
  const networks = [largeNetwork]
  const nodes = Array.from({ length: 10_000 }, (_, index) => allocatedNode(index + 1, networks))
  const previous = overlaySnapshot(1, nodes, networks)
  const joined = allocatedNode(10_001, networks)
  const delta = {
    ...diffSnapshots(emptyCluster, emptyCluster),
    version: 2,
    nodes: { upserts: new Map([[joined.name, joined]]), removals: new Set<never>() },
  }
  const change = { previous, next: applyDelta(previous, delta), delta }
  const times = Array.from({ length: 20 }, () => {
    const start = performance.now()
    t.equal(planOverlayChange(change, inputs).add.length, 5)
    return performance.now() - start
  })
  t.ok(Math.min(...times) < 5, `fastest of 20: ${Math.min(...times)} ms`)
})

t.test('into an empty kernel the plan without keys is the same', async (t) => {
  for (const snapshot of [emptyCluster, overlaySnapshot(1, [n2, n3]), overlaySnapshot(1, [n1, n2, n3])]) {
    t.same(planFresh(desiredObjects(snapshot, inputs)), planOverlay(desiredOverlay(snapshot, inputs), new Map()))
  }
})
