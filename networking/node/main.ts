/**
 * `weft net`: the node daemon. It belongs into the node's network namespace, follows the cluster's snapshot and programs
 * it; answers the CNI plugin and DNS. SIGTERM ends it and leaves the kernel as it is: the next start takes that over.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { pluginRunner } from '../../cni-plugins/cni/runner.ts'
import { watchSnapshots } from '../../core/api/client.ts'
import { systemClock } from '../../core/base/clock.ts'
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { type Logger, openLog } from '../../core/base/log.ts'
import { diffSnapshots } from '../../core/model/delta.ts'
import { type ClusterSnapshot, emptySnapshot } from '../../core/model/snapshot.ts'
import { type NamesConfig } from '../../discovery/records/config.ts'
import { parseNamesConfig } from '../../discovery/records/parse-config.ts'
import { type NamesStage } from '../../discovery/stage.ts'
import { openLbConntrack } from '../../lb/conntrack.ts'
import { openBypass } from '../../lb/health/bypass.ts'
import { openPlaces } from '../../lb/health/peers.ts'
import { type PeerWatch } from '../../lb/health/watch-peers.ts'
import { openDataPlane } from '../../lb/open.ts'
import { openLbStage } from '../../lb/stage.ts'
import { type AttachKernel, openAttachKernel } from '../attach/kernel.ts'
import { type LeaseKey } from '../ipam/lease.ts'
import { type Leases, openLeases } from '../ipam/leases.ts'
import { type Antispoof, openAntispoof } from '../isolation/antispoof.ts'
import { openIsolationStage } from '../isolation/stage.ts'
import { type ConntrackTable, openConntrack } from '../netlink/conntrack.ts'
import { type RouteSocket } from '../netlink/ops.ts'
import { openRouteSocket } from '../netlink/route-socket.ts'
import { openTrafficControl } from '../netlink/traffic.ts'
import { type Nft } from '../nft/nft.ts'
import { openNft } from '../nft/open.ts'
import { procSysctl } from '../overlay/sysctl.ts'
import { loopbackSettings } from '../attach/loopback.ts'
import { openPortmap, type Portmap } from '../portmap/port-mapper.ts'
import { openPortmapStage } from '../portmap/stage.ts'
import { nftTable } from '../protocol.ts'
import { openShaper, type Shaper } from '../shaping/shaper.ts'
import { openAuditRequests } from './audit-requests.ts'
import { openSnapshotCache } from './cache.ts'
import { cniHandler } from './cni-handler.ts'
import { drainDelQueue } from './cni-queue.ts'
import { openCniServer } from './cni-server.ts'
import { sweepAttachments } from './cni-sweep.ts'
import { openConflists } from './conflists.ts'
import { followCluster } from './follow.ts'
import { openNames } from './names.ts'
import { openNamesHttp } from './names-http.ts'
import { type NetFlags, parseNetFlags } from './options.ts'
import { type Overlay, openOverlay } from './overlay.ts'
import { openPeerHealth, type PeerHealthOptions, peerWarnings } from './peer-health.ts'
import { Pipeline } from './pipeline.ts'
import { type Stage } from './stage.ts'
import { observedLeases, openUsageReporter, type UsageOptions } from './usage.ts'
import { cniView } from './view.ts'

interface Ground {
  readonly flags: NetFlags
  readonly log: Logger
  readonly signal: AbortSignal
  readonly routes: RouteSocket
}

/** What containers have on this node, and what serves them. */
interface Containers {
  readonly leases: Leases
  readonly kernel: AttachKernel
  readonly portmap: Portmap
  readonly shaper: Shaper
  readonly conntrack: ConntrackTable
  readonly antispoof: Antispoof
}

async function openContainers({ flags, log, routes }: Ground, nft: Nft): Promise<Containers> {
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  const leases = await openLeases({ path: join(flags.stateDir, 'leases'), bootId, log })
  const kernel = openAttachKernel()
  const conntrack = openConntrack()
  const allowLoopback = (key: LeaseKey) => kernel.writeSettings('host', loopbackSettings(leases.get(key)?.hostLink))
  const portmap = openPortmap({ nft, table: nftTable, leases: leases.list, conntrack, allowLoopback })
  const shaper = openShaper({ routes, traffic: openTrafficControl(), removeLinks: kernel.removeLinks })
  const antispoof = openAntispoof({ nft, table: nftTable, leases: leases.list })
  return { leases, kernel, portmap, shaper, conntrack, antispoof }
}

interface PipelineParts {
  readonly nft: Nft
  readonly names: NamesStage
  readonly containers: Containers
  readonly overlay: Stage
  readonly snapshot: () => ClusterSnapshot
}

function openPipeline({ flags, log, routes }: Ground, parts: PipelineParts) {
  const { nft, names, containers, overlay, snapshot } = parts
  const { nodeName: self } = flags
  const { portmap } = containers
  const plane = openDataPlane({
    mode: flags.dataPlane,
    nft,
    table: nftTable,
    conntrack: openLbConntrack(containers.conntrack),
    sysctl: procSysctl,
    kernelRelease: release(),
    onForeign: (entries) => log.info({ entries }, "others' IPVS services are left alone"),
  })
  log.info({ dataPlane: plane.name }, 'load balancer opened')
  const bypass = openBypass(plane, { self, placeOf: openPlaces(snapshot) })
  const pipeline = new Pipeline([
    overlay,
    openIsolationStage({ nft, table: nftTable, antispoof: containers.antispoof }),
    openPortmapStage(portmap),
    openLbStage({ self, plane: bypass.plane, routes, guard: portmap.guard }),
    names,
  ])
  return { pipeline, bypass }
}

async function openCni(
  { flags, log, signal }: Ground,
  { containers, view, report }: Pick<UsageOptions, 'view' | 'report'> & { readonly containers: Containers },
) {
  const { kernel, shaper, antispoof } = containers
  const usage = openUsageReporter({ leases: containers.leases, view, report, clock: systemClock })
  const leases = observedLeases(containers.leases, usage.changed)
  const plugins = (directories: readonly string[]) => pluginRunner({ directories, env: { PATH: process.env['PATH'] } })
  const deps = { leases, kernel, view, log, plugins, shaper, antispoof, portMapper: containers.portmap.mapper }
  const handler = cniHandler(deps)
  await sweepAttachments(deps, { signal })
  await drainDelQueue({ socketPath: flags.socket, handler, log }, { signal })
  const server = await openCniServer({ socketPath: flags.socket, handler, log })
  return {
    changed: usage.changed,
    close: async () => {
      usage.close()
      await server.close()
      await leases.close()
      kernel.close()
    },
  }
}

async function underlayMtuBytes({ routes, flags }: Ground): Promise<number> {
  const link = await routes.link(flags.underlayDevice)
  if (link !== undefined) return link.mtuBytes
  throw new AppError('ERR_NODE_UNDERLAY', `no device "${flags.underlayDevice}": --underlay-device names it`)
}

async function run(ground: Ground): Promise<void> {
  const { flags, log, signal, routes } = ground
  const { nodeName, underlay, masters } = flags
  const cache = openSnapshotCache({ file: join(flags.stateDir, 'snapshot'), clock: systemClock, log })
  const known = cache.load()
  const dns = await openNames({ ...namesOptions(flags), routes, log, known, onFailure: endProcess })
  const nft = await openNft()
  log.info({ nft: nft.name }, 'nftables opened')
  const containers = await openContainers(ground, nft)
  const requests = openAuditRequests()
  const { request: requestAudit } = requests
  const snapshot = () => pipeline.current
  const overlay = openOverlay({
    flags,
    routes,
    snapshot,
    requestAudit,
    clock: systemClock,
    log,
  })
  const lb = openPipeline(ground, { nft, names: dns.stage, containers, overlay: overlay.stage, snapshot })
  const { pipeline }: { readonly pipeline: Pipeline } = lb
  const peers = watchPeers(ground, { asker: overlay.asker, bypass: lb.bypass, snapshot, requestAudit })
  if (known !== undefined) await adopt(pipeline, known, ground)
  const tell = { self: nodeName, view: dns.stage.view, stats: dns.stats, snapshot }
  const http = await openNamesHttp({ ...tell, clock: systemClock, log })
  const mtuBytes = await underlayMtuBytes(ground)
  const resume = known === undefined ? {} : { resumeAfter: known }
  const watch = watchSnapshots({ masters, nodeName, underlay, ...resume, signal, log })
  const node = () => ({ name: nodeName, underlay, underlayMtuBytes: overlay.underlayMtuBytes() ?? mtuBytes })
  const view = () => cniView(pipeline.current, node())
  const cni = await openCni(ground, { containers, view, report: watch.reportUsage })
  const conflists = openConflists(flags.cniConfDir, flags.socket)
  const onApplied = (snapshot: ClusterSnapshot) => {
    cache.save(snapshot)
    conflists.keep(snapshot)
    cni.changed()
  }
  log.info({ node: nodeName }, 'node daemon ready')
  const watching = Promise.allSettled([overlay.run({ signal }), peers?.run({ signal })])
  const warnings = () => [...overlay.warnings(), ...peerWarnings(peers?.reports() ?? [])]
  await followCluster({ watch, pipeline, onApplied, warnings, requests, clock: systemClock, log, signal })
  await Promise.allSettled([watching, cni.close(), http.close(), dns.close()])
  cache.close()
}

function watchPeers(
  { flags, log }: Ground,
  { asker, ...parts }: Pick<PeerHealthOptions, 'bypass' | 'snapshot' | 'requestAudit'> & Pick<Overlay, 'asker'>,
): PeerWatch | undefined {
  return asker && openPeerHealth({ self: flags.nodeName, asker, ...parts, clock: systemClock, log })
}

/** @throws ERR_NAMES_CONFIG, ENOENT for --dns-config */
function namesOptions({ nodeName, dnsConfig, upstreams, forwardZones }: NetFlags) {
  const config: Partial<NamesConfig> = dnsConfig === undefined ? {} : parseNamesConfig(readFileSync(dnsConfig, 'utf8'))
  return { self: nodeName, config, forwardZones, ...(upstreams === undefined ? {} : { upstreams }) }
}

/** A node whose names are not answered must not look healthy: whoever supervises the daemon starts it again. */
function endProcess(error: unknown): void {
  process.stderr.write(`weft net: the DNS server failed: ${errorMessage(error)}\n`)
  process.exit(1)
}

/** What the disk knows is programmed at once: names answer again before any master does. */
async function adopt(pipeline: Pipeline, known: ClusterSnapshot, { log, signal }: Ground): Promise<void> {
  const change = { previous: emptySnapshot, next: known, delta: diffSnapshots(emptySnapshot, known) }
  try {
    const repairs = await pipeline.apply(change, { signal })
    log.info({ version: known.version, repairs: repairs.length }, 'took over from the snapshot on disk')
  } catch (error) {
    log.error({ version: known.version, reason: errorMessage(error) }, 'snapshot on disk is not wholly programmed')
  }
}

async function main(): Promise<void> {
  const flags = parseNetFlags(process.argv.slice(2))
  const log = openLog('net', flags.logLevel)
  const ending = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => ending.abort())
  mkdirSync(flags.stateDir, { recursive: true, mode: 0o700 })
  const routes = openRouteSocket({})
  await run({ flags, log, signal: ending.signal, routes })
  log.info({}, 'node daemon ended; the kernel stays as it is')
}

try {
  await main()
  process.exit(0)
} catch (error) {
  process.stderr.write(`weft net: ${errorMessage(error)}\n`)
  process.exit(1)
}
