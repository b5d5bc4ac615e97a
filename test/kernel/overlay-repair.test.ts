import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { diffSnapshots } from '../../core/model/delta.ts'
import { canMakeHosts, type TestHost } from '../support/hosts.ts'
import { makeOverlayHosts, overlayDump } from '../support/overlay-hosts.ts'
import { allocatedNode, overlaySnapshot } from '../support/overlay-snapshots.ts'

const { signal } = new AbortController()
const ids = { v4: 2164260866, v6: 3238002690, blue: 2164277250 } as const

interface Damage {
  readonly name: string
  /** What somebody does by hand. */
  readonly commands: readonly string[]
  /** All that the audit says it did, in order; a pattern for each. Absent: it is a lot, see the state. */
  readonly repairs?: readonly RegExp[]
}

const damages: readonly Damage[] = [
  { name: 'device deleted', commands: ['ip link del wfv1024'] },
  { name: 'device down', commands: ['ip link set wfv1024 down'] },
  {
    name: 'device with another VNI',
    commands: ['ip link del wfv1025', 'ip link add wfv1025 type vxlan id 7 local 192.0.2.1 dstport 64000'],
  },
  { name: 'device that is no VXLAN', commands: ['ip link del wfv1025', 'ip link add wfv1025 type bridge'] },
  {
    name: 'device learning, without local address',
    commands: ['ip link del wfv1025', 'ip link add wfv1025 type vxlan id 1025 dstport 64000'],
  },
  {
    name: 'MTU, and with it that of IPv6 routes (net/ipv6/route.c, rt6_mtu_change)',
    commands: ['ip link set wfv1024 mtu 1300'],
    repairs: [
      /^ip link set dev wfv1024 mtu 1450$/,
      ...Array.from({ length: 4 }, () => /^ip route replace fd.* mtu 1450$/),
    ],
  },
  { name: 'MTU too small for IPv6', commands: ['ip link set wfv1024 mtu 1000'] },
  {
    name: 'MAC',
    commands: ['ip link set wfv1025 address 02:00:00:00:00:09'],
    repairs: [
      /^ip link set dev wfv1025 address 70:b3:d5:61:00:01$/,
      /^ip neighbour replace 100.97.0.2/,
      /^ip neighbour replace 100.97.0.3/,
    ],
  },
  {
    name: 'address; with the last one of IPv4 the neighbours go (net/ipv4/fib_frontend.c, fib_disable_ip)',
    commands: ['ip address del 100.97.0.1/32 dev wfv1025', 'ip address del fd01:a::1/128 dev wfv1025'],
    repairs: [
      /^ip address replace 100.97.0.1\/32 dev wfv1025$/,
      /^ip address replace fd01:a::1\/128 dev wfv1025/,
      /^ip neighbour replace 100.97.0.2 dev wfv1025/,
      /^ip neighbour replace 100.97.0.3 dev wfv1025/,
    ],
  },
  {
    name: 'address too much',
    commands: ['ip address add 100.97.0.9/32 dev wfv1025'],
    repairs: [/^ip address del 100.97.0.9\/32 dev wfv1025$/],
  },
  {
    name: 'neighbour',
    commands: ['ip neighbour del 100.97.0.2 dev wfv1024'],
    repairs: [/^ip neighbour replace 100.97.0.2 dev wfv1024 lladdr 70:b3:d5:61:00:02/],
  },
  {
    name: 'neighbour changed',
    commands: ['ip neighbour replace fe80::72b3:d5ff:fe61:2 lladdr 02:00:00:00:00:09 dev wfv1024 nud permanent'],
    repairs: [/^ip neighbour replace fe80::72b3:d5ff:fe61:2 dev wfv1024 lladdr 70:b3:d5:61:00:02/],
  },
  {
    name: 'FDB entry',
    commands: ['bridge fdb del 70:b3:d5:61:00:02 dev wfv1024 dst 192.0.2.2'],
    repairs: [/^bridge fdb replace 70:b3:d5:61:00:02 dev wfv1024 dst 192.0.2.2/],
  },
  {
    name: 'FDB entry changed',
    commands: ['bridge fdb replace 70:b3:d5:61:00:02 dev wfv1024 dst 192.0.2.77'],
    repairs: [/^bridge fdb replace .* dst 192.0.2.2 /, /^bridge fdb del .* dst 192.0.2.77/],
  },
  {
    name: 'FDB destination too much',
    commands: ['bridge fdb append 00:00:00:00:00:00 dev wfv1024 dst 192.0.2.77'],
    repairs: [/^bridge fdb del 00:00:00:00:00:00 dev wfv1024 dst 192.0.2.77/],
  },
  {
    name: 'nexthop, and with it its routes',
    commands: [`ip nexthop del id ${ids.v4}`],
    repairs: [
      /^ip nexthop replace id 2164260866 /,
      /^ip route replace 100.97.0.2\/32 /,
      /^ip route replace 10.80.2.0\/24 /,
    ],
  },
  {
    name: 'nexthop changed',
    commands: [`ip nexthop replace id ${ids.blue} via 100.97.0.9 dev wfv1025 onlink proto 87`],
    repairs: [/^ip nexthop replace id 2164277250 via 100.97.0.2 /],
  },
  {
    name: 'nexthop too much',
    commands: ['ip nexthop add id 2164260999 via 100.97.0.9 dev wfv1024 onlink proto 87'],
    repairs: [/^ip nexthop del id 2164260999$/],
  },
  {
    name: 'routes',
    commands: ['ip route del 10.80.2.0/24', 'ip route del fd00:80:0:2::/64'],
    repairs: [/^ip route replace 10.80.2.0\/24 /, /^ip route replace fd00:80:0:2::\/64 /],
  },
  {
    name: 'route changed',
    commands: ['ip route replace 10.80.2.0/24 nhid 2164260866 proto 87 metric 87 mtu 1300'],
    repairs: [/^ip route replace 10.80.2.0\/24 .* mtu 1450$/],
  },
  {
    name: 'routes too many',
    commands: [
      'ip route add 10.80.99.0/24 dev wfv1024 proto 87',
      `ip route add fd00:80:0:99::/64 nhid ${ids.v6} proto 87`,
    ],
    repairs: [/^ip route del 10.80.99.0\/24/, /^ip route del fd00:80:0:99::\/64/],
  },
  {
    name: 'refusals',
    commands: [
      'ip route del unreachable 10.80.0.0/14 metric 65535',
      'ip route del unreachable fd00:80::/48 metric 65535',
    ],
    repairs: [/^ip route replace unreachable 10.80.0.0\/14/, /^ip route replace unreachable fd00:80::\/48/],
  },
  {
    name: 'sysctls',
    commands: ['sysctl -qw net.ipv4.ip_forward=0', 'sysctl -qw net.ipv4.conf.wfv1024.rp_filter=1'],
    repairs: [/^sysctl -w net\/ipv4\/ip_forward=1$/, /^sysctl -w net\/ipv4\/conf\/wfv1024\/rp_filter=2$/],
  },
]

/** Things of others, made to look like ours as far as possible. */
const foreign = [
  'ip link add vx0 type vxlan id 4242 local 192.0.2.1 dstport 4789 nolearning',
  'ip link set vx0 up',
  'ip address add 203.0.113.1/24 dev vx0',
  'bridge fdb append 02:00:00:00:00:42 dev vx0 dst 192.0.2.42',
  'ip neighbour add 203.0.113.42 lladdr 02:00:00:00:00:42 dev vx0 nud permanent',
  'ip nexthop add id 7 via 203.0.113.42 dev vx0 proto static',
  'ip nexthop add id 8 via 203.0.113.43 dev vx0 proto 87',
  'ip route add 203.0.113.128/25 nhid 7',
  'ip route add 10.80.99.0/24 dev wfv1024 proto static',
  'ip route add unreachable 10.80.2.0/24 metric 4242',
  'ip route add unreachable 10.80.1.0/24 metric 4242 proto 87',
  'ip link add wfveth0 type bridge',
  'ip link set wfveth0 up',
  'ip route add 10.80.1.9 dev wfveth0 proto 87',
  'ip route add local 100.96.0.1 dev lo proto 87',
  'ip route add fd00:80:0:1::9 dev wfveth0 proto 87',
] as const

function perform(host: TestHost, commands: readonly string[]): void {
  for (const command of commands) {
    const [program = '', ...words] = command.split(' ')
    host.run(program, ...words)
  }
}

t.test('repairs', { skip: canMakeHosts }, async (t) => {
  const removals: (() => void)[] = []
  t.teardown(() => {
    for (const remove of removals.toReversed()) remove()
  })
  const [first] = makeOverlayHosts({ count: 1, underlay: 4 }, (remove) => removals.push(remove))
  if (first === undefined) throw new Error('no host')
  const { host, stage, node } = first
  const snapshot = overlaySnapshot(1, [
    node,
    ...[2, 3].map((number) => ({ ...allocatedNode(number), underlay: parseIp(`192.0.2.${number}`) })),
  ])
  await stage.audit(snapshot, { signal })
  const wanted = overlayDump(host)
  for (const { name, commands, repairs } of damages) {
    await t.test(name, async (t) => {
      perform(host, commands)
      const done = (await stage.audit(snapshot, { signal })).map(({ operation }) => operation)
      if (repairs === undefined) t.ok(done.length >= 4, done.join('\n'))
      else t.match(done, repairs)
      if (repairs !== undefined) t.equal(done.length, repairs.length, done.join('\n'))
      t.same(overlayDump(host), wanted)
      t.same(await stage.audit(snapshot, { signal }), [], 'and then nothing more')
    })
  }
  await t.test('things of others stay', async (t) => {
    perform(host, foreign)
    const before = overlayDump(host)
    perform(host, ['ip link del wfv1025', 'ip route del 10.80.3.0/24'])
    t.ok((await stage.audit(snapshot, { signal })).length > 5)
    t.same(overlayDump(host), before)
    t.same(await stage.audit(overlaySnapshot(2, []), { signal }), [], 'a snapshot without this node sweeps nothing')
    const gone = { previous: snapshot, next: overlaySnapshot(2, []) }
    const steps = stage.plan({ ...gone, delta: diffSnapshots(gone.previous, gone.next) })
    await steps.remove({ signal })
    const rest = overlayDump(host)
    t.same(
      before
        .filter((line) => !rest.includes(line))
        .filter((line) => !/wfv102[45]|^unreachable .* metric 65535/.test(line)),
      [],
    )
    t.same(
      rest.filter((line) => !before.includes(line)),
      [],
    )
    t.ok(rest.length >= foreign.length - 3, rest.join('\n'))
  })
})
