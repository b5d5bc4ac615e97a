import { type Clock } from '../../core/base/clock.ts'
import { errorMessage } from '../../core/base/errors.ts'
import { type Ip } from '../../core/base/ip.ts'
import { type Logger } from '../../core/base/log.ts'
import { counter, formatMetrics, gauge, type MetricFamily } from '../../core/base/metrics.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { type SubnetUsage } from '../../core/model/usage.ts'
import { type AsyncRoute, jsonReply } from '../../discovery/http/reply.ts'
import { openHttpServer } from '../../discovery/http/server.ts'
import { type CounterReader } from '../../lb/counters.ts'
import { type DataPlane } from '../../lb/dataplane.ts'
import { type Bypass } from '../../lb/health/bypass.ts'
import { type PeerWatch } from '../../lb/health/watch-peers.ts'
import { dcosNetHttpPort } from '../protocol.ts'
import { type NodeVipStatus, type VipStatus, vipStatus } from './vip-status.ts'

/** What the node's state is told from. */
export interface StatusOptions {
  readonly self: NodeName
  /** What is programmed, or was tried last. */
  readonly snapshot: () => ClusterSnapshot
  /** The last version that was wholly programmed. */
  readonly appliedVersion: () => number
  readonly dataPlane: DataPlane['name']
  readonly bypass: Pick<Bypass, 'servers'>
  readonly placeOf: (address: Ip) => NodeName | undefined
  readonly counters: CounterReader
  /** Absent where probing is not possible. */
  readonly peers: Pick<PeerWatch, 'reports' | 'misses'> | undefined
  readonly foreign: () => readonly string[]
  readonly usage: () => readonly SubnetUsage[]
  /** What was counted since the start. */
  readonly meters: () => readonly MetricFamily[]
  readonly clock: Clock
}

/** `/weft/v1/vips`: this node's VIPs with counters; `/metrics` and `/v1/metrics`, where `more` is put behind. */
export function statusRoute(options: StatusOptions, more: () => string = () => ''): AsyncRoute {
  return async ({ path }) => {
    const [first, ...rest] = path
    const joined = path.join('/')
    if (joined === 'weft/v1/vips') return jsonReply(await nodeVipStatus(options))
    const isMetrics = (first === 'metrics' && rest.length === 0) || joined === 'v1/metrics'
    if (!isMetrics) return undefined
    const body = formatMetrics(await statusMetrics(options)) + more()
    return { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body }
  }
}

/** This node's VIPs, read now. */
export async function nodeVipStatus(options: StatusOptions): Promise<NodeVipStatus> {
  const { self, snapshot, dataPlane, bypass, placeOf, counters, peers, foreign, clock } = options
  const counted = await counters.read()
  const reports = peers?.reports() ?? []
  const vips = vipStatus({
    ...{ self, placeOf, snapshot: snapshot(), servers: bypass.servers(), counters: counted, peers: reports },
  })
  return {
    ...{ node: self, version: snapshot().version, dataPlane, counts: counters.counts, atMs: clock.nowMs() },
    ...{ vips, peers: reports, foreign: foreign() },
  }
}

async function statusMetrics(options: StatusOptions): Promise<readonly MetricFamily[]> {
  const { vips, peers, foreign, version } = await nodeVipStatus(options)
  const applied = options.appliedVersion()
  const states = [
    { labels: { state: 'received' }, value: version },
    { labels: { state: 'applied' }, value: applied },
  ]
  return [
    gauge('net_version', 'Version of the snapshot that came last, and that is wholly programmed', states),
    gauge('net_version_lag', 'Versions that are not wholly programmed', [{ value: Math.max(0, version - applied) }]),
    ...options.meters(),
    ...vipFamilies(vips),
    gauge('lb_foreign_services', "Others' IPVS services", [{ value: foreign.length }]),
    gauge(
      'lb_peers',
      'Nodes that carry backends',
      countBy(peers, ({ state }) => state),
    ),
    counter('lb_peer_misses_total', 'Probes without an answer', [{ value: options.peers?.misses() ?? 0 }]),
    gauge('ipam_leases', 'Addresses by network', options.usage().flatMap(leaseSamples)),
  ]
}

function vipFamilies(vips: readonly VipStatus[]): readonly MetricFamily[] {
  const backends = vips.flatMap((vip) => vip.backends)
  const sum = (of: 'active' | 'inactive' | 'total') => backends.reduce((all, backend) => all + backend[of], 0)
  const open = (['active', 'inactive'] as const).map((state) => ({ labels: { state }, value: sum(state) }))
  return [
    gauge('lb_vips', 'Virtual servers', [{ value: vips.length }]),
    gauge(
      'lb_backends',
      'Backends of all virtual servers',
      countBy(backends, ({ state }) => state),
    ),
    gauge('lb_connections', 'Connections to VIPs that this node balances', open),
    gauge('lb_connections_seen', 'Connections that the present backends have had', [{ value: sum('total') }]),
  ]
}

function countBy<T>(items: readonly T[], stateOf: (item: T) => string) {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(stateOf(item), (counts.get(stateOf(item)) ?? 0) + 1)
  return [...counts].map(([state, value]) => ({ labels: { state }, value }))
}

function leaseSamples({ network, subnet, ...usage }: SubnetUsage) {
  return (['used', 'resting', 'free'] as const).map((state) => ({
    labels: { network, subnet, state },
    value: usage[state],
  }))
}

/** Where the status is told to other machines. */
export interface StatusServerOptions {
  readonly address: Ip
  readonly route: AsyncRoute
  readonly log: Logger
}

/** Serves it on the underlay; a port that another program holds is left to it. */
export async function openStatusHttp({
  address,
  route,
  log,
}: StatusServerOptions): Promise<{ close(): Promise<void> }> {
  try {
    return await openHttpServer({ address, port: dcosNetHttpPort, route, log })
  } catch (error) {
    log.warn({ address, port: dcosNetHttpPort, reason: errorMessage(error) }, 'counters are not told to other machines')
    return { close: async () => undefined }
  }
}
