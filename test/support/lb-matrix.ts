import { type Test } from 'tap'
import { type Ip, ipFamily } from '../../core/base/ip.ts'
import { diffSnapshots } from '../../core/model/delta.ts'
import { type ClusterSnapshot, type RunningTask } from '../../core/model/snapshot.ts'
import { vipKey } from '../../core/model/vip.ts'
import { type DataPlaneMode } from '../../lb/open.ts'
import { openLibnftables } from '../../networking/nft/libnftables.ts'
import { Pipeline } from '../../networking/node/pipeline.ts'
import { type TestHost } from './hosts.ts'
import { testTask, testVip } from './lb-snapshot.ts'
import { askServers, startServer } from './lb-traffic.ts'
import { makeStages } from './lb-world.ts'
import { nftNamespace } from './nft-namespace.ts'
import { makeOverlayHosts, openStageOn, type OverlayContainer, type OverlayHost } from './overlay-hosts.ts'
import { overlaySnapshot, twoNetworks } from './overlay-snapshots.ts'

const { signal } = new AbortController()

type Family = 4 | 6
/** Each by name and by a given address; `web` in containers of the first node, `host` on host ports of both nodes. */
const vips = {
  web: {
    named: { 4: '100.96.0.1', 6: 'fd01:c::1' },
    given: { 4: '198.18.0.1', 6: '2001:db8:99::1' },
  },
  host: {
    named: { 4: '100.96.0.2', 6: 'fd01:c::2' },
    given: { 4: '198.18.0.2', 6: '2001:db8:99::2' },
  },
} as const

/** Two nodes with an overlay over VXLAN between them; on the first are two backends and a client, on the second a client. */
interface MatrixWorld {
  readonly nodes: readonly [OverlayHost, OverlayHost]
  readonly backends: readonly [OverlayContainer, OverlayContainer]
  readonly same: OverlayContainer
  readonly other: OverlayContainer
}

async function makeMatrixWorld(t: Test, dataPlane: DataPlaneMode, underlay: Family): Promise<MatrixWorld> {
  const hosts = makeOverlayHosts({ count: 2, underlay }, t.teardown.bind(t))
  const [first, second] = hosts
  const network = twoNetworks[0]?.name
  if (first === undefined || second === undefined || network === undefined) throw new Error('two hosts are needed')
  const container = (host: OverlayHost, number: number) => host.addContainer(network, number)
  const world: MatrixWorld = {
    nodes: [first, second],
    backends: [container(first, 11), container(first, 12)],
    same: container(first, 20),
    other: container(second, 20),
  }
  const snapshot = matrixSnapshot(world)
  for (const { host, node, routes } of hosts) {
    const nft = await openLibnftables({ namespace: nftNamespace(host) })
    t.teardown(nft.close)
    const stages = makeStages(t, { nft, routes, node: host, mode: dataPlane, self: node.name })
    const pipeline = new Pipeline([openStageOn(host, node, { routes }), ...stages])
    const previous = pipeline.current
    await pipeline.apply({ previous, next: snapshot, delta: diffSnapshots(previous, snapshot) }, { signal })
  }
  for (const [i, { host }] of world.backends.entries()) await startServer(host, `b${i}`, 8080)
  for (const { host, node } of world.nodes) await startServer(host, node.name, 9090, node.underlay)
  return world
}

function matrixSnapshot({ nodes, backends }: MatrixWorld): ClusterSnapshot {
  const labels = ({ named, given }: (typeof vips)[keyof typeof vips]) => ({
    VIP_0: `/${named === vips.web.named ? 'web' : 'host'}:80`,
    VIP_1: `${given[4]}:80`,
    VIP_2: `[${given[6]}]:80`,
  })
  const protocols = ['tcp', 'udp'] as const
  const tasks: readonly RunningTask[] = [
    ...backends.map(({ addresses }, i) =>
      testTask(`b${i}`, { node: 'n1', addresses, port: 8080, protocols, labels: labels(vips.web) }),
    ),
    ...nodes.map(({ node }) =>
      testTask(`${node.name}`, { node: node.name, port: 9090, protocols, labels: labels(vips.host) }),
    ),
  ]
  const named = (['web', 'host'] as const).map((name) => testVip(name, ...Object.values(vips[name].named)))
  return {
    ...overlaySnapshot(
      1,
      nodes.map(({ node }) => node),
    ),
    tasks: new Map(tasks.map((task) => [task.id, task])),
    vips: new Map(named.map((vip) => [vipKey(vip.name, vip.framework), vip])),
  }
}

interface Source {
  readonly from: 'host' | 'other host' | 'same node' | 'other node' | 'hairpin'
  readonly host: TestHost
  /** Its own addresses, one of each IP version. */
  readonly addresses: readonly Ip[]
  /** What it is itself as a server, whose answers may have another source: only its own. */
  readonly is?: string
}

function sourcesOf({ nodes, backends, same, other }: MatrixWorld): readonly Source[] {
  const [first, second] = nodes
  return [
    { from: 'host', host: first.host, addresses: first.node.vtep.addresses, is: 'n1' },
    { from: 'other host', host: second.host, addresses: second.node.vtep.addresses, is: 'n2' },
    { from: 'same node', ...same },
    { from: 'other node', ...other },
    { from: 'hairpin', ...backends[0], is: 'b0' },
  ]
}

/** Twice that many fair coins fall on one side once in eight million times. */
const attempts = 24

/**
 * {host, container of the same node, of another one, the backend itself} x {TCP, UDP} x {named, given address}, for these
 * IP versions of one kind of backend: answered, by both backends, and the client's own address is seen.
 */
async function checkCells(t: Test, world: MatrixWorld, { kind, families }: MatrixPart): Promise<void> {
  const expected = kind === 'web' ? ['b0', 'b1'] : ['n1', 'n2']
  const cells = families.flatMap((family) =>
    (['tcp', 'udp'] as const).flatMap((protocol) =>
      (['named', 'given'] as const).map((by) => ({ family, protocol, by, address: vips[kind][by][family] })),
    ),
  )
  for (const { from, host, addresses, is } of sourcesOf(world)) {
    const got = askServers(
      host,
      cells.map(({ protocol, address }) => ({ protocol, address, port: 80, count: attempts, timeoutMs: 5000 })),
    )
    for (const [i, { family, protocol, by }] of cells.entries()) {
      const answers = got[i] ?? []
      const what = `${kind}, ${by}, ${protocol}${family} from ${from}`
      const who = [...new Set(answers.map(({ server, error }) => server ?? error))].toSorted()
      t.same(who, expected, `${what}: answered by both`)
      const seen = answers.filter(({ server }) => server !== is).map((answer) => answer.seen)
      const own = addresses.filter((address) => ipFamily(address) === family)
      t.same([...new Set(seen)], own, `${what}: its own address is seen`)
    }
  }
}

interface MatrixPart {
  readonly kind: keyof typeof vips
  readonly families: readonly Family[]
}

/** All cells. A host port has the IP version of the underlay, so that one is tried over both. */
export async function matrixSuite(t: Test, dataPlane: DataPlaneMode): Promise<void> {
  for (const underlay of [4, 6] as const) {
    const world = await makeMatrixWorld(t, dataPlane, underlay)
    if (underlay === 4) await checkCells(t, world, { kind: 'web', families: [4, 6] })
    await checkCells(t, world, { kind: 'host', families: [underlay] })
  }
}
