import { release } from 'node:os'
import { type Test } from 'tap'
import { parseNodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, emptySnapshot, type RunningTask } from '../../core/model/snapshot.ts'
import { openLbConntrack } from '../../lb/conntrack.ts'
import { type DataPlaneMode, openDataPlane } from '../../lb/open.ts'
import { type VipPing } from '../../lb/refuse.ts'
import { openLbStage } from '../../lb/stage.ts'
import { openIsolationStage } from '../../networking/isolation/stage.ts'
import { openConntrack } from '../../networking/netlink/conntrack.ts'
import { openRouteSocket } from '../../networking/netlink/route-socket.ts'
import { openLibnftables } from '../../networking/nft/libnftables.ts'
import { type Nft } from '../../networking/nft/nft.ts'
import { type RouteSocket } from '../../networking/netlink/ops.ts'
import { type Stage } from '../../networking/node/stage.ts'
import { nftTable } from '../../networking/protocol.ts'
import { makeHost, type TestHost } from './hosts.ts'
import { testChange, testNetwork, testNode, testSnapshot, testTask, type TestTask, testVip } from './lb-snapshot.ts'
import { hostSysctl } from './ipvs/kernel.ts'
import { nftNamespace } from './nft-namespace.ts'

/** Addresses of the node in {@link makeRouterNode}. */
export const routerAddresses = { vtep4: '100.97.0.1', vtep6: 'fd01:a::1', underlay: '192.0.2.1' } as const

/** Makes a host a node: forwards, and has VTEP and underlay addresses on devices that lead nowhere. */
export function makeRouterNode(host: TestHost): void {
  for (const path of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding']) {
    host.run('sh', '-c', `echo 1 > /proc/sys/net/${path}`)
  }
  for (const [device, ...addresses] of [
    ['vtep', `${routerAddresses.vtep4}/20`, `${routerAddresses.vtep6}/64`],
    ['under', `${routerAddresses.underlay}/24`],
  ] as const) {
    host.run('ip', 'link', 'add', device, 'type', 'bridge') // no port: this kernel has no dummy
    host.run('ip', 'link', 'set', device, 'up')
    for (const address of addresses) {
      host.run('ip', 'addr', 'add', address, 'dev', device, ...(address.includes(':') ? ['nodad'] : []))
    }
  }
}

/** Plugs a container in as the CNI plugin does: routed through a link-local gateway, no bridge. */
export function plugContainer(node: TestHost, container: TestHost, { device, ip4, ip6 }: Place): void {
  node.run('ip', 'link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', container.name)
  node.run('ip', 'link', 'set', device, 'up')
  node.run('ip', 'addr', 'add', '169.254.1.1/32', 'dev', device, 'scope', 'link')
  node.run('ip', 'addr', 'add', 'fe80::1/64', 'dev', device, 'nodad')
  container.run('ip', 'link', 'set', 'eth0', 'up')
  container.run('ip', 'addr', 'add', `${ip4}/32`, 'dev', 'eth0')
  container.run('ip', 'addr', 'add', `${ip6}/128`, 'dev', 'eth0', 'nodad')
  container.run('ip', 'route', 'add', 'default', 'via', '169.254.1.1', 'dev', 'eth0', 'onlink', 'src', ip4)
  container.run('ip', '-6', 'route', 'add', 'default', 'via', 'fe80::1', 'dev', 'eth0', 'src', ip6)
  node.run('ip', 'route', 'add', `${ip4}/32`, 'dev', device)
  node.run('ip', '-6', 'route', 'add', `${ip6}/128`, 'dev', device)
}

/** Where a container is plugged in. */
export interface Place {
  readonly device: string
  readonly ip4: string
  readonly ip6: string
}

const { signal } = new AbortController()
/** Addresses of the VIP `web` and of `none`, which no task serves. */
export const vip = { 4: '100.96.0.1', 6: 'fd01:c::1' } as const
/** Of the VIP `host`. */
export const hostVip = { 4: '100.96.0.3' } as const
/** See {@link vip}. */
export const empty = { 4: '100.96.0.2', 6: 'fd01:c::2' } as const
/** The containers: `other` is on another network. */
export const places = {
  b1: { device: 'wfb1', ip4: '10.80.0.11', ip6: 'fd01:b:0:1::11' },
  b2: { device: 'wfb2', ip4: '10.80.0.12', ip6: 'fd01:b:0:1::12' },
  b3: { device: 'wfb3', ip4: '10.80.0.13', ip6: 'fd01:b:0:1::13' },
  client: { device: 'wfc', ip4: '10.80.0.20', ip6: 'fd01:b:0:1::20' },
  other: { device: 'wfo', ip4: '10.90.0.20', ip6: 'fd01:b:0:2::20' },
} as const
/** Name of a container. */
export type PlaceName = keyof typeof places
/** Containers that serve. */
export const servers = ['b1', 'b2', 'b3'] as const

const networks = [
  testNetwork('dcos', 1024, '10.80.0.0/14', 'fd01:b:0:1::/64'),
  testNetwork('other', 1025, '10.90.0.0/16', 'fd01:b:0:2::/64'),
]
const nodes = [testNode('n1', routerAddresses.underlay, routerAddresses.vtep4, routerAddresses.vtep6)]
const vips = [
  testVip('web', ...Object.values(vip)),
  testVip('none', ...Object.values(empty)),
  testVip('host', hostVip[4]),
]

/** A task behind the VIP `web`, in the container of its name. */
export function backend(name: (typeof servers)[number], more: Partial<TestTask> = {}): RunningTask {
  const { ip4, ip6 } = places[name]
  const labels = { VIP_0: '/web:80' }
  return testTask(name, { node: 'n1', addresses: [ip4, ip6], port: 8080, protocols: ['tcp', 'udp'], labels, ...more })
}

/** A task behind the VIP `none` that never gets healthy. */
export const pending = testTask('none', {
  node: 'n1',
  addresses: [places.b1.ip4, places.b1.ip6],
  port: 8080,
  protocols: ['tcp', 'udp'],
  labels: { VIP_0: '/none:80' },
  health: 'pending',
})

/** One node with the containers and both stages, removed with the test. */
export interface World {
  readonly node: TestHost
  host(name: PlaceName | 'node'): TestHost
  /** Brings the node from the last snapshot to one with these tasks, as the pipeline does. */
  program(tasks: readonly RunningTask[]): Promise<void>
  /** What the audits of both stages repaired. */
  audit(): Promise<readonly string[]>
  /** Starts both stages anew, as another node daemon, with this data plane; it knows nothing until an audit or a change. */
  restart(dataPlane: DataPlaneMode, ping?: VipPing): void
}

/** How a {@link World} is made: without `containers` none is plugged in; `dataPlane` is nftables when absent. */
export interface WorldOptions {
  readonly containers: 'all' | 'none'
  readonly dataPlane?: DataPlaneMode
}

/** Makes a {@link World}. */
export async function makeWorld(t: Test, { containers, dataPlane = 'nftables' }: WorldOptions): Promise<World> {
  const node = makeHost('node')
  t.teardown(node.remove)
  makeRouterNode(node)
  const hosts = new Map<string, TestHost>([['node', node]])
  for (const [name, place] of Object.entries(containers === 'all' ? places : {})) {
    const host = makeHost(name)
    t.teardown(host.remove)
    plugContainer(node, host, place)
    hosts.set(name, host)
  }
  const nft = await openLibnftables({ namespace: nftNamespace(node) })
  const routes = openRouteSocket({ netns: node.path })
  t.teardown(() => {
    routes.close()
    nft.close()
  })
  const open = (mode: DataPlaneMode, ping: VipPing = 'answer') =>
    makeStages(t, { nft, routes, node, mode, self: 'n1', ping })
  let stages = open(dataPlane)
  let current: ClusterSnapshot = emptySnapshot
  const program = async (tasks: readonly RunningTask[]) => {
    const next = testSnapshot(current.version + 1, { networks, nodes, tasks, vips })
    const steps = stages.map((stage) => stage.plan(testChange(current, next)))
    current = next
    for (const step of steps) await step.add({ signal })
    for (const step of steps.toReversed()) await step.remove({ signal })
  }
  const audit = async () => {
    const repairs: string[] = []
    for (const stage of stages) {
      repairs.push(...(await stage.audit(current, { signal })).map(({ operation }) => operation))
    }
    return repairs
  }
  const host = (name: PlaceName | 'node') => hosts.get(name) ?? node
  const restart = (mode: DataPlaneMode, ping?: VipPing) => {
    stages = open(mode, ping)
  }
  return { node, host, program, audit, restart }
}

/** What {@link makeStages} works with. */
export interface StageParts {
  readonly nft: Nft
  readonly routes: RouteSocket
  readonly node: TestHost
  readonly mode: DataPlaneMode
  /** Absent: VIPs answer. */
  readonly ping?: VipPing
  /** Name of the node. */
  readonly self: string
}

/** Isolation and load balancer of a node, as its daemon has them; their data plane is closed with the test. */
export function makeStages(t: Test, { nft, routes, node, mode, self, ping }: StageParts): readonly Stage[] {
  const sysctl = hostSysctl(nftNamespace(node))
  const kernelRelease = release()
  const flows = openConntrack({ netns: node.path })
  const conntrack = openLbConntrack(flows)
  const shared = { nft, table: nftTable, conntrack, sysctl, kernelRelease, netns: node.path }
  const plane = openDataPlane({ mode, ...shared, ...(ping && { ping }) })
  t.teardown(() => {
    plane.close()
    flows.close()
  })
  return [openIsolationStage({ nft, table: nftTable }), openLbStage({ self: parseNodeName(self), plane, routes })]
}
