import { execFileSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import t from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { parseIp } from '../../core/base/ip.ts'
import { parseMac } from '../../core/model/ids.ts'
import { formatRouteOp } from '../../networking/netlink/format.ts'
import { openGenericSocket } from '../../networking/netlink/genl.ts'
import { type OpOutcome, type RouteOp, type RouteSocket } from '../../networking/netlink/ops.ts'
import { openRouteSocket } from '../../networking/netlink/route-socket.ts'
import { linkOps, routeOps } from '../fixtures/netlink/ops.ts'
import { canMakeHosts, makeHost, makeSegment, type TestHost } from '../support/hosts.ts'

type TapTest = Pick<typeof t, 'teardown'>

const skip = canMakeHosts

/** A namespace with a socket in it; both go with the test. */
function hostWithSocket(t: TapTest, label: string): { readonly host: TestHost; readonly socket: RouteSocket } {
  const host = makeHost(label)
  t.teardown(() => host.remove())
  const socket = openRouteSocket({ netns: host.path })
  t.teardown(() => socket.close())
  return { host, socket }
}

/** The devices that the ops of the fixtures expect, with fixed addresses. */
function addDevices(host: TestHost): void {
  for (const command of [
    'link add dev0 address 02:00:00:00:00:d0 type veth peer name dev1 address 02:00:00:00:00:d1',
    'link set dev0 up',
    'link set dev1 up',
    'address add 10.1.0.1/24 dev dev0',
    'address add fd00:1::2/64 dev dev0 nodad',
    'link add vx0 address 02:00:00:00:00:f0 type vxlan id 7 local 10.1.0.1 dstport 64000 nolearning',
    'link set vx0 up',
  ]) {
    host.run('ip', ...command.split(' '))
  }
}

function codes(outcomes: readonly OpOutcome[]): readonly unknown[] {
  return outcomes.map((outcome) => (outcome.ok ? 'ok' : 'code' in outcome.error ? outcome.error.code : outcome.error))
}

/** All that `ip` tells of the host, without what chance decides. */
function told(host: TestHost): Readonly<Record<string, unknown>> {
  const read = (...args: readonly string[]): Record<string, unknown>[] => JSON.parse(host.run(...toolOf(args)))
  const chosen = new Set(['dev0', 'dev1', 'vx0', 'va', 'vb', 'vz'])
  return {
    links: read('ip', '-j', '-d', 'link').map((link) => ({
      ...link,
      ...(chosen.has(String(link['ifname'])) ? {} : { address: '', linkinfo: undefined }),
      // The kernel works these out a moment later.
      operstate: undefined,
      flags: Array.isArray(link['flags']) && link['flags'].includes('UP'),
    })),
    addresses: read('ip', '-j', 'address').map((link) => ({
      name: link['ifname'],
      addresses: JSON.stringify(link['addr_info'])
        .split('},{')
        .filter((text) => !text.includes('fe80')),
    })),
    routes: [4, 6].map((family) => read('ip', '-j', `-${family}`, 'route', 'show', 'table', 'all', 'proto', '87')),
    nexthops: read('ip', '-j', 'nexthop'),
    neighbours: read('ip', '-j', 'neighbour', 'show', 'nud', 'permanent'),
    fdb: read('bridge', '-j', 'fdb').filter((entry) => entry['dst'] !== undefined),
  }
}

function toolOf(args: readonly string[]): [string, ...string[]] {
  const [tool = '', ...rest] = args
  return [tool, ...rest]
}

/** All that we read, without what chance decides. */
async function read(socket: RouteSocket): Promise<unknown> {
  return {
    links: (await socket.links()).map((link) => ({ ...link, mac: /^vx[12]/.test(link.name) ? '' : link.mac })),
    addresses: (await socket.addresses()).filter(({ address }) => !address.startsWith('fe80')),
    neighbours: (await socket.neighbours()).filter(({ permanent }) => permanent),
    fdb: (await socket.fdb()).filter(({ destination }) => destination !== undefined),
    nexthops: await socket.nexthops(),
    routes: await socket.routes({ protocol: 87 }),
  }
}

t.test('ops leave the same behind as the commands that they print', { skip }, async (t) => {
  const ours = hostWithSocket(t, 'ours')
  const theirs = hostWithSocket(t, 'theirs')
  addDevices(ours.host)
  addDevices(theirs.host)
  const fd = openSync(ours.host.path, 'r')
  t.teardown(() => closeSync(fd))
  const bridgeless = linkOps.filter((op) => op.kind !== 'link.add' || op.link.type !== 'bridge')
  const changes: readonly RouteOp[] = [
    {
      kind: 'link.set',
      name: 'vz',
      change: { state: 'up', mtuBytes: 1390, mac: parseMac('02:00:00:00:00:1a'), group: 7 },
    },
    { kind: 'link.set', name: 'vb', change: { state: 'up' } },
  ]
  const made = [...bridgeless, ...changes, ...routeOps]
  for (const op of made) {
    const own = op.kind === 'link.add' && op.link.type === 'veth' ? withPeerIn(op, fd) : op
    t.same(codes(await ours.socket.perform([own])), ['ok'], formatRouteOp(op))
    try {
      theirs.host.run('sh', '-c', formatRouteOp(op).replace('/proc/self/fd/4', '/proc/self/ns/net'))
    } catch (error) {
      // ip calls it an error that there is nothing to delete; an op does not.
      if (!op.kind.endsWith('.del')) throw error
    }
  }
  const state = await read(ours.socket)
  t.same(told(ours.host), told(theirs.host), 'ip reads the same from both')
  t.same(state, await read(theirs.socket), 'we read the same from both')
  t.ok(JSON.stringify(state).length > 3000, 'and it is not nothing')

  t.same(
    new Set(codes(await ours.socket.perform(made.filter(({ kind }) => !kind.startsWith('link.'))))),
    new Set(['ok']),
  )
  t.same(await read(ours.socket), state, 'doing it again changes nothing')
  const again = await ours.socket.perform(bridgeless.filter(({ kind }) => kind === 'link.add').slice(1))
  t.same(codes(again), ['ERR_NETLINK_EEXIST', 'ERR_NETLINK_EEXIST'])
})

function withPeerIn(op: Extract<RouteOp, { kind: 'link.add' }>, netnsFd: number): RouteOp {
  return op.link.type === 'veth' ? { ...op, link: { ...op.link, peer: { ...op.link.peer, netnsFd } } } : op
}

t.test('what was read can be removed by what was read, twice', { skip }, async (t) => {
  const { host, socket } = hostWithSocket(t, 'remove')
  addDevices(host)
  const makes = routeOps.filter(({ kind }) => kind.endsWith('.replace'))
  t.same(new Set(codes(await socket.perform(makes))), new Set(['ok']))
  const routes = await socket.routes({ protocol: 87 })
  const fdb = (await socket.fdb()).filter(({ destination }) => destination !== undefined)
  const neighbours = (await socket.neighbours()).filter(({ permanent }) => permanent)
  const removals: readonly RouteOp[] = [
    ...routes.map((route) => ({ kind: 'route.del' as const, route })),
    ...(await socket.nexthops()).map(({ id }) => ({ kind: 'nexthop.del' as const, id })),
    ...neighbours.flatMap(({ device, address, mac }) =>
      address && mac ? [{ kind: 'neighbour.del' as const, neighbour: { device, address, mac } }] : [],
    ),
    ...fdb.flatMap(({ device, mac, destination }) =>
      mac && destination ? [{ kind: 'fdb.del' as const, fdb: { device, mac, destination } }] : [],
    ),
    ...(await socket.addresses())
      .filter(({ device }) => device === 'dev0')
      .map((address) => ({ kind: 'address.del' as const, address })),
    { kind: 'link.del', name: 'dev0' },
    { kind: 'link.del', name: 'vx0' },
  ]
  t.ok(removals.length > 15)
  for (const round of ['first', 'second']) {
    t.same(new Set(codes(await socket.perform(removals))), new Set(['ok']), `${round} time`)
  }
  t.same(
    (await socket.links()).map(({ name }) => name),
    ['lo'],
  )
  t.same(await socket.routes({ protocol: 87 }), [])
  t.same(await socket.nexthops(), [])
})

t.test('a batch may use the links that it makes, renames and removes', { skip }, async (t) => {
  const { host, socket } = hostWithSocket(t, 'batch')
  const neighbour = (device: string): RouteOp => ({
    kind: 'neighbour.replace',
    neighbour: { device, address: parseIp('10.1.0.9'), mac: parseMac('02:00:00:00:00:09') },
  })
  const outcomes = await socket.perform([
    neighbour('va'),
    { kind: 'link.add', link: { type: 'veth', name: 'va', peer: { name: 'vb' } } },
    neighbour('va'),
    { kind: 'link.set', name: 'va', change: { name: 'vc' } },
    neighbour('va'),
    neighbour('vc'),
    { kind: 'link.del', name: 'vc' },
    neighbour('vc'),
    { kind: 'link.add', link: { type: 'bridge', name: 'vc', mtuBytes: 1400 } },
    { kind: 'address.replace', address: { device: 'vc', address: parseIp('10.9.0.1'), prefixLength: 24 } },
  ])
  const missing = 'ERR_NETLINK_ENODEV'
  t.same(codes(outcomes), [missing, 'ok', 'ok', 'ok', missing, 'ok', 'ok', missing, 'ok', 'ok'])
  t.match(JSON.parse(host.run('ip', '-j', 'address', 'show', 'vc')), [
    { mtu: 1400, addr_info: [{ local: '10.9.0.1' }] },
  ])
  t.equal(await socket.link('va'), undefined)
})

t.test('2,000 ops with refusals among them: each outcome in its place', { skip }, async (t) => {
  const { host, socket } = hostWithSocket(t, 'many')
  addDevices(host)
  const ops = Array.from({ length: 2000 }, (_, i): RouteOp => {
    const address = parseIp(`10.1.${i >> 8}.${i & 255}`)
    const device = i % 400 === 3 ? 'missing' : 'dev0'
    if (i % 100 !== 7)
      return { kind: 'neighbour.replace', neighbour: { device, address, mac: parseMac('02:00:00:00:00:09') } }
    const route = { destination: parseCidr('10.7.0.0/24'), type: 'unicast', protocol: 87, device: 'dev0' } as const
    return { kind: 'route.replace', route: { ...route, gateway: parseIp('192.0.2.1') } }
  })
  const outcomes = codes(await socket.perform(ops))
  const expected = ops.map((_, i) =>
    i % 100 === 7 ? 'ERR_NETLINK_ENETUNREACH' : i % 400 === 3 ? 'ERR_NETLINK_ENODEV' : 'ok',
  )
  t.same(outcomes, expected)
  t.equal((await socket.neighbours()).filter(({ permanent }) => permanent).length, 1975)
  const all = await socket.perform(Array.from({ length: 3000 }, () => ops[7] ?? { kind: 'nexthop.del', id: 1 }))
  t.same(new Set(codes(all)), new Set(['ERR_NETLINK_ENETUNREACH']), 'and when nothing but refusals comes back')
})

t.test('an unprivileged receive buffer is enough for nothing but refusals', { skip }, async (t) => {
  const { host } = hostWithSocket(t, 'userns')
  // A user namespace of its own: SO_RCVBUFFORCE is refused there.
  const script = `
    import { openRouteSocket } from './networking/netlink/route-socket.ts'
    const ops = Array.from({ length: 3000 }, () => ({ kind: 'nexthop.replace', nexthop: { id: 1, device: 'lo', family: 4, gateway: '192.0.2.1', protocol: 87 } }))
    const outcomes = await openRouteSocket().perform(ops)
    console.log(JSON.stringify([...new Set(outcomes.map((outcome) => outcome.error?.code))]))`
  const output = execFileSync(
    'nsenter',
    [`--net=${host.path}`, 'unshare', '-rn', process.execPath, '--input-type=module-typescript', '-e', script],
    { encoding: 'utf8' },
  )
  t.match(JSON.parse(output), [/^ERR_NETLINK_(ENETDOWN|EHOSTUNREACH|ENETUNREACH|EINVAL)$/])
})

t.test('refusals say what was attempted and why', { skip }, async (t) => {
  const { host, socket } = hostWithSocket(t, 'refusals')
  addDevices(host)
  const nexthop = { id: 9, device: 'dev0', family: 4, protocol: 87 } as const
  const cases = [
    {
      op: { kind: 'nexthop.replace', nexthop: { ...nexthop, gateway: parseIp('192.0.2.1') } },
      code: 'ERR_NETLINK_ENETUNREACH',
      details: { extendedAck: /gateway/ },
    },
    {
      op: {
        kind: 'route.replace',
        route: { destination: parseCidr('10.7.0.0/24'), type: 'unicast', protocol: 87, nexthopId: 4711 },
      },
      code: 'ERR_NETLINK_EINVAL',
      details: { extendedAck: /Nexthop id does not exist/ },
    },
    {
      op: { kind: 'link.add', link: { type: 'bridge', name: 'a-name-that-is-too-long' } },
      code: 'ERR_NETLINK_ERANGE',
      details: { offset: 32 },
    },
    {
      op: { kind: 'link.add', link: { type: 'bridge', name: 'a\0b' } },
      code: 'ERR_NETLINK_TEXT',
      details: {},
    },
    {
      op: { kind: 'link.set', name: 'dev0', change: { mtuBytes: 10 } },
      code: 'ERR_NETLINK_EINVAL',
      details: { extendedAck: /mtu/ },
    },
    {
      op: {
        kind: 'link.add',
        link: { type: 'vxlan', name: 'vx9', vni: 2 ** 24, local: parseIp('10.1.0.1'), udpPort: 1, learning: false },
      },
      code: 'ERR_NETLINK_ERANGE',
      details: {},
    },
    {
      op: { kind: 'address.replace', address: { device: 'dev0', address: parseIp('10.1.0.5'), prefixLength: 300 } },
      code: 'ERR_NETLINK_VALUE',
      details: {},
    },
  ] as const satisfies readonly { op: RouteOp; code: string; details: object }[]
  for (const { op, code, details } of cases) {
    const [outcome] = await socket.perform([op])
    t.match(outcome, { ok: false, error: { code, details } }, formatRouteOp(op))
    if (outcome?.ok === false && code !== 'ERR_NETLINK_TEXT') t.ok(outcome.error.message.startsWith(formatRouteOp(op)))
  }
})

t.test('a dump of 5,000 routes, whole and filtered by the kernel', { skip }, async (t) => {
  const { host, socket } = hostWithSocket(t, 'dump')
  addDevices(host)
  const destinations = Array.from({ length: 5000 }, (_, i) => parseCidr(`10.${32 + (i >> 8)}.${i & 255}.0/24`))
  const ops = destinations.map((destination, i): RouteOp => {
    const table = i % 10 === 0 ? { table: 1000 } : {}
    return { kind: 'route.replace', route: { destination, type: 'unicast', device: 'dev0', protocol: 87, ...table } }
  })
  t.same(new Set(codes(await socket.perform(ops))), new Set(['ok']))
  host.run('ip', 'route', 'add', '10.90.0.0/16', 'dev', 'dev0', 'protocol', 'static')
  const ours = await socket.routes({ protocol: 87 })
  t.same(new Set(ours.map(({ destination }) => destination)), new Set(destinations))
  t.equal(ours.length, 5000)
  t.equal((await socket.routes({ table: 1000 })).length, 500)
  t.equal((await socket.routes({ protocol: 87, table: 254 })).length, 4500)
  t.ok((await socket.routes()).some(({ destination }) => destination === '10.90.0.0/16'))
  t.same(await socket.routes({ table: 4711 }), [])
})

t.test('two hosts ping each other through VXLAN devices that we made', { skip }, async (t) => {
  const segment = makeSegment()
  t.teardown(() => segment.host.remove())
  const sides = [1, 2].map((n) => {
    const { host, socket } = hostWithSocket(t, `vxlan${n}`)
    segment.plug(host, 'eth0', `10.0.0.${n}/24`)
    return { host, socket, n }
  })
  for (const { socket, n } of sides) t.same(new Set(codes(await socket.perform(vxlanOps(n, 3 - n)))), new Set(['ok']))
  for (const [source, target] of [
    ['10.97.0.1', '10.97.0.2'],
    ['10.98.1.1', '10.98.2.1'],
    ['fd00:98:1::1', 'fd00:98:2::1'],
  ] as const) {
    t.match(sides[0]?.host.run('ping', '-c', '1', '-W', '5', '-I', source, target), '1 received', target)
  }
})

/** One VTEP with one remote: neighbour, forwarding entry, nexthop objects, a route for each version. */
function vxlanOps(own: number, remote: number): readonly RouteOp[] {
  const device = 'vx7'
  const mac = (n: number) => parseMac(`02:00:00:00:00:0${n}`)
  const [vtep4, vtep6] = [parseIp(`10.97.0.${remote}`), parseIp(`fd00:97::${remote}`)]
  const local = parseIp(`10.0.0.${own}`)
  const nexthop = { device, onlink: true, protocol: 87 }
  const route = { type: 'unicast', protocol: 87 } as const
  return [
    {
      kind: 'link.add',
      link: {
        type: 'vxlan',
        name: device,
        vni: 7,
        local,
        device: 'eth0',
        udpPort: 64000,
        learning: false,
        mac: mac(own),
      },
    },
    { kind: 'link.set', name: device, change: { state: 'up' } },
    { kind: 'address.replace', address: { device, address: parseIp(`10.97.0.${own}`), prefixLength: 32 } },
    { kind: 'address.replace', address: { device, address: parseIp(`fd00:97::${own}`), prefixLength: 128 } },
    { kind: 'address.replace', address: { device: 'lo', address: parseIp(`10.98.${own}.1`), prefixLength: 32 } },
    { kind: 'address.replace', address: { device: 'lo', address: parseIp(`fd00:98:${own}::1`), prefixLength: 128 } },
    { kind: 'neighbour.replace', neighbour: { device, address: vtep4, mac: mac(remote) } },
    { kind: 'neighbour.replace', neighbour: { device, address: vtep6, mac: mac(remote) } },
    { kind: 'fdb.replace', fdb: { device, mac: mac(remote), destination: parseIp(`10.0.0.${remote}`) } },
    { kind: 'nexthop.replace', nexthop: { ...nexthop, id: 4, family: 4, gateway: vtep4 } },
    { kind: 'nexthop.replace', nexthop: { ...nexthop, id: 6, family: 6, gateway: vtep6 } },
    { kind: 'route.replace', route: { ...route, destination: parseCidr(`10.97.0.${remote}/32`), device } },
    { kind: 'route.replace', route: { ...route, destination: parseCidr(`10.98.${remote}.0/24`), nexthopId: 4 } },
    { kind: 'route.replace', route: { ...route, destination: parseCidr(`fd00:98:${remote}::/48`), nexthopId: 6 } },
  ]
}

t.test('a veth pair with its other end made in another namespace', { skip }, async (t) => {
  const { host, socket } = hostWithSocket(t, 'near')
  const far = makeHost('far')
  t.teardown(() => far.remove())
  const netnsFd = openSync(far.path, 'r')
  t.teardown(() => closeSync(netnsFd))
  const peer = { name: 'eth0', mac: parseMac('02:00:00:00:00:02'), mtuBytes: 1400, netnsFd }
  const outcomes = await socket.perform([
    { kind: 'link.add', link: { type: 'veth', name: 'wf0', mtuBytes: 1400, peer } },
    { kind: 'link.set', name: 'wf0', change: { state: 'up' } },
    { kind: 'address.replace', address: { device: 'wf0', address: parseIp('10.5.0.1'), prefixLength: 24 } },
  ])
  t.same(codes(outcomes), ['ok', 'ok', 'ok'])
  const inside = openRouteSocket({ netns: netnsFd })
  t.teardown(() => inside.close())
  t.match(await inside.link('eth0'), { type: 'veth', mac: peer.mac, mtuBytes: 1400, up: false })
  await inside.perform([
    { kind: 'link.set', name: 'eth0', change: { state: 'up' } },
    { kind: 'address.replace', address: { device: 'eth0', address: parseIp('10.5.0.2'), prefixLength: 24 } },
  ])
  t.match(host.run('ping', '-c', '1', '-W', '5', '10.5.0.2'), '1 received')
})

t.test('generic netlink lists families as the controller has them', { skip }, async (t) => {
  const socket = openGenericSocket()
  t.teardown(() => socket.close())
  const families = socket.families()
  t.match(families, [{ id: 16, name: 'nlctrl', version: 2, groups: { notify: 16 } }])
  for (const family of families.slice(0, 5)) t.same(socket.family(family.name), family)
  t.throws(() => socket.family('NO_SUCH'), { code: 'ERR_NETLINK_FAMILY' })
})
