import { cidrNth, parseCidr } from '../../core/base/cidr.ts'
import { type Ip, ipFamily } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { type NetworkName } from '../../core/model/ids.ts'
import { type Node } from '../../core/model/snapshot.ts'
import { type RouteSocket } from '../../networking/netlink/ops.ts'
import { openRouteSocket } from '../../networking/netlink/route-socket.ts'
import { insideNetns } from '../../networking/netns.ts'
import { type Stage } from '../../networking/node/stage.ts'
import { type OverlayStageOptions } from '../../networking/overlay/reconcile.ts'
import { openOverlayStage } from '../../networking/overlay/stage.ts'
import { procSysctl, type Sysctl } from '../../networking/overlay/sysctl.ts'
import { containerGateway } from '../../networking/protocol.ts'
import { makeHost, makeSegment, type TestHost, type TestSegment } from './hosts.ts'
import { allocatedNode, containerAddress } from './overlay-snapshots.ts'

/** A simulated machine with an overlay stage of its own. */
export interface OverlayHost {
  readonly host: TestHost
  readonly node: Node
  readonly routes: RouteSocket
  readonly stage: Stage
  /** A namespace wired as a container is: point to point, each address as a host route. Its device has the MTU 1500. */
  addContainer(network: NetworkName, number: number): OverlayContainer
}

/** What stands for a container. */
export interface OverlayContainer {
  readonly host: TestHost
  readonly addresses: readonly Ip[]
}

/** Prefix of the segment's addresses, by the IP version of the underlay. */
const underlays = { 4: parseCidr('192.0.2.0/24'), 6: parseCidr('2001:db8::/64') } as const

/** How many hosts, over which IP version, and what their stages are opened with. */
export interface OverlayHostsOptions extends Partial<OverlayStageOptions> {
  readonly count: number
  readonly underlay: 4 | 6
  /** Told of the segment that they are plugged into, as ports p0, p1, … of the bridge br0. */
  readonly onSegment?: (segment: TestHost) => void
  /** The node at an underlay address; absent: one of the two usual networks. */
  readonly allocate?: (number: number, underlay: Ip) => Node
}

interface MakeHost {
  readonly segment: TestSegment
  readonly underlay: 4 | 6
  readonly number: number
  readonly allocate: (number: number, underlay: Ip) => Node
  readonly options: Partial<OverlayStageOptions>
}

function allocateUsual(number: number, underlay: Ip): Node {
  return allocatedNode(number, undefined, underlay)
}

/** Makes hosts n1, n2, … on one segment; `keep` is called with everything that must be removed, in order of making. */
export function makeOverlayHosts(
  { count, underlay, onSegment, allocate = allocateUsual, ...options }: OverlayHostsOptions,
  keep: (remove: () => void) => void,
): readonly OverlayHost[] {
  const segment = makeSegment()
  keep(() => segment.host.remove())
  onSegment?.(segment.host)
  return Array.from({ length: count }, (_, index) =>
    makeOverlayHost({ segment, underlay, number: index + 1, allocate, options }, keep),
  )
}

function makeOverlayHost(
  { segment, underlay, number, allocate, options }: MakeHost,
  keep: (remove: () => void) => void,
): OverlayHost {
  const host = makeHost(`n${number}`)
  keep(() => host.remove())
  const address = cidrNth(underlays[underlay], BigInt(number))
  segment.plug(host, 'eth0', `${address}/${underlay === 4 ? 24 : 64}`)
  const node = allocate(number, address)
  const routes = openRouteSocket({ netns: host.path })
  keep(() => routes.close())
  let containers = 0
  return {
    host,
    node,
    routes,
    stage: openStageOn(host, node, { ...options, routes }),
    addContainer: (network, each) => {
      const families = (node.subnets.find(({ network: name }) => name === network)?.subnets ?? []).map(ipFamily)
      const addresses = families.map((family) => containerAddress(node, network, { family, host: each }))
      const container = makeHost(`c${number}-${containers}`)
      keep(() => container.remove())
      wire(host, container, { device: `wfc${containers++}`, addresses })
      return { host: container, addresses }
    },
  }
}

/** A stage as the node daemon would open it in this host. */
export function openStageOn(
  host: TestHost,
  node: Node,
  options: Partial<OverlayStageOptions> & { readonly routes: RouteSocket },
): Stage {
  const sysctl: Sysctl = {
    read: (name) => insideNetns(host.path, () => procSysctl.read(name)),
    write: (name, value) => insideNetns(host.path, () => procSysctl.write(name, value)),
  }
  return openOverlayStage({
    ...{ self: node.name, underlayDevice: 'eth0', directRouting: 'never', sysctl, log: silentLog },
    ...options,
  })
}

function wire(
  host: TestHost,
  container: TestHost,
  { device, addresses }: { device: string; addresses: readonly Ip[] },
) {
  const [outer, inner] = ['02:00:00:00:00:01', '02:00:00:00:00:02']
  const peer = ['peer', 'name', 'eth0', 'address', inner, 'netns', container.name]
  host.run('ip', 'link', 'add', device, 'address', outer, 'type', 'veth', ...peer)
  host.run('ip', 'link', 'set', device, 'up')
  container.run('ip', 'link', 'set', 'eth0', 'up')
  for (const address of addresses) {
    const family = ipFamily(address)
    const gateway = containerGateway[family]
    const nodad = family === 6 ? ['nodad'] : []
    container.run('ip', 'address', 'add', address, 'dev', 'eth0', ...nodad)
    container.run('ip', 'neighbour', 'add', gateway, 'lladdr', outer, 'dev', 'eth0', 'nud', 'permanent')
    container.run('ip', `-${family}`, 'route', 'add', 'default', 'via', gateway, 'dev', 'eth0', 'onlink')
    host.run('ip', 'neighbour', 'add', address, 'lladdr', inner, 'dev', device, 'nud', 'permanent')
    host.run('ip', `-${family}`, 'route', 'add', address, 'dev', device, 'protocol', '87')
  }
}

/** True when an echo of so many octets of IP, not to be fragmented, is answered; tried a bounded number of times. */
export function ping(from: TestHost, to: Ip, { octets = 84, attempts = 5 } = {}): boolean {
  const headers = ipFamily(to) === 4 ? 28 : 48
  for (let attempt = 0; attempt < attempts; attempt++) {
    try {
      from.run('ping', '-n', '-c', '1', '-W', '1', '-M', 'do', '-s', String(octets - headers), to)
      return true
    } catch {
      // no answer yet, or none at all: the bound tells which
    }
  }
  return false
}

/**
 * The host's overlay as `ip` and `bridge` tell it, without what changes from one making to the next, and without the
 * multicast groups that the kernel joins in its own time.
 */
export function overlayDump(host: TestHost): readonly string[] {
  const commands = [
    'ip -o link show type vxlan',
    'ip -o address show scope global',
    'ip neighbour show nud permanent',
    'bridge fdb show',
    'ip nexthop show',
    'ip -4 route show',
    'ip -6 route show proto 87',
  ]
  return commands.flatMap((command) => {
    const [program = '', ...words] = command.split(' ')
    const lines = host.run(program, ...words).split('\n')
    return lines
      .map((line) => line.replace(/^\d+: /, '').trim())
      .filter((line) => line !== '' && !/^(33:33|01:00:5e):/.test(line))
      .toSorted()
  })
}
