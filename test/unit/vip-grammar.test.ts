import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { noResources, portsToRanges } from '../../core/model/resources.ts'
import { type DiscoveryPort } from '../../core/model/task.ts'
import { taskVips } from '../../core/model/task-vips.ts'
import { parseTaskVip, parseVipLabel, type VipSpec } from '../../core/model/vip.ts'
import { reservedVipReason } from '../../core/model/vip-reserved.ts'
import { testNetwork, testNode, testSnapshot } from '../support/lb-snapshot.ts'

const text = (spec: VipSpec) => `${spec.kind} ${spec.kind === 'named' ? spec.name : spec.address} ${spec.port}`

t.test('labels that are VIPs', async (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['/web:80', 'named web 80'],
    ['web:65535', 'named web 65535'],
    ['/Group/My_App.v2:1', 'named groupmyappv2 1'],
    [`/${'a'.repeat(63)}:80`, `named ${'a'.repeat(63)} 80`],
    ['/2048:80', 'named 2048 80'],
    ['192.0.2.1:80', 'address 192.0.2.1 80'],
    ['[fd00::1]:80', 'address fd00::1 80'],
    ['[FD00:0:0::1]:80', 'address fd00::1 80'],
    ['[::ffff:192.0.2.1]:80', 'address ::ffff:c000:201 80'],
  ]
  for (const [label, expected] of cases) t.equal(text(parseVipLabel(label)), expected, label)
  t.match(parseTaskVip('udp://[fd00::1]:53'), { protocol: 'udp', spec: { address: 'fd00::1', port: 53 } })
})

t.test('labels that are none', async (t) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['', /has no port/],
    ['/web', /has no port/],
    ['[fd00::1]', /has no port/],
    ['/web:', /port ""/],
    ['/web:0', /port "0"/],
    ['/web:080', /without leading zeros/],
    ['/web:65536', /1 to 65535/],
    ['/web:-1', /port "-1"/],
    ['/web:8 ', /port "8 "/],
    ['/web:http', /port "http"/],
    ['/:80', /no usable name/],
    ['/-web:80', /no usable name/],
    ['/web-:80', /no usable name/],
    [`/${'a'.repeat(64)}:80`, /64 characters/],
    ['/bücher:80', /"ü" in its name/],
    ['/we b:80', /" " in its name/],
    ['/web\0:80', /in its name/],
    ['/💥:80', /"💥" in its name/],
    ['fd00::1:80', /write IPv6 as \[fd00::1\]:80/],
    ['[fd00::1:80', /write IPv6 as/],
    ['fd00::1]:80', /write IPv6 as/],
    ['[fd00::g]:80', /no address/],
    ['[fd00:::1]:80', /no address/],
    ['[fe80::1%eth0]:80', /no address/],
    ['[192.0.2.1]:80', /no address/],
    ['[]:80', /no address/],
    ['192.0.2.01:80', /without leading zeros/],
    ['192.0.2.256:80', /no address/],
    ['192.0.2:80', /no address/],
    ['/192.0.2.1:80', /no address/],
    ['192.0.2.1.:80', /no address/],
  ]
  for (const [label, message] of cases) {
    t.throws(() => parseVipLabel(label), { code: 'ERR_VIP_LABEL', message }, JSON.stringify(label))
  }
  for (const label of ['/web:80', 'sctp://web:80', 'TCP://web:80']) {
    t.throws(() => parseTaskVip(label), { code: 'ERR_VIP_LABEL', message: /says no protocol/ }, label)
  }
})

t.test('the VIPs of a task, by labels of its ports and its own', async (t) => {
  const port = (number: number, labels: Record<string, string>, protocols: DiscoveryPort['protocols'] = ['tcp']) => ({
    ...{ number, labels, protocols },
  })
  const vips = (ports: readonly DiscoveryPort[], labels: Record<string, string>, hostPorts: readonly number[] = []) =>
    taskVips(
      {
        ...(ports.length === 0 ? {} : { discovery: { name: 'x', visibility: 'CLUSTER', ports } }),
        ...{ labels, ports: portsToRanges(hostPorts) },
      },
      'pass-over',
    ).map(({ port, spec }) => `${port.number} ${port.protocols} ${text(spec)}`)
  t.same(vips([port(80, { VIP_0: '/a:1', vip_b: '192.0.2.1:2', VIP: 'nonsense', other: '/b:1' })], {}), [
    '80 tcp named a 1',
    '80 tcp address 192.0.2.1 2',
  ])
  const two = [port(80, {}), port(53, {}, ['tcp', 'udp'])]
  t.same(vips(two, { VIP_PORT1: 'udp://dns:53', VIP_PORT0: 'nonsense' }), ['53 udp named dns 53'])
  t.same(vips(two, { VIP_PORT2: 'udp://dns:53', VIP_0: '/a:1' }, [1, 2, 3]), [], 'no such port; no such label')
  t.same(vips([], { VIP_PORT1: 'tcp://a:1' }, [31000, 31005]), ['31005 tcp named a 1'], 'a port it was given')
  t.throws(() => taskVips({ labels: { VIP_PORT0: 'x' }, ports: noResources.ports }, 'refuse'), {
    code: 'ERR_VIP_LABEL',
  })
})

t.test('why an address is no VIP', async (t) => {
  const users = testSnapshot(1, {
    networks: [testNetwork('dcos', 1024, '10.80.0.0/14', 'fd01:b::/64')],
    nodes: [testNode('n1', '192.0.2.1', '100.97.0.1')],
  })
  const cases: readonly (readonly [string, RegExp | undefined])[] = [
    ['198.51.100.1', /DNS/],
    ['0.0.0.0', /unspecified/],
    ['::1', /loopback/],
    ['fe80::1', /link-local/],
    ['239.1.1.1', /multicast/],
    ['255.255.255.255', /reserved/],
    ['192.0.2.1', /node "n1"/],
    ['100.97.0.1', /VTEP address of node "n1"/],
    ['10.81.0.9', /network "dcos"/],
    ['fd01:b::9', /network "dcos"/],
    ['192.0.2.2', undefined],
    ['198.51.100.4', undefined],
    ['2001:db8::1', undefined],
  ]
  for (const [address, reason] of cases) {
    const found = reservedVipReason(parseIp(address), users)
    if (reason === undefined) t.equal(found, undefined, address)
    else t.match(found, reason, address)
  }
})
