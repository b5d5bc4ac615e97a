import { type Clock } from '../../core/base/clock.ts'
import { errorMessage } from '../../core/base/errors.ts'
import { type Ip, parseIp } from '../../core/base/ip.ts'
import { type Logger } from '../../core/base/log.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { mangleDomain } from '../../discovery/dns/label.ts'
import { dcosNetRoute, type VipEntry } from '../../discovery/http/dcos-net.ts'
import { mesosDnsConfig, mesosDnsRoute } from '../../discovery/http/mesos-dns.ts'
import { metricsText } from '../../discovery/http/metrics-text.ts'
import { type AsyncRoute, firstOfRoutes } from '../../discovery/http/reply.ts'
import { openHttpServer } from '../../discovery/http/server.ts'
import { weftDnsRoute } from '../../discovery/http/weft.ts'
import { type NamesView } from '../../discovery/stage.ts'
import { sumThreads, type ThreadStats } from '../../discovery/worker/stats.ts'
import { desiredServers } from '../../lb/vip/desired.ts'
import { dcosNetHttpPort } from '../protocol.ts'

/** What the node's names are told by HTTP with. */
export interface NamesHttpOptions {
  readonly self: NodeName
  readonly view: NamesView
  readonly stats: readonly ThreadStats[]
  readonly snapshot: () => ClusterSnapshot
  readonly clock: Clock
  readonly log: Logger
  /** What else is told on dcos-net's port, by who gets the names' metrics to tell them too. */
  readonly status?: (metrics: () => string) => AsyncRoute
}

/** Port of Mesos-DNS's API. Source: reference/mesos-dns.md. */
const mesosDnsPort = 8123

const loopback = parseIp('127.0.0.1')

/** What a node daemon has no version of its own for. */
const version = 'weft'

/**
 * Answers Mesos-DNS's API and dcos-net's on their ports of the node's loopback. A port that another program holds is left to
 * it: names are answered all the same.
 */
export async function openNamesHttp(options: NamesHttpOptions): Promise<{ close(): Promise<void> }> {
  const { view, stats, log } = options
  const counters = () => sumThreads(stats)
  const config = mesosDnsConfig(view.config, { Listener: view.config.nameServers[0] ?? '', HttpPort: mesosDnsPort })
  const mesosDns = mesosDnsRoute({ view, version, config, refreshSeconds: 0, enumeration: 'on' })
  const metrics = () => metricsText(counters(), { serial: view.zones.serial(), collisions: view.collisions().length })
  const vips = () => vipEntries(options.snapshot(), options.self)
  const dcosNet = dcosNetRoute({ view, version, vips, updatedMs: options.clock.nowMs, metrics })
  const own = firstOfRoutes(...(options.status === undefined ? [] : [options.status(metrics)]), dcosNet)
  const servers = await Promise.all([
    open({ port: mesosDnsPort, route: mesosDns, log }),
    open({ port: dcosNetHttpPort, route: firstOfRoutes(own, weftDnsRoute({ view, counters })), log }),
  ])
  return {
    close: async () => {
      await Promise.all(servers.map((server) => server?.close()))
    },
  }
}

async function open({ port, route, log }: { readonly port: number; readonly route: AsyncRoute; readonly log: Logger }) {
  try {
    return await openHttpServer({ address: loopback, port, route, log })
  } catch (error) {
    log.warn({ port, reason: errorMessage(error) }, 'names are not told by HTTP on this port')
    return undefined
  }
}

/** Named VIPs by name, each with the backends of all its addresses; others by address. */
export function vipEntries(snapshot: ClusterSnapshot, self: NodeName): readonly VipEntry[] {
  const names = new Map<Ip, string>()
  for (const { name, framework, addresses } of snapshot.vips.values()) {
    const full = [name, ...mangleDomain(framework), 'l4lb.thisdcos.directory'].join('.')
    for (const address of addresses) names.set(address, full)
  }
  const entries = new Map<string, { vip: string; protocol: string; backend: { ip: string; port: number }[] }>()
  for (const { address, port, protocol, backends } of desiredServers(snapshot, self)) {
    const vip = `${names.get(address) ?? address}:${port}`
    const key = `${protocol} ${vip}`
    const entry = entries.get(key) ?? { vip, protocol, backend: [] }
    entry.backend.push(...backends.map((backend) => ({ ip: backend.address, port: backend.port })))
    entries.set(key, entry)
  }
  return [...entries.values()]
}
