import t from 'tap'
import { type JsonObject } from '../../cni-plugins/cni/json.ts'
import { type CniResult, mergeCniResults } from '../../cni-plugins/cni/result.ts'
import { formatCniResult } from '../../cni-plugins/cni/result-format.ts'
import { parseCniResult } from '../../cni-plugins/cni/result-parse.ts'
import { type CniVersion } from '../../cni-plugins/cni/version.ts'
import { parseCidr } from '../../core/base/cidr.ts'
import { parseIp } from '../../core/base/ip.ts'

const whole: CniResult = {
  interfaces: [
    { name: 'host0', mac: '02:00:00:00:00:01', mtuBytes: 1450, socketPath: '/s', pciId: '0000:00:01.0' },
    { name: 'eth0', mac: '02:00:00:00:00:02', mtuBytes: 1450, sandbox: '/run/netns/x' },
  ],
  ips: [
    { address: parseIp('10.80.1.2'), prefixLength: 32, gateway: parseIp('169.254.1.1'), interface: 1 },
    { address: parseIp('fd00::2'), prefixLength: 128, interface: 1 },
  ],
  routes: [
    { destination: parseCidr('0.0.0.0/0'), gateway: parseIp('169.254.1.1'), mtuBytes: 1400, priority: 5, scope: 0 },
    { destination: parseCidr('::/0') },
  ],
  dns: { nameservers: ['198.51.100.1'], domain: 'mesos', search: ['a'], options: ['ndots:1'] },
}

const dns = { nameservers: ['198.51.100.1'], domain: 'mesos', search: ['a'], options: ['ndots:1'] }
const macs = ['02:00:00:00:00:01', '02:00:00:00:00:02']
const plainInterfaces = [
  { name: 'host0', mac: macs[0] },
  { name: 'eth0', mac: macs[1], sandbox: '/run/netns/x' },
]
const plainRoutes = [{ dst: '0.0.0.0/0', gw: '169.254.1.1' }, { dst: '::/0' }]
const ips = [
  { address: '10.80.1.2/32', gateway: '169.254.1.1', interface: 1 },
  { address: 'fd00::2/128', interface: 1 },
]

const golden: Readonly<Record<CniVersion, JsonObject>> = {
  '0.1.0': {
    cniVersion: '0.1.0',
    ip4: { ip: '10.80.1.2/32', gateway: '169.254.1.1', routes: [plainRoutes[0]] },
    ip6: { ip: 'fd00::2/128', routes: [plainRoutes[1]] },
    dns,
  },
  '0.2.0': {
    cniVersion: '0.2.0',
    ip4: { ip: '10.80.1.2/32', gateway: '169.254.1.1', routes: [plainRoutes[0]] },
    ip6: { ip: 'fd00::2/128', routes: [plainRoutes[1]] },
    dns,
  },
  '0.3.0': old('0.3.0'),
  '0.3.1': old('0.3.1'),
  '0.4.0': old('0.4.0'),
  '1.0.0': { cniVersion: '1.0.0', interfaces: plainInterfaces, ips, routes: plainRoutes, dns },
  '1.1.0': {
    cniVersion: '1.1.0',
    interfaces: [
      { name: 'host0', mac: macs[0], mtu: 1450, socketPath: '/s', pciID: '0000:00:01.0' },
      { name: 'eth0', mac: macs[1], sandbox: '/run/netns/x', mtu: 1450 },
    ],
    ips,
    routes: [{ dst: '0.0.0.0/0', gw: '169.254.1.1', mtu: 1400, priority: 5, scope: 0 }, { dst: '::/0' }],
    dns,
  },
}

function old(cniVersion: CniVersion): JsonObject {
  const versioned = ips.map((ip, i) => ({ version: i === 0 ? '4' : '6', ...ip }))
  return { cniVersion, interfaces: plainInterfaces, ips: versioned, routes: plainRoutes, dns }
}

t.test('a result in each version', async (t) => {
  for (const version of Object.keys(golden) as CniVersion[]) {
    t.same(formatCniResult(whole, version), golden[version], `${version} written`)
    t.same(formatCniResult(parseCniResult(golden[version]), version), golden[version], `${version} read back`)
  }
  t.same(parseCniResult(golden['1.1.0']), whole, 'nothing is lost in 1.1.0')
})

t.test('results of others', async (t) => {
  const bare = { interfaces: [], ips: [], routes: [], dns: { nameservers: [], search: [], options: [] } }
  t.same(parseCniResult({ cniVersion: '1.0.0' }), bare)
  t.same(parseCniResult({ cniVersion: '1.0.0', ips: null, dns: null, future: 1 }), bare, 'null is absent, as in Go')
  const masked = parseCniResult({ cniVersion: '1.0.0', routes: [{ dst: '10.1.2.3/8', gw: '' }] })
  t.same(masked.routes, [{ destination: '10.0.0.0/8' }])
  const merged = mergeCniResults(whole, whole)
  t.same(
    merged.ips.map((ip) => ip.interface),
    [1, 1, 3, 3],
  )
  t.equal(merged.interfaces.length, 4)
})
