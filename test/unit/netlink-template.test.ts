import t from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { parseIp } from '../../core/base/ip.ts'
import { parseMac } from '../../core/model/ids.ts'
import { formatRouteOp } from '../../networking/netlink/format.ts'
import { type NetlinkRequest } from '../../networking/netlink/message.ts'
import { type NexthopSpec, type RouteOp, type RouteSpec } from '../../networking/netlink/ops.ts'
import { routeOpRequest } from '../../networking/netlink/route-op.ts'
import { openRequestMaker } from '../../networking/netlink/template.ts'
import { Writer } from '../../networking/netlink/writer.ts'

const macs = ['70:b3:d5:61:00:02', '02:ff:00:0a:10:99', '00:00:00:00:00:00'].map(parseMac)
const addresses = ['100.97.0.2', '255.255.255.255', '0.0.0.0', 'fd01:a::2', '10.9.8.7'].map(parseIp)
const devices = ['wfv1024', 'wfv1025', 'eth0', 'wfv3', 'wfv4', 'wfv5']

const neighbours = devices.flatMap((device) =>
  addresses.flatMap((address) =>
    macs.map((mac): RouteOp => ({ kind: 'neighbour.replace', neighbour: { device, address, mac } })),
  ),
)
const fdb = devices.flatMap((device) =>
  addresses.flatMap((destination) =>
    macs.map((mac): RouteOp => ({ kind: 'fdb.replace', fdb: { device, mac, destination } })),
  ),
)
const nexthops = devices.flatMap((device) => {
  const common = { device, protocol: 87 }
  const specs: readonly Omit<NexthopSpec, 'id'>[] = [
    ...addresses.map(
      (gateway) => ({ ...common, gateway, family: gateway.includes(':') ? 6 : 4, onlink: true }) as const,
    ),
    { ...common, gateway: parseIp('192.0.2.7'), family: 4 },
    { ...common, family: 4 },
    { ...common, protocol: 88, gateway: parseIp('192.0.2.8'), family: 4, onlink: true },
  ]
  return specs.flatMap((spec) =>
    [1, 0xffffffff].map((id): RouteOp => ({ kind: 'nexthop.replace', nexthop: { ...spec, id } })),
  )
})

const through = { type: 'unicast', protocol: 87, nexthopId: 2164260866, table: 254, metric: 87 } as const
const variants: readonly Omit<RouteSpec, 'destination'>[] = [
  through,
  { ...through, nexthopId: 0x80000001 },
  { ...through, mtuBytes: 1450 },
  { ...through, mtuBytes: 1400 },
  { ...through, mtuBytes: 1450, preferredSource: parseIp('100.97.0.1') },
  { ...through, table: 1000 },
  { ...through, metric: 88 },
  { ...through, protocol: 88 },
  { ...through, scope: 'link' },
  { type: 'unicast', protocol: 87, device: 'eth0' },
  { type: 'unicast', protocol: 87, device: 'eth0', gateway: parseIp('192.0.2.1'), onlink: true },
  { type: 'unreachable', protocol: 87, metric: 65535 },
]
const prefixes = ['10.80.2.0/24', '100.97.0.2/32', '10.84.0.0/16', '0.0.0.0/0', '10.80.3.0/24', '10.0.0.0/8'].map(
  parseCidr,
)
const routes = variants.flatMap((route) =>
  prefixes.map((destination): RouteOp => ({ kind: 'route.replace', route: { ...route, destination } })),
)

function octets({ type, flags, write }: NetlinkRequest): string {
  const writer = new Writer(16)
  write(writer)
  return `${type} ${flags} ${writer.copy().toString('hex')}`
}

const index = (device: string) => devices.indexOf(device) + 7

/** Twice in order, then with the kinds and shapes mixed (by a fixed stride), so that templates come and go. */
function orders(ops: readonly RouteOp[]): readonly RouteOp[] {
  const stride = 37
  const mixed = ops.map((_, at) => ops[(at * stride) % ops.length]).filter((op) => op !== undefined)
  return [...ops, ...ops, ...mixed]
}

t.test('copies of templates are what the tables write', async (t) => {
  const all = orders([...neighbours, ...fdb, ...nexthops, ...routes])
  const maker = openRequestMaker(index)
  const wrong = all.filter((op) => octets(maker.request(op)) !== octets(routeOpRequest(op, index)))
  t.same(wrong.map(formatRouteOp), [])
  t.ok(all.length > 1000, `${all.length} requests`)
})

t.test('a device with another index, once forgotten', async (t) => {
  let eth0 = 2
  const maker = openRequestMaker(() => eth0)
  const [op] = neighbours
  if (op === undefined) throw new Error('no op')
  const before = octets(maker.request(op))
  eth0 = 3
  t.equal(octets(maker.request(op)), before)
  maker.forget()
  t.equal(octets(maker.request(op)), octets(routeOpRequest(op, () => 3)))
})

t.test('a value that fits no field is refused, by the first and by a copy', async (t) => {
  const maker = openRequestMaker(index)
  const nexthop = (id: number): RouteOp => ({
    kind: 'nexthop.replace',
    nexthop: { id, device: 'eth0', gateway: parseIp('192.0.2.1'), family: 4, protocol: 87 },
  })
  t.throws(() => octets(maker.request(nexthop(2 ** 32))), RangeError)
  octets(maker.request(nexthop(1)))
  t.throws(() => octets(maker.request(nexthop(2 ** 32))), RangeError)
})
