import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { type NodeName, parseNodeName } from '../../core/model/ids.ts'
import { openBypass } from '../../lb/health/bypass.ts'
import { openBackendPeers, openPlaces } from '../../lb/health/peers.ts'
import { newPeer, type PeerState, stepPeer } from '../../lb/health/peer-state.ts'
import { openPeerWatch, probeEveryMs } from '../../lb/health/watch-peers.ts'
import { type BalancedFlow, type LbOp, type VirtualServer } from '../../lb/dataplane.ts'
import { openFakePlane } from '../../lb/fake.ts'
import { openFakeClock } from '../support/fake-cluster.ts'
import { testNode, testSnapshot, testTask } from '../support/lb-snapshot.ts'

/** Probes one after another, `.` answered and `x` not, 200 ms apart. @returns the state's kind after each: U or D */
function course(probes: string, from: PeerState = newPeer(0), startMs = 0): readonly [string, PeerState] {
  let state = from
  const kinds = [...probes].map((probe, i) => {
    state = stepPeer(state, { kind: probe === '.' ? 'answer' : 'silence', nowMs: startMs + i * probeEveryMs })
    return state.kind === 'up' ? 'U' : 'D'
  })
  return [kinds.join(''), state]
}

t.test('a peer fails by three silences in a row, and returns by answers in a row', async (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['....', 'UUUU'],
    ['xx.xx.xx.', 'UUUUUUUUU'],
    ['xxx', 'UUD'],
    ['xxx....', 'UUDDDDD'],
    ['xxx.....', 'UUDDDDDU'],
    ['xxx....x.....', 'UUDDDDDDDDDDU'],
  ]
  for (const [probes, states] of cases) t.equal(course(probes)[0], states, probes)
})

t.test('one that comes and goes returns later each time, until it has been steady', async (t) => {
  let [, state] = course('xxx.....')
  t.equal(course('xxx.........', state, 2000)[0], 'UUDDDDDDDDDD', 'five are not enough')
  ;[, state] = course('xxx..........', state, 2000)
  t.equal(state.kind, 'up', 'ten are')
  for (let i = 0; i < 20; i++) [, state] = course(`xxx${'.'.repeat(80)}`, state, 5000)
  t.match(state, { kind: 'up', needed: 80 }, 'it may always return')
  t.match(course('xxx', state, 300_000)[1], { kind: 'down', needed: 5 })
})

const node = parseNodeName
const snapshot = testSnapshot(1, {
  nodes: [
    testNode('n1', '192.0.2.1'),
    { ...testNode('n2', '192.0.2.2'), subnets: [] },
    testNode('n3', '192.0.2.3'),
    testNode('n4', '192.0.2.4'),
  ],
  tasks: [
    testTask('a', { node: 'n1', port: 80, labels: { VIP_0: '/web:80' } }),
    testTask('b', { node: 'n2', port: 80, labels: { VIP_0: '/web:80' } }),
    testTask('c', { node: 'n3', port: 80, labels: { VIP_0: '/web:80' } }),
    testTask('d', { node: 'n4', port: 80, labels: {} }),
  ],
})

t.test('only nodes with backends are probed', async (t) => {
  const peers = openBackendPeers(() => snapshot, node('n1'))()
  t.same(
    peers.map(({ name, underlay }) => `${name} ${underlay}`),
    ['n2 192.0.2.2', 'n3 192.0.2.3'],
  )
})

const address = parseIp
const server = (...backends: readonly (readonly [string, number])[]): VirtualServer => ({
  ...{ address: address('100.96.0.1'), port: 80, protocol: 'tcp' },
  backends: backends.map(([ip, weight]) => ({ address: address(ip), port: 80, weight })),
})
const shown = (op: LbOp | undefined) =>
  op?.server.backends.map(({ address: ip, weight }) => `${ip}=${weight}`).join(' ')

t.test('bypassed backends have weight 0, in changes and repairs, unless nothing else is left', async (t) => {
  const { signal } = new AbortController()
  const fake = openFakePlane()
  const { plane, set } = openBypass(fake, { self: node('n1'), placeOf: openPlaces(() => snapshot) })
  const all = server(['192.0.2.1', 1], ['192.0.2.2', 2], ['192.0.2.3', 1])
  await plane.apply([{ kind: 'server.ensure', server: all }], { signal })
  const cases: readonly (readonly [readonly string[], string])[] = [
    [['n2'], '192.0.2.1=1 192.0.2.2=0 192.0.2.3=1'],
    [['n2', 'n3'], '192.0.2.1=1 192.0.2.2=0 192.0.2.3=0'],
    [['n1', 'n2', 'n3'], '192.0.2.1=1 192.0.2.2=2 192.0.2.3=1'],
    [['n3'], '192.0.2.1=1 192.0.2.2=2 192.0.2.3=0'],
    [[], '192.0.2.1=1 192.0.2.2=2 192.0.2.3=1'],
  ]
  for (const [down, expected] of cases) {
    await set(new Set(down.map(node)), { signal })
    t.equal(shown(fake.applied.at(-1)), expected, down.join())
  }
  const before = fake.applied.length
  await set(new Set([node('n4')]), { signal })
  t.equal(fake.applied.length, before, 'what is not concerned is not touched')
  await set(new Set([node('n2')]), { signal })
  t.same(await plane.repair([all], { signal }), [], 'an audit finds nothing wrong')
  await plane.apply([{ kind: 'server.ensure', server: server(['192.0.2.2', 1], ['192.0.2.3', 0]) }], { signal })
  t.equal(shown(fake.applied.at(-1)), '192.0.2.2=1 192.0.2.3=0', 'a draining one is none that is left')
  await plane.apply([{ kind: 'server.remove', server: all }], { signal })
  await set(new Set(), { signal })
  t.same(await plane.read({ signal }), [], 'what was removed does not come back')
})

t.test('connections that are being made to what is bypassed are balanced anew', async (t) => {
  const { signal } = new AbortController()
  const told: string[] = []
  const conntrack = {
    forgetUnanswered: async (flows: readonly BalancedFlow[]) => {
      told.push(flows.map(({ server: { port }, backend }) => `${port} ${backend.address}`).join())
    },
  }
  const { plane, set } = openBypass(openFakePlane(), {
    self: node('n1'),
    placeOf: openPlaces(() => snapshot),
    conntrack,
  })
  const tcp = server(['192.0.2.1', 1], ['192.0.2.2', 2], ['192.0.2.3', 0])
  const udp: VirtualServer = { ...tcp, protocol: 'udp', port: 53 }
  for (const one of [tcp, udp]) await plane.apply([{ kind: 'server.ensure', server: one }], { signal })
  for (const down of [['n2'], ['n2', 'n3'], ['n1', 'n2', 'n3'], ['n1'], []])
    await set(new Set(down.map(node)), { signal })
  t.same(told, ['80 192.0.2.2', '', '80 192.0.2.1', ''], 'what changed, once each; none when no server did')
})

t.test('the watch: one that is silent is told within a second, one whose daemon only is silent is not', async (t) => {
  const fake = openFakeClock()
  const sleep = (ms: number) => new Promise<void>((resolve) => void fake.after(ms, resolve))
  const clock = { ...fake, sleep }
  const ending = new AbortController()
  const dead = new Set<string>()
  const daemonless = new Set<string>()
  let asked = 0
  const changes: string[] = []
  let fail = true
  const answer = async (isSilent: boolean, { timeoutMs }: { readonly timeoutMs: number }) => {
    if (isSilent) await clock.sleep(timeoutMs)
    return isSilent ? ('silence' as const) : ('answered' as const)
  }
  const watch = openPeerWatch({
    peers: openBackendPeers(() => snapshot, node('n1')),
    ask: (ip, how) => {
      asked++
      return answer(dead.has(ip) || daemonless.has(ip), how)
    },
    knock: (ip, how) => answer(dead.has(ip), how),
    onChange: async (down: ReadonlySet<NodeName>) => {
      changes.push([...down].join())
      if (fail) throw new Error('the data plane is broken')
    },
    ...{ clock, log: silentLog },
  })
  const running = watch.run(ending)
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 50) {
      await new Promise((resolve) => setImmediate(resolve))
      clock.advance(50)
    }
  }
  await pass(2000)
  t.ok(asked >= 16 && asked <= 24, `${asked} probes of two peers in 2 s`)
  daemonless.add('192.0.2.2')
  await pass(3000)
  t.same(changes, [], 'its kernel answers')
  dead.add('192.0.2.3')
  await pass(1000)
  t.same(changes, ['n3'])
  t.match(watch.reports(), [
    { node: 'n2', state: 'up' },
    { node: 'n3', state: 'down', downMs: Number },
  ])
  fail = false
  dead.clear()
  await pass(2000)
  t.same(changes, ['n3', ''], 'a failure to program it does not end the watch')
  ending.abort()
  await pass(500)
  await running
})
