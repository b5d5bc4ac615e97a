import t, { type Test } from 'tap'
import { systemClock } from '../../core/base/clock.ts'
import { type Ip, ipToBytes } from '../../core/base/ip.ts'
import { type Logger, silentLog } from '../../core/base/log.ts'
import { parseNetworkName } from '../../core/model/ids.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { openProbeGround, type ProbeGround } from '../../networking/probe/ground.ts'
import { keepOffload } from '../../networking/probe/kept-offload.ts'
import { type ChecksumOffload, openChecksumOffload } from '../../networking/probe/offload.ts'
import { peerAddresses, peersOf } from '../../networking/probe/peers.ts'
import { openProber, type Prober } from '../../networking/probe/prober.ts'
import { canMakeHosts, type TestHost } from '../support/hosts.ts'
import { makeOverlayHosts, openStageOn, type OverlayHost, ping } from '../support/overlay-hosts.ts'
import { overlaySnapshot } from '../support/overlay-snapshots.ts'

const { signal } = new AbortController()
const devices = ['wfv1024', 'wfv1025']

interface World {
  readonly hosts: readonly OverlayHost[]
  readonly segment: TestHost
  readonly snapshot: ClusterSnapshot
  readonly ground: ProbeGround
  readonly offload: ChecksumOffload
}

async function makeWorld(t: Test, underlay: 4 | 6): Promise<World> {
  const removals: (() => void)[] = []
  const keep = (remove: () => void) => void removals.push(remove)
  t.teardown(() => {
    for (const remove of removals.toReversed()) remove()
  })
  const segments: TestHost[] = []
  const hosts = makeOverlayHosts({ count: 2, underlay, onSegment: (made) => void segments.push(made) }, keep)
  const snapshot = overlaySnapshot(
    1,
    hosts.map(({ node }) => node),
  )
  const isPeer = peerAddresses(() => snapshot)
  const grounds: ProbeGround[] = []
  for (const { host, stage } of hosts) {
    await stage.audit(snapshot, { signal })
    const ground = openProbeGround({ underlay, isPeer, clock: systemClock, netns: host.path })
    keep(() => ground.close())
    grounds.push(ground)
  }
  const [first] = hosts
  const [ground] = grounds
  const [segment] = segments
  if (first === undefined || ground === undefined || segment === undefined) throw new Error('no host')
  const offload = openChecksumOffload({ netns: first.host.path })
  keep(() => offload.close())
  return { hosts, segment, snapshot, ground, offload }
}

/** Probes until nothing is due. */
async function probe({
  hosts,
  snapshot,
  ground,
  offload,
}: World): Promise<{ prober: Prober; lines: readonly string[] }> {
  const [first] = hosts
  const lines: string[] = []
  const write = (fields: object, message: string) => void lines.push(`${message} ${JSON.stringify(fields)}`)
  const log: Logger = { ...silentLog, warn: write, info: write }
  const done = new AbortController()
  const sleep = async (ms: number) => {
    if (ms >= 1000) done.abort()
  }
  const prober = openProber({
    askers: ground.askers,
    peers: () => (first === undefined ? [] : peersOf(snapshot, first.node.name)),
    underlay: async () => {
      const link = await first?.routes.link('eth0')
      return link && { device: link.name, mtuBytes: link.mtuBytes }
    },
    devices: async () => devices,
    offload,
    onChange: () => undefined,
    clock: { ...systemClock, sleep },
    log,
  })
  await prober.run({ signal: done.signal })
  return { prober, lines }
}

function filter(segment: TestHost, rule: string): void {
  segment.run('nft', 'add table bridge test; add chain bridge test path { type filter hook forward priority 0; }')
  segment.run('nft', `add rule bridge test path ${rule}`)
}

/** What a UDP header holds while its checksum is left to the device: the sum of the pseudo-header (RFC 768). */
function unfinishedChecksum(from: Ip, to: Ip, udpOctets: number): number {
  const bytes = [...ipToBytes(from), ...ipToBytes(to), 0, 17, udpOctets >> 8, udpOctets & 255]
  let sum = 0
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16)
  return sum
}

for (const underlay of [4, 6] as const) {
  const overhead = underlay === 4 ? 50 : 70
  t.test(
    `a path that carries less than the underlay device, over IPv${underlay}`,
    { skip: canMakeHosts },
    async (t) => {
      const world = await makeWorld(t, underlay)
      const { hosts, segment, snapshot } = world
      const [first, second] = hosts
      if (first === undefined || second === undefined) throw new Error('no host')
      const [from, to] = hosts.map((each) => each.addContainer(parseNetworkName('dcos'), 10))
      const fine = await probe(world)
      t.same(
        [fine.prober.warnings(), [...fine.prober.pathMtuBytes()], fine.lines],
        [[], [], []],
        'at first all is well',
      )
      segment.run('ip', 'link', 'set', 'p1', 'mtu', '1400')
      const { prober, lines } = await probe(world)
      t.same([...prober.pathMtuBytes()], [[second.node.name, 1400]])
      t.match(lines, [/the way to this node is not as it should be .*carries 1400 octets, not the 1500 of eth0/])
      t.equal(prober.warnings().length, 1)
      const stage = openStageOn(first.host, first.node, { routes: first.routes, pathMtuBytes: prober.pathMtuBytes })
      t.ok(
        (await stage.audit(snapshot, { signal })).every(({ operation }) => operation.startsWith('ip route replace ')),
      )
      for (const address of to?.addresses ?? []) {
        t.ok(from && ping(from.host, address, { octets: 1400 - overhead }), `${1400 - overhead} to ${address}`)
        t.notOk(from && ping(from.host, address, { octets: 1401 - overhead, attempts: 1 }), 'one more does not pass')
      }
      segment.run('ip', 'link', 'set', 'p1', 'mtu', '1500')
      const after = await probe(world)
      t.same([...after.prober.pathMtuBytes()], [])
      t.ok((await first.stage.audit(snapshot, { signal })).length > 0, 'and the routes get their MTU back')
    },
  )
}

t.test('VXLAN filtered on the way', { skip: canMakeHosts }, async (t) => {
  const world = await makeWorld(t, 4)
  filter(world.segment, 'udp dport 64000 drop')
  const { prober, lines } = await probe(world)
  t.match(prober.warnings(), [/node n2 answers at 192.0.2.2 but not through VXLAN at 100.97.0.2: let UDP port 64000/])
  t.equal(lines.length, 1)
  t.same(devices.map(world.offload.read), ['on', 'on'], 'offloading is not what is wrong')
})

t.test(
  'checksums spoiled by offloading: turned off on VXLAN devices only, and only then',
  { skip: canMakeHosts },
  async (t) => {
    const world = await makeWorld(t, 4)
    const [a, b] = world.hosts.map(({ node }) => node.vtep.addresses[0])
    if (a === undefined || b === undefined) throw new Error('no VTEP')
    // Inside: UDP 8, VXLAN 8, Ethernet 14, IPv4 20, and 6 into UDP. Sizes: the least question, and the full one.
    const unfinished = [44, 1430].map((octets) => unfinishedChecksum(a, b, octets)).join(', ')
    filter(world.segment, `udp dport 64000 @th,448,16 { ${unfinished} } drop`)
    const { prober, lines } = await probe(world)
    t.same(prober.warnings(), [])
    t.match(lines, [
      /offloading spoiled the checksums of packets in VXLAN; turned off, and they pass .*wfv1024.*wfv1025/,
    ])
    t.same(devices.map(world.offload.read), ['off', 'off'])
    t.equal(world.offload.read('eth0'), 'on')
    t.same((await probe(world)).lines, [], 'nothing more to do')
  },
)

t.test(
  'checksums spoiled by something else: offloading is on again, and it is told',
  { skip: canMakeHosts },
  async (t) => {
    const world = await makeWorld(t, 4)
    filter(world.segment, 'udp dport 64000 @th,312,8 17 @th,448,16 != 0 drop')
    const { prober } = await probe(world)
    t.match(prober.warnings(), [/packets with a checksum are lost on the way to node n2 \(100.97.0.2\)/])
    t.same(devices.map(world.offload.read), ['on', 'on'])
  },
)

t.test(
  'a device that is made again keeps offloading off, but only after a repair',
  { skip: canMakeHosts },
  async (t) => {
    const { hosts, offload, snapshot } = await makeWorld(t, 4)
    const [first] = hosts
    if (first === undefined) throw new Error('no host')
    const kept = keepOffload(offload, silentLog)
    const stage = openStageOn(first.host, first.node, { routes: first.routes, onDevice: kept.deviceMade })
    const again = async () => {
      first.host.run('ip', 'link', 'del', 'wfv1024')
      await stage.audit(snapshot, { signal })
      return devices.map(offload.read)
    }
    t.same(await again(), ['on', 'on'])
    for (const device of devices) kept.set(device, 'off')
    t.same(await again(), ['off', 'off'])
    for (const device of devices) kept.set(device, 'on')
    t.same(await again(), ['on', 'on'])
  },
)
