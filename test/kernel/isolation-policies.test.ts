import tap, { type Test } from 'tap'
import { type Policy } from '../../core/model/policy.ts'
import { type ClusterSnapshot, emptySnapshot, type Network } from '../../core/model/snapshot.ts'
import { openIsolationStage } from '../../networking/isolation/stage.ts'
import { openNft } from '../../networking/nft/open.ts'
import { nftTable } from '../../networking/protocol.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { testChange, testNetwork, testSnapshot, testTask } from '../support/lb-snapshot.ts'
import { askServers, openConnection, startServer } from '../support/lb-traffic.ts'
import { backend, makeWorld, type PlaceName, places, vip } from '../support/lb-world.ts'
import { nftNamespace } from '../support/nft-namespace.ts'
import { testPolicy, type TestPolicy } from '../support/policies.ts'

const { signal } = new AbortController()
const networks = [
  testNetwork('dcos', 1024, '10.80.0.0/14', 'fd01:b:0:1::/64'),
  testNetwork('other', 1025, '10.90.0.0/16', 'fd01:b:0:2::/64'),
]
const strict = networks.map((network): Network => ({ ...network, isolated: 'strict' }))
const tasks = (['b1', 'b2', 'client', 'other'] as const).map((name) => {
  const addresses = [places[name].ip4, places[name].ip6]
  return { ...testTask(name, { node: 'n1', addresses, port: 8080, labels: {} }), labels: { role: name } }
})

/** A node with containers on two networks, and its isolation stage under the test's hands. */
async function makePolicyWorld(t: Test) {
  const world = await makeWorld(t, { containers: 'all' })
  await world.program([backend('b1')])
  for (const name of ['b1', 'b2', 'other'] as const) await startServer(world.host(name), name, 8080)
  await startServer(world.host('b1'), 'b1-other-port', 9090)
  const nft = await openNft({ namespace: nftNamespace(world.node) })
  t.teardown(() => nft.close())
  const stage = openIsolationStage({ nft, table: nftTable })
  let current: ClusterSnapshot = emptySnapshot
  const program = async (policies: readonly Policy[], on: readonly Network[] = networks) => {
    const next = testSnapshot(current.version + 1, { networks: on, tasks, policies })
    const steps = stage.plan(testChange(current, next))
    current = next
    await steps.add({ signal })
    await steps.remove({ signal })
  }
  const packets = (policy: string) =>
    Number(/counter packets (\d+)/.exec(world.node.run('nft', 'list', 'chain', 'inet', 'weft', `iso-p-${policy}`))?.[1])
  return { ...world, program, packets }
}

type Ask = readonly [from: PlaceName, to: string, port: number]
const asks: Readonly<Record<string, Ask>> = {
  same: ['client', places.b1.ip4, 8080],
  same6: ['client', places.b1.ip6, 8080],
  port: ['client', places.b1.ip4, 9090],
  b2: ['client', places.b2.ip4, 8080],
  into: ['other', places.b1.ip4, 8080],
  into6: ['other', places.b1.ip6, 8080],
  out: ['client', places.other.ip4, 8080],
  vip: ['other', vip[4], 80],
  vip6: ['other', vip[6], 80],
}

interface Case {
  readonly name: string
  readonly policies: Readonly<Record<string, TestPolicy>>
  readonly networks?: readonly Network[]
  /** Those of {@link asks} that are answered; the rest get nothing. */
  readonly answered: readonly string[]
}

const inside = ['same', 'same6', 'port', 'b2']
const cases: readonly Case[] = [
  { name: 'none: networks are apart', policies: {}, answered: inside },
  {
    name: 'network to network, and its VIP, one way only',
    policies: { a: { from: 'network:other', to: 'network:dcos' } },
    answered: [...inside, 'into', 'into6', 'vip', 'vip6'],
  },
  {
    name: 'both ways',
    policies: { a: { from: 'network:other', to: 'network:dcos', direction: 'both' } },
    answered: [...inside, 'into', 'into6', 'vip', 'vip6', 'out'],
  },
  {
    name: 'label to label, a VIP by the port behind it',
    policies: { a: { from: 'label:role=other', to: 'label:role=b1', protocol: 'tcp', ports: ['8080'] } },
    answered: [...inside, 'into', 'into6', 'vip', 'vip6'],
  },
  {
    name: "the VIP's own port means nothing",
    policies: { a: { from: 'any', to: 'any', protocol: 'tcp', ports: ['80'] } },
    answered: inside,
  },
  {
    name: 'a prefix denied inside a network, IPv4 only',
    policies: { a: { action: 'deny', from: 'cidr:10.80.0.20/32', to: 'cidr:10.80.0.8/29' } },
    answered: ['same6'],
  },
  {
    name: 'a port range denied, and an exception of lower number',
    policies: {
      a: { action: 'deny', from: 'network:dcos', to: 'any', protocol: 'tcp', ports: ['8000-9999'] },
      b: { from: 'any', to: 'task:b2', protocol: 'tcp', ports: ['8080'], priority: 10 },
    },
    answered: ['b2'],
  },
  { name: 'strict: nothing', policies: {}, networks: strict, answered: [] },
  {
    name: 'strict, with what is allowed',
    policies: { a: { from: 'task:client', to: 'label:role=b1', protocol: 'tcp', ports: ['9090'] } },
    networks: strict,
    answered: ['port'],
  },
]

tap.test('policies decide who reaches whom', { skip: canMakeHosts }, async (t) => {
  const { host, program } = await makePolicyWorld(t)
  for (const { name, policies, networks: on, answered } of cases) {
    await program(
      Object.entries(policies).map(([key, policy]) => testPolicy(key, policy)),
      on,
    )
    const got = new Map<string, string>()
    for (const from of ['client', 'other'] as const) {
      const own = Object.entries(asks).filter(([, [source]]) => source === from)
      const answers = askServers(
        host(from),
        own.map(([key, [, address, port]]) => ({
          ...{ protocol: 'tcp' as const, address, port },
          timeoutMs: answered.includes(key) ? 5000 : 150,
        })),
      )
      for (const [i, [key]] of own.entries()) {
        const [attempt] = answers[i] ?? []
        got.set(key, attempt?.server === undefined ? (attempt?.error ?? 'nothing') : 'answered')
      }
    }
    const expected = Object.keys(asks).map((key) => [key, answered.includes(key) ? 'answered' : 'TIMEOUT'])
    t.same(Object.fromEntries(got), Object.fromEntries(expected), name)
  }
})

tap.test('changes are at once, whole, and counted', { skip: canMakeHosts }, async (t) => {
  const { node, host, program, packets } = await makePolicyWorld(t)
  const allow = testPolicy('in', { from: 'network:other', to: 'network:dcos', protocol: 'tcp' })
  await program([allow])
  const connection = await openConnection(host('other'), places.b1.ip4, 8080)
  t.equal(connection.first.server, 'b1')
  const before = packets('in')
  t.ok(before > 0, 'counted')
  t.equal((await connection.ask()).server, 'b1')
  t.ok(packets('in') > before, 'each packet of its direction is judged, and counted')

  await program([allow, testPolicy('ping', { from: 'network:other', to: 'network:dcos', protocol: 'icmp' })])
  // A replacement of all policies by others of the same effect: no packet may meet a moment without any.
  const pings = host('other').start('ping', '-i', '0.002', '-c', '1000', '-q', '-W', '1', places.b1.ip4)
  const output = new Promise<string>((resolve) => {
    let text = ''
    pings.stdout?.on('data', (data) => {
      text += String(data)
    })
    pings.once('close', () => resolve(text))
  })
  for (let i = 0; i < 20; i++) {
    await program([testPolicy(`in${i}`, { from: i % 2 === 0 ? 'any' : 'cidr:10.90.0.0/17', to: 'network:dcos' })])
  }
  t.match(await output, / 0% packet loss/, '20 replacements under traffic lose nothing')

  await program([])
  const cut = await Promise.race([
    connection.ask(),
    new Promise<{ readonly server?: string }>((resolve) => setTimeout(() => resolve({}), 700)),
  ])
  t.equal(cut.server, undefined, 'no policy any more: the established connection is cut')
  t.match(
    node.run('nft', 'list', 'chain', 'inet', 'weft', 'iso-forward'),
    /counter packets [1-9]\d* bytes \d+ drop comment "cross4/,
  )
})
