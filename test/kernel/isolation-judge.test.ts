import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import tap, { type Test } from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { formatSelector, type Policy } from '../../core/model/policy.ts'
import { type ClusterSnapshot, emptySnapshot, type Network, type RunningTask } from '../../core/model/snapshot.ts'
import { type Flow, judge } from '../../networking/isolation/judge.ts'
import { openIsolationStage } from '../../networking/isolation/stage.ts'
import { openNft } from '../../networking/nft/open.ts'
import { nftTable } from '../../networking/protocol.ts'
import { canMakeHosts, makeHost, type TestHost } from '../support/hosts.ts'
import { testChange, testNetwork, testNode, testSnapshot, testTask } from '../support/lb-snapshot.ts'
import { nftNamespace } from '../support/nft-namespace.ts'
import { testPolicy } from '../support/policies.ts'

const { signal } = new AbortController()
const sender = fileURLToPath(new URL('../fixtures/isolation-sender.ts', import.meta.url))

/** Numbers from 0 to 1 that are the same in each run: mulberry32. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** A node between a sender of any address and a sink for all, with a set of what its forward hook let through. */
function makeTracer(t: Test): { readonly node: TestHost; trace(flows: readonly Flow[]): ReadonlySet<string> } {
  const [node, source, sink] = ['node', 'source', 'sink'].map((label) => makeHost(label)) as [
    TestHost,
    TestHost,
    TestHost,
  ]
  const directory = mkdtempSync(join(tmpdir(), 'wft-iso-'))
  t.teardown(() => {
    for (const host of [source, sink, node]) host.remove()
    rmSync(directory, { recursive: true })
  })
  for (const path of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding']) {
    node.run('sh', '-c', `echo 1 > /proc/sys/net/${path}`)
  }
  for (const [host, device, index] of [
    [source, 'ws', 1],
    [sink, 'wk', 2],
  ] as const) {
    const [near, far] = [`02:00:00:00:00:0${index}`, `02:00:00:00:01:0${index}`]
    node.run('ip', 'link', 'add', device, 'address', near, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', host.name)
    node.run('ip', 'link', 'set', device, 'up')
    host.run('ip', 'link', 'set', 'eth0', 'address', far, 'up')
    node.run('sh', '-c', `echo 0 > /proc/sys/net/ipv4/conf/${device}/rp_filter`)
    for (const [one, name, peer] of [
      [host, 'eth0', near],
      [node, device, far],
    ] as const) {
      for (const gateway of ['169.254.9.9', 'fe80::99']) {
        one.run('ip', 'neigh', 'replace', gateway, 'lladdr', peer, 'dev', name, 'nud', 'permanent')
        if (one === node && host === source) continue
        const family = gateway.includes(':') ? ['-6'] : ['-4']
        one.run('ip', ...family, 'route', 'add', 'default', 'via', gateway, 'dev', name, 'onlink')
      }
    }
  }
  // IPv6 sends from addresses that are not there; IPv4 only from its own, which must yet be reached through the node.
  source.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind')
  for (const address of senders4) source.run('ip', 'addr', 'add', `${address}/32`, 'dev', 'lo')
  source.run('ip', 'rule', 'add', 'pref', '10', 'lookup', 'local')
  source.run('ip', 'rule', 'del', 'pref', '0')
  source.run('ip', 'rule', 'add', 'pref', '5', 'iif', 'lo', 'lookup', 'main')
  node.run('sh', '-c', `echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter`)
  const key = { 4: 'ip saddr . ip daddr', 6: 'ip6 saddr . ip6 daddr' }
  node.run('nft', 'add table inet trace')
  node.run('nft', 'add chain inet trace f { type filter hook forward priority 10 ; }')
  for (const family of [4, 6] as const) {
    const type = `ipv${family}_addr`
    node.run(
      'nft',
      `add set inet trace s${family} { type ${type} . ${type} . inet_proto . inet_service ; size 65535 ; flags dynamic ; }`,
    )
    node.run('nft', `add rule inet trace f update @s${family} { ${key[family]} . meta l4proto . th dport }`)
  }
  const trace = (flows: readonly Flow[]) => {
    const file = join(directory, 'flows.json')
    writeFileSync(file, JSON.stringify(flows))
    for (const family of [4, 6]) node.run('nft', 'flush', 'set', 'inet', 'trace', `s${family}`)
    source.run(process.execPath, sender, file)
    const seen = node.run('nft', '-n', '-j', 'list', 'table', 'inet', 'trace')
    return new Set(
      [...seen.matchAll(/"concat": \[([^\]]*)\]/g)].map(([, fields = '']) => fields.replaceAll(/["\s]/g, '')),
    )
  }
  return { node, trace }
}

const networks: readonly Network[] = [
  testNetwork('blue', 1, '10.1.0.0/16', 'fd00:1::/48'),
  testNetwork('green', 2, '10.2.0.0/16', 'fd00:2::/48'),
  { ...testNetwork('red', 3, '10.3.0.0/16', 'fd00:3::/48'), isolated: 'strict' },
]
const nodes = [
  testNode('n1', '192.0.2.1', '100.97.0.1', 'fd01:a::1'),
  testNode('n2', '192.0.2.2', '100.97.0.2', 'fd01:a::2'),
]
const selectors = [
  'any',
  'network:blue',
  'network:green',
  'network:red',
  'label:tier=db',
  'label:tier=web',
  'label:env=test',
  'task:solo',
  'cidr:10.1.0.0/28',
  'cidr:10.0.0.0/12',
  'cidr:192.0.2.0/24',
  'cidr:0.0.0.0/0',
  'cidr:fd00:1::/126',
  'cidr:fd00::/16',
  'cidr:10.2.0.3/32',
]
const outside = ['192.0.2.2', '192.0.2.77', '100.97.0.2', '203.0.113.5', 'fd01:a::2', 'fdff::5']
const ports = [53, 80, 443, 8080]
const senders4 = [1, 2, 3]
  .flatMap((network) => [1, 2, 3, 4, 5].map((host) => `10.${network}.0.${host}`))
  .concat(outside.filter((address) => !address.includes(':')))

function randomWorld(random: () => number, version: number): ClusterSnapshot {
  const pick = <T>(list: readonly [T, ...T[]] | readonly T[]): T => list[Math.floor(random() * list.length)] as T
  const tasks: RunningTask[] = []
  for (const network of [1, 2, 3]) {
    for (let host = 1; host <= 4; host++) {
      if (random() < 0.2) continue
      const addresses = [`10.${network}.0.${host}`, `fd00:${network}::${host}`]
      const task = testTask(`t${network}-${host}`, { node: 'n1', addresses, port: 80, labels: {} })
      const labels = { tier: pick(['db', 'web', 'none']), env: pick(['test', 'live']) }
      tasks.push({ ...task, labels, ...(host === 2 ? { name: 'solo' } : {}) })
    }
  }
  const policies = Array.from({ length: 14 }, (_, i): Policy => {
    const protocol = pick(['any', 'tcp', 'udp'] as const)
    const withPorts = protocol !== 'any' && random() < 0.7
    return testPolicy(`p${i}`, {
      from: pick(selectors),
      to: pick(selectors),
      action: pick(['allow', 'deny'] as const),
      priority: pick([10, 10, 20, 30]),
      direction: pick(['forward', 'both'] as const),
      protocol,
      ...(withPorts ? { ports: [pick(['53', '80', '80-443', '1-65535', '443'])] } : {}),
    })
  })
  return testSnapshot(version, { networks: networks.filter(() => random() < 0.9), nodes, tasks, policies })
}

function randomFlows(random: () => number): readonly Flow[] {
  const address = (family: 4 | 6) => {
    const [network, host] = [1 + Math.floor(random() * 3), 1 + Math.floor(random() * 5)]
    const inside = family === 4 ? `10.${network}.0.${host}` : `fd00:${network}::${host}`
    const others = outside.filter((one) => one.includes(':') === (family === 6))
    return random() < 0.25 ? (others[Math.floor(random() * others.length)] ?? inside) : inside
  }
  return Array.from({ length: 250 }, (): Flow => {
    const family = random() < 0.6 ? 4 : 6
    const protocol = random() < 0.5 ? 'tcp' : 'udp'
    const [source, destination] = [parseIp(address(family)), parseIp(address(family))]
    return { source, destination, protocol, port: ports[Math.floor(random() * ports.length)] ?? 80 }
  }).filter(({ source, destination }) => source !== destination)
}

tap.test('the kernel does what judge() says', { skip: canMakeHosts }, async (t) => {
  const { node, trace } = makeTracer(t)
  const nft = await openNft({ namespace: nftNamespace(node) })
  t.teardown(() => nft.close())
  const stage = openIsolationStage({ nft, table: nftTable })
  const random = seeded(20_261_122)
  let current = emptySnapshot
  for (let round = 1; round <= 6; round++) {
    const next = randomWorld(random, round)
    const steps = stage.plan(testChange(current, next))
    await steps.add({ signal })
    await steps.remove({ signal })
    current = next
    t.same(await stage.audit(current, { signal }), [], `round ${round}: the change made exactly what an audit wants`)
    const flows = randomFlows(random)
    const passed = trace(flows)
    const wrong = flows.flatMap((flow) => {
      const { verdict, reason } = judge(current, flow)
      const number = flow.protocol === 'tcp' ? 6 : 17
      const seen = [`${number}`, flow.protocol].some((name) =>
        passed.has([flow.source, flow.destination, name, flow.port].join(',')),
      )
      return seen === (verdict === 'accept') ? [] : [{ flow, seen, verdict, reason: describe(reason) }]
    })
    t.same(wrong, [], `round ${round}: ${flows.length} flows, ${passed.size} passed`)
    t.ok(passed.size > 10 && passed.size < flows.length, 'some pass, some do not')
  }
})

function describe(reason: ReturnType<typeof judge>['reason']): string {
  if (reason.kind !== 'policy') return reason.kind
  const { name, from, to, action, priority } = reason.policy
  return `${name} ${priority} ${action} ${formatSelector(from)} → ${formatSelector(to)}`
}
