import t from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { parseIp } from '../../core/base/ip.ts'
import { parseMac } from '../../core/model/ids.ts'
import { hostLinkName, interfaceMac, isHostLinkName } from '../../networking/attach/names.ts'
import {
  type AttachSpec,
  gatewayRoutes,
  hostSettings,
  insideSettings,
  planHostEnd,
  planHostRoutes,
  planInside,
  planLink,
} from '../../networking/attach/plan.ts'
import { formatRouteOp } from '../../networking/netlink/format.ts'

const both: AttachSpec = {
  hostLink: 'wfcaaaaaaaaaaaa',
  hostMac: parseMac('02:00:00:00:00:01'),
  ifname: 'eth0',
  mac: parseMac('02:00:00:00:00:02'),
  mtuBytes: 1450,
  addresses: [parseIp('10.80.1.2'), parseIp('fd00:77:0:1::2')],
  wholeSubnets: [parseCidr('10.80.0.0/14'), parseCidr('fd00:77::/48')],
}
const four: AttachSpec = { ...both, ifname: 'eth1', addresses: [parseIp('10.80.1.2')] }

const commands = (spec: AttachSpec, taken: readonly (4 | 6)[]) => [
  ...planLink(spec, 9).map(formatRouteOp),
  ...hostSettings(spec).map(({ path, value }) => `${path}=${value}`),
  ...insideSettings(spec).map(({ path, value }) => `${path}=${value}`),
  ...planHostEnd(spec).map(formatRouteOp),
  ...planInside(spec, gatewayRoutes(spec, new Set(taken))).map(formatRouteOp),
  ...planHostRoutes(spec).map(formatRouteOp),
]

t.test('a first interface, both IP versions', async (t) => {
  t.same(commands(both, []), [
    'ip link add wfcaaaaaaaaaaaa address 02:00:00:00:00:01 mtu 1450 type veth peer name eth0 address 02:00:00:00:00:02 mtu 1450 netns /proc/self/fd/9',
    'ipv4/conf/wfcaaaaaaaaaaaa/forwarding=1',
    'ipv4/conf/wfcaaaaaaaaaaaa/rp_filter=0',
    'ipv6/conf/wfcaaaaaaaaaaaa/disable_ipv6=0',
    'ipv6/conf/wfcaaaaaaaaaaaa/addr_gen_mode=1',
    'ipv6/conf/wfcaaaaaaaaaaaa/accept_ra=0',
    'ipv6/conf/wfcaaaaaaaaaaaa/forwarding=1',
    'ipv6/conf/eth0/disable_ipv6=0',
    'ipv6/conf/eth0/accept_dad=0',
    'ipv6/conf/eth0/accept_ra=0',
    'ip link set dev wfcaaaaaaaaaaaa up',
    'ip address replace fe80::1/64 dev wfcaaaaaaaaaaaa scope link nodad',
    'ip link set dev lo up',
    'ip link set dev eth0 up',
    'ip address replace 10.80.1.2/32 dev eth0',
    'ip address replace fd00:77:0:1::2/128 dev eth0 nodad',
    'ip neighbour replace 169.254.1.1 dev eth0 lladdr 02:00:00:00:00:01 nud permanent',
    'ip neighbour replace fe80::1 dev eth0 lladdr 02:00:00:00:00:01 nud permanent',
    'ip route replace 169.254.1.1/32 dev eth0 scope link protocol 87',
    'ip route replace 0.0.0.0/0 via 169.254.1.1 dev eth0 protocol 87 onlink',
    'ip route replace ::/0 via fe80::1 dev eth0 protocol 87',
    'ip route replace 10.80.1.2/32 dev wfcaaaaaaaaaaaa scope link protocol 87',
    'ip route replace fd00:77:0:1::2/128 dev wfcaaaaaaaaaaaa protocol 87',
  ])
})

t.test('a second interface leads to its own network only', async (t) => {
  t.same(commands(four, [4]), [
    'ip link add wfcaaaaaaaaaaaa address 02:00:00:00:00:01 mtu 1450 type veth peer name eth1 address 02:00:00:00:00:02 mtu 1450 netns /proc/self/fd/9',
    'ipv4/conf/wfcaaaaaaaaaaaa/forwarding=1',
    'ipv4/conf/wfcaaaaaaaaaaaa/rp_filter=0',
    'ipv6/conf/wfcaaaaaaaaaaaa/disable_ipv6=1',
    'ip link set dev wfcaaaaaaaaaaaa up',
    'ip link set dev lo up',
    'ip link set dev eth1 up',
    'ip address replace 10.80.1.2/32 dev eth1',
    'ip neighbour replace 169.254.1.1 dev eth1 lladdr 02:00:00:00:00:01 nud permanent',
    'ip route replace 10.80.0.0/14 via 169.254.1.1 dev eth1 protocol 87 onlink',
    'ip route replace 10.80.1.2/32 dev wfcaaaaaaaaaaaa scope link protocol 87',
  ])
})

t.test('names and addresses', async (t) => {
  const identities = Array.from({ length: 5000 }, (_, i) => ({ containerId: `c${i}`, ifname: 'eth0' }))
  const names = new Set(identities.map(hostLinkName))
  t.equal(names.size, 5000)
  t.ok([...names].every((name) => isHostLinkName(name) && name.length === 15))
  t.equal(hostLinkName({ containerId: 'a', ifname: 'eth0' }), hostLinkName({ containerId: 'a', ifname: 'eth0' }))
  t.not(hostLinkName({ containerId: 'a', ifname: 'eth0' }), hostLinkName({ containerId: 'a', ifname: 'eth1' }))
  for (const name of ['wfv1024', 'wfc', 'eth0', 'wfcAAAAAAAAAAAA', 'wfcaaaaaaaaaaaaa'])
    t.notOk(isHostLinkName(name), name)
  const macs = identities.flatMap((identity) => [interfaceMac('host', identity), interfaceMac('container', identity)])
  t.equal(new Set(macs).size, 10_000)
  t.ok(
    macs.every((mac) => /^.[26ae]:/.test(mac)),
    'locally administered, unicast',
  )
})
