// The data path's benchmark: `path.ts nftables|ipvs`; lb-path.bench.ts runs it, for IPVS in the guest where it must. Prints
// rows as JSON. WEFT_PATH_LOAD: the compiled path-load.c; WEFT_HAPROXY, WEFT_IPVSADM: folders of unpacked packages, or empty.
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type DataPlaneMode, openDataPlane } from '../../../lb/open.ts'
import { openLbStage } from '../../../lb/stage.ts'
import { parseNodeName } from '../../../core/model/ids.ts'
import { emptySnapshot } from '../../../core/model/snapshot.ts'
import { openIsolationStage } from '../../../networking/isolation/stage.ts'
import { openRouteSocket } from '../../../networking/netlink/route-socket.ts'
import { openLibnftables } from '../../../networking/nft/libnftables.ts'
import { nftTable } from '../../../networking/protocol.ts'
import { makeHost, type TestHost } from '../../support/hosts.ts'
import { hostSysctl } from '../../support/ipvs/kernel.ts'
import { testChange, testNetwork, testNode, testSnapshot, testTask, testVip } from '../../support/lb-snapshot.ts'
import { makeRouterNode, plugContainer, routerAddresses } from '../../support/lb-world.ts'
import { nftNamespace } from '../../support/nft-namespace.ts'
import { type BenchRow, median } from '../report.ts'

const mode: DataPlaneMode = process.argv[2] === 'ipvs' ? 'ipvs' : 'nftables'
const loader = process.env['WEFT_PATH_LOAD'] ?? ''
const rounds = process.env['WEFT_LONG'] === '1' ? 101 : 31
const milliseconds = 150
const vip = '100.96.0.1'
const backends = [11, 12, 13].map((last) => ({ name: `b${last}`, ip4: `10.80.0.${last}`, ip6: `fd01:b::${last}` }))
const folder = mkdtempSync(join(tmpdir(), 'weft-path-'))
const hosts: TestHost[] = []
const { signal } = new AbortController()

interface World {
  readonly node: TestHost
  readonly client: TestHost
}

function fresh(label: string): TestHost {
  const host = makeHost(label)
  hosts.push(host)
  return host
}

/** A node with a client's container and three with servers; nothing balances yet. */
async function makeWorld(label: string): Promise<World> {
  const node = fresh(label)
  makeRouterNode(node)
  const client = fresh('client')
  plugContainer(node, client, { device: 'client', ip4: '10.80.0.9', ip6: 'fd01:b::9' })
  for (const { name, ip4, ip6 } of backends) {
    const host = fresh(name)
    plugContainer(node, host, { device: name, ip4, ip6 })
    const { stdout } = host.start(loader, 'server', '8080')
    if (stdout !== null) await once(createInterface(stdout), 'line')
  }
  return { node, client }
}

/** Isolation and load balancer, as the node daemon has them. */
async function balanceOurs({ node }: World): Promise<void> {
  const namespace = nftNamespace(node)
  const nft = await openLibnftables({ namespace })
  const routes = openRouteSocket({ netns: node.path })
  const shared = { mode, nft, table: nftTable, sysctl: hostSysctl(namespace), kernelRelease: release() }
  const plane = openDataPlane({ ...shared, netns: node.path })
  const stages = [
    openIsolationStage({ nft, table: nftTable }),
    openLbStage({ self: parseNodeName('n1'), plane, routes }),
  ]
  const tasks = backends.map(({ name, ip4 }) =>
    testTask(name, { node: 'n1', addresses: [ip4], port: 8080, labels: { VIP_0: '/web:80' } }),
  )
  const parts = {
    networks: [testNetwork('dcos', 1024, '10.80.0.0/14'), testNetwork('lab', 1025, '10.84.0.0/16')],
    nodes: [testNode('n1', routerAddresses.underlay, routerAddresses.vtep4)],
    ...{ tasks, vips: [testVip('web', vip)] },
  }
  const steps = stages.map((stage) => stage.plan(testChange(emptySnapshot, testSnapshot(1, parts))))
  for (const step of steps) await step.add({ signal })
}

function runText({ node }: World, file: string, text: string, ...command: readonly string[]): void {
  const [program = '', ...words] = command
  writeFileSync(join(folder, file), text)
  node.run(program, ...words, join(folder, file))
}

function routeVip({ node }: World): void {
  node.run('ip', 'route', 'add', 'local', `${vip}/32`, 'dev', 'lo', 'table', 'local')
}

/** What nft says of our table, loaded on another node by `nft -f`: the same objects, made by hand. */
function balanceSame(ours: World, world: World): void {
  runText(world, 'same', ours.node.run('nft', 'list', 'table', 'inet', nftTable), 'nft', '-f')
  routeVip(world)
}

/** The least that balances. */
function balanceByHand(world: World): void {
  routeVip(world)
  if (mode === 'ipvs') {
    for (const setting of ['conntrack', 'conn_reuse_mode', 'expire_nodest_conn']) {
      world.node.run('sh', '-c', `echo 1 > /proc/sys/net/ipv4/vs/${setting}`)
    }
    ipvsadm(world, '-A', '-t', `${vip}:80`, '-s', 'wlc')
    for (const { ip4 } of backends) ipvsadm(world, '-a', '-t', `${vip}:80`, '-r', `${ip4}:8080`, '-m', '-w', '1')
    return
  }
  const map = backends.map(({ ip4 }, i) => `${i} : ${ip4} . 8080`).join(', ')
  const rule = `ip daddr ${vip} tcp dport 80 dnat ip to numgen random mod 3 map { ${map} }`
  const text = `table inet hand { chain c { type nat hook prerouting priority -100\n${rule}\n}\n}\n`
  runText(world, 'hand', text, 'nft', '-f')
}

function libraries(unpacked: string): string {
  return `LD_LIBRARY_PATH=${unpacked}/lib/x86_64-linux-gnu:${unpacked}/usr/lib/x86_64-linux-gnu`
}

function ipvsadm({ node }: World, ...words: readonly string[]): void {
  const unpacked = process.env['WEFT_IPVSADM'] ?? ''
  node.run('env', libraries(unpacked), `${unpacked}/sbin/ipvsadm`, ...words)
}

async function balanceByHaproxy(world: World, unpacked: string): Promise<void> {
  routeVip(world)
  const servers = backends.map(({ name, ip4 }) => `  server ${name} ${ip4}:8080`)
  const timeouts = ['connect', 'client', 'server'].map((what) => `  timeout ${what} 10s`)
  const listen = ['listen web', `  bind ${vip}:80`, '  balance leastconn', ...servers]
  const text = ['global', '  nbthread 1', 'defaults', '  mode tcp', ...timeouts, ...listen, ''].join('\n')
  writeFileSync(join(folder, 'haproxy.cfg'), text)
  const file = join(folder, 'haproxy.cfg')
  world.node.start('env', libraries(unpacked), `${unpacked}/usr/sbin/haproxy`, '-db', '-f', file)
  for (let i = 0; i < 100 && !world.node.run('ss', '-ltn').includes(`${vip}:80`); i++) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

interface Figures {
  readonly rate: number
  readonly p50: number
  readonly p99: number
}

function load({ client }: World): Figures {
  const figures: unknown = JSON.parse(client.run(loader, 'client', vip, '80', String(milliseconds)))
  return figures as Figures // our own program's
}

/** Each in turn, as many times; ratios are of one round, so that what else the machine does meets both. */
function measure(worlds: ReadonlyMap<string, World>): ReadonlyMap<string, readonly Figures[]> {
  const all = new Map([...worlds.keys()].map((name) => [name, [] as Figures[]]))
  for (const world of worlds.values()) load(world)
  for (let round = 0; round < rounds; round++) {
    const turn = round % 2 === 0 ? [...worlds] : [...worlds].toReversed()
    for (const [name, world] of turn) all.get(name)?.push(load(world))
  }
  return all
}

/** Peers that have what we have, made by other hands. */
const sameObjects: ReadonlySet<string> = new Set(['nft -f of the same table', 'ipvsadm'])

function report(all: ReadonlyMap<string, readonly Figures[]>): void {
  const ours = all.get('ours') ?? []
  const conditions = `client and 3 servers in containers of one node, 1 connection at a time, median of ${rounds} rounds of ${milliseconds} ms in turn`
  for (const [peerName, peers] of all) {
    if (peerName === 'ours') continue
    for (const [figure, unit] of [
      ['rate', 'connections/s'],
      ['p50', 'median us'],
      ['p99', 'p99 us'],
    ] as const) {
      const ratio = median(ours.map((one, i) => one[figure] / (peers[i]?.[figure] ?? Number.NaN)))
      // The rate of one client is the reciprocal of the mean, which whatever else the machine does spoils; the median is not.
      const hasGoal = figure === 'p50' && sameObjects.has(peerName)
      const row: BenchRow = {
        ...{ bench: 'lb-path', metric: `${mode}: ${unit}`, ours: median(ours.map((one) => one[figure])), ratio },
        ...{ peer: median(peers.map((one) => one[figure])), peerName, conditions },
        ...{ goal: hasGoal ? 'ratio <= 1 / 0.97' : 'told', holds: hasGoal ? ratio <= 1 / 0.97 : null },
      }
      console.log(JSON.stringify(row))
    }
  }
}

try {
  const worlds = new Map<string, World>()
  const ours = await makeWorld('ours')
  await balanceOurs(ours)
  worlds.set('ours', ours)
  if (mode === 'nftables') {
    const same = await makeWorld('same')
    balanceSame(ours, same)
    worlds.set('nft -f of the same table', same)
  }
  if (mode === 'nftables' || (process.env['WEFT_IPVSADM'] ?? '') !== '') {
    const hand = await makeWorld('hand')
    balanceByHand(hand)
    worlds.set(mode === 'ipvs' ? 'ipvsadm' : 'one rule by hand', hand)
  }
  const unpacked = process.env['WEFT_HAPROXY'] ?? ''
  if (unpacked !== '') {
    const proxied = await makeWorld('haproxy')
    await balanceByHaproxy(proxied, unpacked)
    worlds.set('haproxy', proxied)
  }
  report(measure(worlds))
} finally {
  for (const host of hosts.toReversed()) host.remove()
  rmSync(folder, { recursive: true, force: true })
}
process.exit(0) // sockets in the namespaces are still open
