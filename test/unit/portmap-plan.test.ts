import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { type Lease, type LeasePortMapping } from '../../networking/ipam/lease.ts'
import { type FlowFilter } from '../../networking/netlink/conntrack.ts'
import { openFakeNft } from '../../networking/nft/fake.ts'
import { clashes, formatHostPort, portMappingsOf } from '../../networking/portmap/mapping.ts'
import { openPortmap } from '../../networking/portmap/port-mapper.ts'
import { planShaping } from '../../networking/shaping/plan.ts'

const { signal } = new AbortController()
const [ip4, ip6] = [parseIp('10.80.1.2'), parseIp('fd00:77:0:1::2')]
const both = [ip4, ip6]
const ask = (hostPort: number, more: Partial<LeasePortMapping> = {}): LeasePortMapping => ({
  ...{ hostPort, containerPort: 80, protocol: 'tcp' },
  ...more,
})

const expansions = [
  {
    name: 'every address of the host',
    asked: ask(8080),
    texts: ['tcp *:8080 → 10.80.1.2 80', 'tcp *:8080 → fd00:77:0:1::2 80'],
  },
  {
    name: 'container port 0',
    asked: ask(53, { containerPort: 0, protocol: 'udp' }),
    texts: ['udp *:53 → 10.80.1.2 53', 'udp *:53 → fd00:77:0:1::2 53'],
  },
  {
    name: 'one host address',
    asked: ask(80, { hostIp: parseIp('192.0.2.1') }),
    texts: ['tcp 192.0.2.1:80 → 10.80.1.2 80'],
  },
  {
    name: 'one IPv6 host address',
    asked: ask(80, { hostIp: parseIp('::1') }),
    texts: ['tcp [::1]:80 → fd00:77:0:1::2 80'],
  },
  { name: 'all of IPv4', asked: ask(80, { hostIp: parseIp('0.0.0.0') }), texts: ['tcp *:80 → 10.80.1.2 80'] },
  { name: 'all of IPv6', asked: ask(80, { hostIp: parseIp('::') }), texts: ['tcp *:80 → fd00:77:0:1::2 80'] },
]

t.test('what a mapping leads to', async (t) => {
  for (const { name, asked, texts } of expansions) {
    const mappings = portMappingsOf(both, [asked])
    t.same(
      mappings.map((mapping) => `${formatHostPort(mapping)} → ${mapping.address} ${mapping.containerPort}`),
      texts,
      name,
    )
  }
})

const pairs = [
  { name: 'the same', a: ask(80), b: ask(80), clash: true },
  { name: 'another port', a: ask(80), b: ask(81), clash: false },
  { name: 'another protocol', a: ask(80), b: ask(80, { protocol: 'udp' }), clash: false },
  { name: 'all and one', a: ask(80), b: ask(80, { hostIp: parseIp('192.0.2.1') }), clash: true },
  {
    name: 'two addresses',
    a: ask(80, { hostIp: parseIp('192.0.2.2') }),
    b: ask(80, { hostIp: parseIp('192.0.2.1') }),
    clash: false,
  },
  {
    name: 'two versions',
    a: ask(80, { hostIp: parseIp('::') }),
    b: ask(80, { hostIp: parseIp('0.0.0.0') }),
    clash: false,
  },
]

t.test('which mappings clash', async (t) => {
  for (const { name, a, b, clash } of pairs) {
    const [first, second] = [portMappingsOf(both, [a]), portMappingsOf(both, [b])]
    t.equal(
      first.some((one) => second.some((other) => clashes(one, other))),
      clash,
      name,
    )
  }
})

const lease = (container: string, portMappings: readonly LeasePortMapping[], state?: 'making'): Lease => ({
  ...{ network: 'dcos', container, ifname: 'eth0', addresses: both, mac: '02:00:00:00:00:01' },
  ...{ hostLink: `wfc${container}`, bootId: 'boot', portMappings },
  ...(state === undefined ? {} : { state }),
})

function open(leases: readonly Lease[] = []) {
  const nft = openFakeNft()
  const forgotten: FlowFilter[] = []
  const conntrack = { forget: async (filter: FlowFilter) => forgotten.push(filter) }
  const portmap = openPortmap({ nft, table: 'weft', leases: () => leases, conntrack, allowLoopback: () => undefined })
  const elements = async () => {
    const table = await nft.readTable('weft', { signal })
    return [...(table?.sets ?? [])].flatMap(([set, { elements: found }]) =>
      [...found].map(([key, value]) => `${set} ${key}${value === '' ? '' : ` : ${value}`}`),
    )
  }
  return { nft, portmap, elements, forgotten }
}

t.test('mappings come, clash and go', async (t) => {
  const { portmap, elements, forgotten, nft } = open()
  await portmap.repair({ signal })
  const idle = await elements()
  t.same(idle, ['pm-except4 198.51.100.1'], 'the DNS address is never mapped')
  const a = lease('a', [ask(8080), ask(53, { protocol: 'udp', hostIp: parseIp('192.0.2.1') })])
  await portmap.mapper.add(a, a.addresses, a.portMappings ?? [])
  t.same(await elements(), [
    'pm-host4 192.0.2.1 . udp . 53 : 10.80.1.2 . 80',
    'pm-any4 tcp . 8080 : 10.80.1.2 . 80',
    'pm-except4 198.51.100.1',
    'pm-self4 10.80.1.2 . 10.80.1.2',
    'pm-any6 tcp . 8080 : fd00:77:0:1::2 . 80',
    'pm-self6 fd00:77:0:1::2 . fd00:77:0:1::2',
  ])
  const before = [await elements(), nft.applied.length]
  const b = lease('b', [ask(9000), ask(8080, { hostIp: parseIp('192.0.2.1') })])
  const taken = { code: 'ERR_PORTMAP_TAKEN', message: /192\.0\.2\.1:8080 leads to container a \(eth0, network dcos\)/ }
  await t.rejects(portmap.mapper.add(b, [ip4], b.portMappings ?? []), taken)
  await t.rejects(
    portmap.mapper.add(b, [ip4], [ask(9000), ask(9000)]),
    { code: 'ERR_PORTMAP_TAKEN' },
    'twice in one call',
  )
  t.same([await elements(), nft.applied.length], before, 'nothing was tried')
  forgotten.splice(0)
  await portmap.mapper.remove(a)
  t.same(await elements(), idle)
  t.match(
    forgotten,
    [{ family: 4, protocol: 17, original: { destinationPort: 53 }, reply: { source: ip4 } }],
    'UDP only',
  )
  await portmap.mapper.remove(a)
  await portmap.mapper.add(b, [ip4], b.portMappings ?? [])
  t.match(await elements(), [/192.0.2.1/, /9000/], 'its port is free again')
})

t.test('a restart takes leases up, but those of an ADD that never ended', async (t) => {
  const { portmap, elements } = open([lease('a', [ask(8080)]), lease('b', [ask(9090)], 'making')])
  await portmap.mapper.remove({ network: 'dcos', container: 'none', ifname: 'eth0' })
  const text = (await elements()).join('\n')
  t.match(text, /8080/, 'also when a removal comes before the first audit')
  t.notMatch(text, /9090/)
  t.same(await portmap.repair({ signal }), [])
})

t.test('a change that fails is made good by comparing all', async (t) => {
  const { portmap, elements, nft } = open()
  await portmap.repair({ signal })
  const a = lease('a', [ask(8080)])
  const any4 = {
    kind: 'element.add',
    set: 'pm-any4',
    elements: [{ key: 'tcp . 8080', value: '10.9.9.9 . 9' }],
  } as const
  await nft.apply({ table: 'weft', ops: [any4] }, { signal }) // somebody else's
  await portmap.mapper.add(a, [ip4], a.portMappings ?? [])
  t.match((await elements()).join('\n'), 'pm-any4 tcp . 8080 : 10.80.1.2 . 80')
})

t.test('limits', async (t) => {
  t.same(planShaping('wfcaaaaaaaaaaaa', {}), { links: [], traffic: [] })
  const { links, traffic } = planShaping('wfcaaaaaaaaaaaa', {
    ...{ ingressBitsPerSecond: 8_000_000, ingressBurstBits: 800_000 },
    egressBitsPerSecond: 80_000_000_000,
  })
  t.same(traffic, [
    {
      kind: 'tbf.replace',
      device: 'wfcaaaaaaaaaaaa',
      bytesPerSecond: 1_000_000n,
      burstBytes: 100_000,
      limitBytes: 125_000,
    },
    {
      kind: 'tbf.replace',
      device: 'wfiaaaaaaaaaaaa',
      bytesPerSecond: 10_000_000_000n,
      burstBytes: 50_000_000,
      limitBytes: 300_000_000,
    },
    { kind: 'redirect.replace', device: 'wfcaaaaaaaaaaaa', target: 'wfiaaaaaaaaaaaa' },
  ])
  t.same(links[0], { kind: 'link.add', link: { type: 'ifb', name: 'wfiaaaaaaaaaaaa' } })
  t.throws(() => planShaping('wfcaaaaaaaaaaaa', { egressBitsPerSecond: 7 }), { code: 'ERR_SHAPING_RATE' })
})
