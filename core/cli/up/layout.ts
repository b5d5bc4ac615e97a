import { join } from 'node:path'
import { type Ip, parseIp } from '../../base/ip.ts'
import { type NodeName, parseNodeName } from '../../model/ids.ts'

/** A simulated machine: a network namespace with one device on the segment. */
export interface HostLayout {
  readonly name: NodeName
  readonly kind: 'master' | 'agent'
  /** Name below /run/netns, so that `ip netns exec` finds it too. */
  readonly netns: string
  readonly underlay: Ip
  /** Where its daemons keep state, sockets and logs. */
  readonly directory: string
}

/** Where everything of a local cluster is. Pure arithmetic on its name and size. */
export interface ClusterLayout {
  readonly name: string
  readonly directory: string
  /** Namespace of the segment: a bridge without a route out. */
  readonly segmentNetns: string
  readonly hosts: readonly HostLayout[]
  readonly underlayLength: number
  readonly grpcPort: number
  /** Of the masters' HTTP interface on their own addresses. */
  readonly httpPort: number
}

/** What `weft up` was asked for. */
export interface ClusterSize {
  readonly name: string
  readonly agents: number
  /** Absent: one. */
  readonly masters?: number
}

/** Everything of local clusters lives below it; it is gone after a reboot, as namespaces are. */
export const runDirectory = '/run/weft'

/** Device of a simulated host on the segment. */
export const underlayDevice = 'eth0'

/** Benchmarking range, RFC 2544: never on a real machine's links, and here without a route out anyway. */
const underlayPrefix = '198.18'
const underlayLength = 16

/** State directory of a local cluster. */
export function clusterDirectory(name: string): string {
  return join(runDirectory, name)
}

/** The machines of a local cluster: `master1` to `masterN`, then `agent1` to `agentN`. */
export function clusterLayout({ name, agents, masters = 1 }: ClusterSize): ClusterLayout {
  const directory = clusterDirectory(name)
  const host = (kind: HostLayout['kind'], index: number): HostLayout => {
    const hostName = parseNodeName(`${kind}${index}`)
    const underlay = parseIp(`${underlayPrefix}.${kind === 'master' ? 0 : 1}.${index}`)
    return { name: hostName, kind, netns: `weft-${name}-${hostName}`, underlay, directory: join(directory, hostName) }
  }
  return {
    name,
    directory,
    segmentNetns: `weft-${name}-segment`,
    hosts: [
      ...Array.from({ length: masters }, (_, i) => host('master', i + 1)),
      ...Array.from({ length: agents }, (_, i) => host('agent', i + 1)),
    ],
    underlayLength,
    grpcPort: 5060,
    httpPort: 5050,
  }
}

/** Absolute path of a named namespace. */
export function netnsPath(netns: string): string {
  return join('/run/netns', netns)
}
