import t, { type Test } from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { AppError } from '../../core/base/errors.ts'
import { parseIp } from '../../core/base/ip.ts'
import { parseMac } from '../../core/model/ids.ts'
import { type LinkSpec, type OpOutcome, type RouteOp, type RouteSocket } from '../../networking/netlink/ops.ts'
import { openRouteSocket } from '../../networking/netlink/route-socket.ts'
import { openFakeRouteSocket } from '../support/fake-route-socket.ts'
import { canMakeHosts, makeHost } from '../support/hosts.ts'

/** What a call must do to be taken for a route socket: of the kernel, or of the fake that stands for it. */
type Case = (t: Test, routes: RouteSocket) => Promise<void>

const vtep = parseIp('100.97.0.1')
const gateway = parseIp('100.97.0.2')
const mac = parseMac('70:b3:d5:61:00:02')
const protocol = 87
const vxlan: LinkSpec = {
  type: 'vxlan',
  name: 'wfv7',
  vni: 7,
  local: parseIp('198.18.0.1'),
  udpPort: 64000,
  learning: false,
  mtuBytes: 1450,
  mac: parseMac('70:b3:d5:61:00:01'),
}
const device = vxlan.name
const up: RouteOp = { kind: 'link.set', name: device, change: { state: 'up' } }
const address = { device, address: vtep, prefixLength: 32 }
const neighbour = { device, address: gateway, mac }
const fdb = { device, mac, destination: parseIp('198.18.0.2') }
const nexthop = { id: 0x80000007, device, gateway, family: 4, onlink: true, protocol } as const
const gateway6 = parseIp('fe80::72b3:d5ff:fe61:2')
const nexthop6 = { ...nexthop, id: 0xc0000007, gateway: gateway6, family: 6 } as const
const common = { type: 'unicast', protocol, table: 254, metric: 87, mtuBytes: 1450 } as const
const route = { ...common, destination: parseCidr('10.80.2.0/24'), nexthopId: nexthop.id, preferredSource: vtep }
const route6 = { ...common, destination: parseCidr('fd00:80::/64'), nexthopId: nexthop6.id }
const refusal = {
  destination: parseCidr('10.80.0.0/14'),
  type: 'unreachable',
  protocol,
  table: 254,
  metric: 65535,
} as const

/** Everything that leads to one remote node, in an order in which it can be made. */
const path: readonly RouteOp[] = [
  { kind: 'link.add', link: vxlan },
  up,
  { kind: 'address.replace', address },
  { kind: 'fdb.replace', fdb },
  { kind: 'neighbour.replace', neighbour },
  { kind: 'neighbour.replace', neighbour: { ...neighbour, address: gateway6 } },
  { kind: 'nexthop.replace', nexthop },
  { kind: 'nexthop.replace', nexthop: nexthop6 },
  { kind: 'route.replace', route },
  { kind: 'route.replace', route: route6 },
]

/** `ok`, or the code of the error. */
function codes(outcomes: readonly OpOutcome[]): readonly string[] {
  return outcomes.map((outcome) => {
    if (outcome.ok) return 'ok'
    return outcome.error instanceof AppError ? outcome.error.code : `not an AppError: ${outcome.error}`
  })
}

async function ok(t: Test, routes: RouteSocket, ops: readonly RouteOp[]): Promise<void> {
  t.same(
    codes(await routes.perform(ops)),
    ops.map(() => 'ok'),
  )
}

const ours = async (routes: RouteSocket) => routes.routes({ protocol })
const on = (name: string) => (item: { readonly device: string }) => item.device === name

const cases: Readonly<Record<string, Case>> = {
  'a VXLAN device is told with all that was asked for': async (t, routes) => {
    await ok(t, routes, [{ kind: 'link.add', link: vxlan }])
    const { type, name, mtuBytes, mac, vni, local, udpPort, learning } = vxlan
    const data = { vni, local, udpPort, learning, deviceIndex: 0 }
    t.match(await routes.link(device), { type, name, mtuBytes, mac, up: false, vxlan: data })
    t.equal((await routes.links()).filter(({ name }) => name === device).length, 1)
  },
  'a device can be changed, renamed and deleted': async (t, routes) => {
    const other = parseMac('70:b3:d5:61:00:09')
    await ok(t, routes, [
      { kind: 'link.add', link: vxlan },
      { kind: 'link.set', name: device, change: { mtuBytes: 1400, mac: other, state: 'up', group: 5 } },
    ])
    t.match(await routes.link(device), { mtuBytes: 1400, mac: other, up: true, group: 5 })
    await ok(t, routes, [{ kind: 'link.set', name: device, change: { state: 'down' } }])
    await ok(t, routes, [{ kind: 'link.set', name: device, change: { name: 'wfv8' } }])
    t.equal(await routes.link(device), undefined)
    t.match(await routes.link('wfv8'), { name: 'wfv8', up: false, vxlan: { vni: 7 } })
    await ok(t, routes, [{ kind: 'link.del', name: 'wfv8' }])
    t.equal(await routes.link('wfv8'), undefined)
  },
  'a veth pair and a bridge': async (t, routes) => {
    await ok(t, routes, [
      { kind: 'link.add', link: { type: 'bridge', name: 'wfb0' } },
      {
        kind: 'link.add',
        link: { type: 'veth', name: 'wfa', mtuBytes: 1400, mac, peer: { name: 'wfb', mtuBytes: 1400 } },
      },
    ])
    const masterIndex = (await routes.link('wfb0'))?.index ?? 0
    await ok(t, routes, [{ kind: 'link.set', name: 'wfa', change: { masterIndex } }])
    t.match(await routes.link('wfa'), { type: 'veth', mac, mtuBytes: 1400, masterIndex })
    t.match(await routes.link('wfb'), { type: 'veth', mtuBytes: 1400, masterIndex: 0 })
    await ok(t, routes, [{ kind: 'link.set', name: 'wfa', change: { masterIndex: 0 } }])
    t.match(await routes.link('wfa'), { masterIndex: 0 })
  },
  'a path is told as it was made, and making it twice changes nothing': async (t, routes) => {
    for (const ops of [path, path.slice(1)]) {
      await ok(t, routes, ops)
      t.match(
        (await routes.addresses()).filter((each) => each.address === vtep),
        [address],
      )
      const found = (await routes.neighbours()).filter(({ permanent }) => permanent).filter(on(device))
      t.match(
        found.toSorted((a, b) => (a.address ?? '').localeCompare(b.address ?? '')),
        [
          { address: gateway, mac, permanent: true },
          { address: gateway6, mac, permanent: true },
        ],
      )
      t.match((await routes.fdb()).filter(on(device)), [{ mac, destination: fdb.destination, permanent: true }])
      t.match(
        (await routes.nexthops()).toSorted((a, b) => a.id - b.id),
        [nexthop, nexthop6],
      )
      t.match(
        (await ours(routes)).toSorted((a, b) => a.destination.localeCompare(b.destination)),
        [route, route6],
      )
    }
  },
  'a replace puts the new one in the place of the old': async (t, routes) => {
    const elsewhere = parseIp('198.18.0.3')
    const other = { ...nexthop, id: 0x80000008, gateway: parseIp('100.97.0.3') }
    await ok(t, routes, path)
    await ok(t, routes, [
      { kind: 'fdb.replace', fdb: { ...fdb, destination: elsewhere } },
      { kind: 'neighbour.replace', neighbour: { ...neighbour, mac: parseMac('70:b3:d5:61:00:03') } },
      { kind: 'nexthop.replace', nexthop: other },
      { kind: 'nexthop.replace', nexthop: { ...nexthop, gateway: parseIp('100.97.0.4') } },
      { kind: 'route.replace', route: { ...route, nexthopId: other.id, mtuBytes: 1400 } },
    ])
    t.same(
      (await routes.fdb()).filter(on(device)).map(({ destination }) => destination),
      [elsewhere],
    )
    t.match(
      (await routes.neighbours()).find(({ address }) => address === gateway),
      { mac: '70:b3:d5:61:00:03' },
    )
    t.match(
      (await routes.nexthops()).find(({ id }) => id === nexthop.id),
      { gateway: '100.97.0.4' },
    )
    const found = (await ours(routes)).filter(({ destination }) => destination === route.destination)
    t.match(found, [{ nexthopId: other.id, mtuBytes: 1400 }])
  },
  'routes are told apart by metric, type and protocol': async (t, routes) => {
    await ok(t, routes, path)
    await ok(t, routes, [
      { kind: 'route.replace', route: refusal },
      { kind: 'route.replace', route: { ...refusal, destination: parseCidr('fd00:80::/48') } },
      { kind: 'route.replace', route: { ...route, protocol: 4, metric: 5 } },
    ])
    t.equal((await ours(routes)).length, 4)
    const refusals = (await ours(routes)).filter(({ type }) => type === 'unreachable')
    t.match(refusals, [{ metric: 65535 }, { metric: 65535 }])
    t.match(await routes.routes({ protocol: 4 }), [{ destination: route.destination, metric: 5, protocol: 4 }])
    await ok(t, routes, [
      { kind: 'route.del', route: refusal },
      { kind: 'route.del', route },
    ])
    t.equal((await ours(routes)).length, 2)
    t.equal((await routes.routes({ protocol: 4 })).length, 1)
  },
  deletions: async (t, routes) => {
    const { destination, metric, table, type } = route
    await ok(t, routes, path)
    const deletions: readonly RouteOp[] = [
      { kind: 'route.del', route: { destination, metric, table, type, protocol } },
      { kind: 'nexthop.del', id: nexthop.id },
      { kind: 'neighbour.del', neighbour },
      { kind: 'fdb.del', fdb },
      { kind: 'address.del', address },
    ]
    await ok(t, routes, deletions)
    t.equal((await ours(routes)).length, 1)
    t.match(await routes.nexthops(), [nexthop6])
    t.same((await routes.fdb()).filter(on(device)), [])
    t.same(
      (await routes.addresses()).filter(({ address }) => address === vtep),
      [],
    )
    const outcomes = codes(await routes.perform([...deletions, { kind: 'link.del', name: 'wfv9' }]))
    const absent = ['ESRCH', 'ENOENT', 'ENOENT', 'ENOENT', 'EADDRNOTAVAIL', 'ENODEV']
    t.same(
      outcomes.map((code, index) => code === 'ok' || code === `ERR_NETLINK_${absent[index]}`),
      absent.map(() => true),
      `absence: ${outcomes}`,
    )
  },
  'a refused op does not stop the next, and says why': async (t, routes) => {
    const unknown = { ...route, nexthopId: 99 }
    const outcomes = await routes.perform([
      { kind: 'link.add', link: vxlan },
      { kind: 'link.add', link: vxlan },
      { kind: 'nexthop.replace', nexthop },
      up,
      { kind: 'route.replace', route: unknown },
      { kind: 'address.replace', address: { ...address, device: 'wfv9' } },
      { kind: 'address.replace', address },
    ])
    t.same(codes(outcomes), [
      'ok',
      'ERR_NETLINK_EEXIST',
      'ERR_NETLINK_ENETDOWN',
      'ok',
      'ERR_NETLINK_EINVAL',
      'ERR_NETLINK_ENODEV',
      'ok',
    ])
  },
  'what depends on a thing goes with it': async (t, routes) => {
    await ok(t, routes, [...path, { kind: 'nexthop.del', id: nexthop.id }])
    t.match(await ours(routes), [{ destination: route6.destination }], 'routes with their nexthop')
    await ok(t, routes, [{ kind: 'link.set', name: device, change: { state: 'down' } }])
    t.same([await routes.nexthops(), await ours(routes)], [[], []], 'nexthops and routes with the state')
    await ok(t, routes, path.slice(1))
    await ok(t, routes, [{ kind: 'link.set', name: device, change: { mac: parseMac('70:b3:d5:61:00:09') } }])
    t.same(
      (await routes.neighbours()).filter(({ permanent, device: name }) => permanent && name === device),
      [],
      'neighbours with the MAC',
    )
    await ok(t, routes, [...path.slice(1), { kind: 'link.del', name: device }])
    t.same([await routes.nexthops(), await ours(routes)], [[], []], 'and all with the device')
    t.same((await routes.fdb()).filter(on(device)), [])
    t.same((await routes.addresses()).filter(on(device)), [])
  },
}

for (const [name, run] of Object.entries(cases)) {
  t.test(`fake: ${name}`, async (t) => run(t, openFakeRouteSocket()))
  t.test(`kernel: ${name}`, { skip: canMakeHosts }, async (t) => {
    const host = makeHost('routes')
    t.teardown(() => host.remove())
    const routes = openRouteSocket({ netns: host.path })
    t.teardown(() => routes.close())
    await run(t, routes)
  })
}
