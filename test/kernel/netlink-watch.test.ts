import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { parseMac } from '../../core/model/ids.ts'
import { type RouteOp } from '../../networking/netlink/ops.ts'
import { openRouteSocket } from '../../networking/netlink/route-socket.ts'
import { type RouteEvent, type WatchOptions, watchRoutes } from '../../networking/netlink/watch.ts'
import { canMakeHosts, makeHost, type TestHost } from '../support/hosts.ts'

const skip = canMakeHosts

function hostOf(t: Pick<Tap, 'teardown'>): TestHost {
  const host = makeHost('watch')
  t.teardown(() => host.remove())
  return host
}

type Tap = typeof import('tap').default

/** Starts a watch and waits for its first event, after which nothing may be missed. */
async function started(t: Pick<Tap, 'teardown' | 'same'>, options: WatchOptions) {
  const controller = new AbortController()
  t.teardown(() => controller.abort())
  const events = watchRoutes(options, { signal: controller.signal })
  t.same((await events.next()).value, { kind: 'resync', reason: 'start' })
  return { events, controller }
}

/** Reads on until an event fits; the test runner's time limit ends a wait in vain. */
async function until(events: AsyncIterator<RouteEvent>, fits: (event: RouteEvent) => boolean): Promise<RouteEvent[]> {
  const seen: RouteEvent[] = []
  for (;;) {
    const next = await events.next()
    if (next.done === true) return seen
    seen.push(next.value)
    if (fits(next.value)) return seen
  }
}

const about = (object: string, removed: boolean) => (event: RouteEvent) =>
  event.kind === 'changed' && event.object === object && event.removed === removed

t.test('each kind of object is told of when ip makes and removes it', { skip }, async (t) => {
  const host = hostOf(t)
  const { events, controller } = await started(t, { netns: host.path })
  for (const [command, object, removed] of [
    ['ip link add v0 type veth peer name v1', 'link', false],
    ['ip link set v0 up', 'link', false],
    ['ip link set v1 up', 'link', false],
    ['ip address add 10.1.0.1/24 dev v0', 'address', false],
    ['ip address add fd00::1/64 dev v0 nodad', 'address', false],
    ['ip neighbour add 10.1.0.9 lladdr 02:00:00:00:00:09 dev v0', 'neighbour', false],
    ['ip link add vx0 type vxlan id 5 local 10.1.0.1 dstport 4789', 'link', false],
    ['bridge fdb add 02:00:00:00:00:07 dev vx0 dst 10.1.0.7', 'fdb', false],
    ['ip nexthop add id 5 via 10.1.0.9 dev v0', 'nexthop', false],
    ['ip route add 10.2.0.0/16 nhid 5', 'route', false],
    ['ip -6 route add fd01::/64 dev v0', 'route', false],
    ['bridge fdb del 02:00:00:00:00:07 dev vx0 dst 10.1.0.7', 'fdb', true],
    ['ip nexthop del id 5', 'nexthop', true],
    ['ip neighbour del 10.1.0.9 dev v0', 'neighbour', true],
    ['ip address del 10.1.0.1/24 dev v0', 'address', true],
    ['ip link del v0', 'link', true],
  ] as const) {
    host.run('sh', '-c', command)
    const seen = await until(events, about(object, removed))
    t.ok(seen.length > 0, command)
  }
  controller.abort()
  t.match(await until(events, () => false), [], 'it ends when aborted')
})

t.test('the index tells which device', { skip }, async (t) => {
  const host = hostOf(t)
  const { events } = await started(t, { netns: host.path, objects: ['link'] })
  host.run('ip', 'link', 'add', 'br0', 'type', 'bridge')
  const [{ ifindex }] = JSON.parse(host.run('ip', '-j', 'link', 'show', 'br0'))
  t.match((await events.next()).value, { kind: 'changed', object: 'link', removed: false, index: ifindex })
})

t.test('facts tell whose an object is', { skip }, async (t) => {
  const host = hostOf(t)
  const { events } = await started(t, { netns: host.path, objects: ['link', 'nexthop', 'route'] })
  const next = async (object: string) => (await until(events, about(object, false))).at(-1)
  host.run('ip', 'link', 'add', 'br0', 'mtu', '1400', 'type', 'bridge')
  t.match(await next('link'), { facts: { name: 'br0', mtuBytes: 1400, up: false } })
  host.run('ip', 'link', 'set', 'br0', 'up')
  host.run('ip', 'nexthop', 'add', 'id', '5', 'dev', 'br0', 'proto', '87')
  t.match(await next('nexthop'), { facts: { nexthopId: 5, protocol: 87 } })
  host.run('ip', 'route', 'add', '10.2.0.0/16', 'nhid', '5', 'proto', '87', 'metric', '7')
  const seen = await until(events, (event) => event.kind === 'changed' && event.facts?.protocol === 87)
  t.match(seen.at(-1), { object: 'route', facts: { protocol: 87, metric: 7, nexthopId: 5 } })
})

t.test('an abort ends a watch that waits', { skip }, async (t) => {
  const host = hostOf(t)
  const { events, controller } = await started(t, { netns: host.path })
  const next = events.next()
  setImmediate(() => controller.abort())
  t.same(await next, { done: true, value: undefined })
  t.same(await events.next(), { done: true, value: undefined })
})

t.test('a storm that overflows the buffer becomes a resync, and the watch goes on', { skip }, async (t) => {
  const host = hostOf(t)
  const socket = openRouteSocket({ netns: host.path })
  t.teardown(() => socket.close())
  host.run('ip', 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1')
  host.run('ip', 'link', 'set', 'v0', 'up')
  const { events } = await started(t, { netns: host.path, receiveBufferBytes: 32_768 })
  const mac = parseMac('02:00:00:00:00:09')
  const storm = Array.from({ length: 4000 }, (_, i): RouteOp => {
    return {
      kind: 'neighbour.replace',
      neighbour: { device: 'v0', address: parseIp(`10.1.${i >> 8}.${i & 255}`), mac },
    }
  })
  for (const round of [1, 2]) {
    t.ok((await socket.perform(storm)).every(({ ok }) => ok))
    const seen = await until(events, ({ kind }) => kind === 'resync')
    t.same(seen.at(-1), { kind: 'resync', reason: 'overflow' }, `round ${round}`)
    t.ok(seen.length < 1000, 'what was kept is bounded')
    host.run('ip', 'link', 'add', 'br0', 'type', 'bridge')
    await until(events, about('link', false))
    host.run('ip', 'link', 'del', 'br0')
    await until(events, about('link', true))
    await socket.perform(storm.map((op) => (op.kind === 'neighbour.replace' ? { ...op, kind: 'neighbour.del' } : op)))
  }
})

t.test('a namespace that is not there is refused', { skip }, async (t) => {
  const { signal } = new AbortController()
  await t.rejects(watchRoutes({ netns: '/run/netns/no-such' }, { signal }).next(), { code: 'ERR_NETNS_NOT_FOUND' })
})
