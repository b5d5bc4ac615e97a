import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { canMakeHosts, type TestHost } from '../support/hosts.ts'
import { type AskTarget, askServers, startServer } from '../support/lb-traffic.ts'
import { makePortmapWorld, segmentAddresses } from '../support/portmap-world.ts'

const { signal } = new AbortController()
const kinds = ([4, 6] as const).flatMap((family) => (['tcp', 'udp'] as const).map((protocol) => ({ family, protocol })))
const mapping = (hostPort: number, containerPort: number, protocol: string, hostIP?: string) => ({
  ...{ hostPort, containerPort, protocol },
  ...(hostIP === undefined ? {} : { hostIP }),
})
const mappings = {
  portMappings: [
    mapping(8080, 80, 'tcp'),
    mapping(8080, 80, 'udp'),
    mapping(9090, 80, 'tcp', segmentAddresses.node[4]),
    mapping(9091, 80, 'tcp', '127.0.0.1'),
    mapping(7000, 7001, 'sctp'),
  ],
}
const vip = '100.96.0.9'

/** `server` or the error of each target, asked once. */
function ask(from: TestHost, targets: readonly AskTarget[]): readonly (string | undefined)[] {
  return askServers(from, targets).map(([attempt]) => attempt?.server ?? attempt?.error)
}

t.test('host ports lead to containers', { skip: canMakeHosts }, async (t) => {
  const world = await makePortmapWorld(t)
  const { node, client, conntrack, call } = world
  const portmap = await world.start()
  await portmap.repair({ signal })
  const [a, b] = [node.container('a'), node.container('b')]
  t.match(await call('ADD', a, mappings), { exitCode: 0 })
  t.match(await call('ADD', b), { exitCode: 0 })
  await Promise.all([startServer(a, 'a', 80), startServer(b, 'b', 8080)])
  const own =
    node
      .leases()
      .list()
      .find(({ container }) => container === a.name)?.addresses ?? []

  await t.test('from everywhere, with the true source', async (t) => {
    const targets = kinds.map(({ family, protocol }) => ({
      ...{ protocol, port: 8080 },
      address: segmentAddresses.node[family],
    }))
    const bAddresses =
      node
        .leases()
        .list()
        .find(({ container }) => container === b.name)?.addresses ?? []
    for (const { from, name, seen } of [
      { from: client, name: 'another host', seen: [segmentAddresses.client[4], segmentAddresses.client[6]] },
      { from: node.host, name: 'the host itself', seen: [segmentAddresses.node[4], segmentAddresses.node[6]] },
      { from: b, name: 'another container', seen: bAddresses },
      { from: a, name: 'the container itself', seen: undefined },
    ]) {
      for (const [i, [attempt]] of askServers(from, targets).entries()) {
        const { family, protocol } = kinds[i] ?? { family: 4, protocol: 'tcp' }
        t.equal(attempt?.server ?? attempt?.error, 'a', `${name}: ${protocol}, IPv${family}`)
        if (seen !== undefined) t.equal(attempt?.seen, seen[family === 4 ? 0 : 1], 'its own address is seen')
      }
    }
  })

  await t.test('host addresses', async (t) => {
    const tcp = (address: string, port: number) => ({ protocol: 'tcp', address, port }) as const
    const [there, six] = [segmentAddresses.node[4], segmentAddresses.node[6]]
    t.same(ask(client, [tcp(there, 9090), tcp(six, 9090), tcp(there, 9091)]), ['a', 'ECONNREFUSED', 'ECONNREFUSED'])
    t.same(ask(node.host, [tcp('127.0.0.1', 8080), tcp('127.0.0.1', 9091), tcp('192.0.2.1', 9090)]), [
      'a',
      'a',
      'ECONNREFUSED',
    ])
    t.same(ask(client, [tcp(there, 8081)]), ['ECONNREFUSED'], 'no mapping')
  })

  await t.test('a container can not reach the host by its loopback addresses', async (t) => {
    await startServer(node.host, 'node', 6060)
    a.run('ip', 'route', 'add', '127.0.0.9/32', 'via', '169.254.1.1', 'dev', 'eth0', 'table', '99')
    a.run('ip', 'rule', 'add', 'to', '127.0.0.9', 'lookup', '99', 'pref', '1')
    a.run('ip', 'rule', 'add', 'lookup', 'local', 'pref', '2')
    a.run('ip', 'rule', 'del', 'pref', '0')
    a.run('sysctl', '-qw', 'net.ipv4.conf.eth0.route_localnet=1')
    const dropped = () =>
      Number(/guard \{[\s\S]*?counter packets (\d+)/.exec(node.host.run('nft', 'list', 'table', 'inet', 'weft'))?.[1])
    const before = dropped()
    t.same(ask(a, [{ protocol: 'tcp', address: '127.0.0.9', port: 6060, timeoutMs: 500 }]), ['TIMEOUT'])
    t.ok(dropped() > before, 'its packets arrived, and were dropped')
  })

  await t.test('SCTP', async (t) => {
    for (const rule of [
      'add table inet x',
      'add chain inet x in { type filter hook input priority 0 ; }',
      'add rule inet x in meta l4proto sctp th dport 7001 counter',
    ]) {
      a.run('nft', rule)
    }
    client.run(
      'perl',
      fileURLToPath(new URL('../fixtures/sctp-init.pl', import.meta.url)),
      segmentAddresses.node[4],
      '7000',
    )
    t.match(a.run('nft', 'list', 'table', 'inet', 'x'), /packets 1 /)
  })

  await t.test('a VIP is no host address', async (t) => {
    node.host.run('ip', 'route', 'add', 'local', `${vip}/32`, 'dev', 'lo')
    client.run('ip', 'route', 'add', `${vip}/32`, 'via', segmentAddresses.node[4])
    const target = { protocol: 'tcp', address: vip, port: 8080 } as const
    t.same(ask(client, [target]), ['a'], 'as any local address')
    await portmap.guard.add([parseIp(vip)])
    t.same(ask(client, [target]), ['ECONNREFUSED'], 'once it is a VIP')
    t.same(ask(node.host, [target]), ['ECONNREFUSED'], 'and from the host itself')
    await portmap.guard.replace([])
    t.same(ask(client, [target]), ['a'])
  })

  await t.test('a port that is taken', async (t) => {
    const state = () => [node.host.run('nft', 'list', 'table', 'inet', 'weft').replace(/packets \d+ bytes \d+/g, '')]
    const before = [state(), node.hostLinks(), node.leases().list()]
    const c = node.container('c')
    for (const taken of [mapping(8080, 1, 'tcp'), mapping(8080, 1, 'udp', '192.0.2.1'), mapping(9090, 1, 'tcp')]) {
      const answer = await call('ADD', c, { portMappings: [mapping(5000, 1, 'tcp'), taken] })
      t.match(answer, { exitCode: 1, answer: { code: 11, msg: /host port .* leads to container .*choose another/ } })
      t.same([state(), node.hostLinks(), node.leases().list()], before, 'nothing changed')
    }
  })

  await t.test('after a restart, with the rules gone', async (t) => {
    await node.stop()
    node.host.run('nft', 'delete', 'table', 'inet', 'weft')
    const next = await world.start()
    t.ok((await next.repair({ signal })).length > 0)
    t.same(await next.repair({ signal }), [], 'a second look finds nothing to do')
    t.same(ask(client, [{ protocol: 'tcp', address: segmentAddresses.node[4], port: 8080 }]), ['a'])
  })

  await t.test('DEL', async (t) => {
    ask(
      client,
      kinds.map(({ family, protocol }) => ({ protocol, port: 8080, address: segmentAddresses.node[family] })),
    )
    const flows = async () => {
      const all = kinds.map(({ family }) =>
        conntrack.list({ family, protocol: 17, original: { destinationPort: 8080 } }),
      )
      return (await Promise.all(all)).flat().filter(({ reply }) => own.some((address) => address === reply.source))
    }
    t.ok((await flows()).length >= 2, 'flows lead to the container')
    t.match(await call('DEL', a), { exitCode: 0 })
    t.same(await flows(), [], 'no UDP flow is left')
    t.notMatch(node.host.run('nft', 'list', 'table', 'inet', 'weft'), /8080|9090|7000/)
    t.same(ask(client, [{ protocol: 'tcp', address: segmentAddresses.node[4], port: 8080 }]), ['ECONNREFUSED'])
  })
})
