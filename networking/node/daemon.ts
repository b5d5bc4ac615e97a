/**
 * All of the node daemon but its DNS server, which answers before this file is even loaded: start.ts.
 */
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { pluginRunner } from '../../cni-plugins/cni/runner.ts'
import { watchSnapshots } from '../../core/api/client.ts'
import { systemClock } from '../../core/base/clock.ts'
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'
import { diffSnapshots } from '../../core/model/delta.ts'
import { type ClusterSnapshot, emptySnapshot } from '../../core/model/snapshot.ts'
import { type NamesStage } from '../../discovery/stage.ts'
import { openLbConntrack } from '../../lb/conntrack.ts'
import { watchLbDrift } from '../../lb/drift.ts'
import { openBypass } from '../../lb/health/bypass.ts'
import { openPlaces } from '../../lb/health/peers.ts'
import { type PeerWatch } from '../../lb/health/watch-peers.ts'
import { openDataPlane } from '../../lb/open.ts'
import { type LbStage, openLbStage } from '../../lb/stage.ts'
import { type AttachKernel, openAttachKernel } from '../attach/kernel.ts'
import { type LeaseKey } from '../ipam/lease.ts'
import { type Leases, openLeases } from '../ipam/leases.ts'
import { type Antispoof, openAntispoof } from '../isolation/antispoof.ts'
import { openIsolationStage } from '../isolation/stage.ts'
import { type ConntrackTable, openConntrack } from '../netlink/conntrack.ts'
import { type RouteSocket } from '../netlink/ops.ts'
import { openTrafficControl } from '../netlink/traffic.ts'
import { openNftGeneration } from '../netlink/nft-generation.ts'
import { observeNft } from '../nft/observe.ts'
import { type Nft } from '../nft/nft.ts'
import { openNft } from '../nft/open.ts'
import { procSysctl } from '../overlay/sysctl.ts'
import { loopbackSettings } from '../attach/loopback.ts'
import { openPortmap, type Portmap } from '../portmap/port-mapper.ts'
import { openPortmapStage } from '../portmap/stage.ts'
import { nftTable } from '../protocol.ts'
import { openShaper, type Shaper } from '../shaping/shaper.ts'
import { openAuditRequests } from './audit-requests.ts'
import { type SnapshotCache } from './cache.ts'
import { cniHandler } from './cni-handler.ts'
import { drainDelQueue } from './cni-queue.ts'
import { openCniServer } from './cni-server.ts'
import { sweepAttachments } from './cni-sweep.ts'
import { openConflists } from './conflists.ts'
import { followCluster } from './follow.ts'
import { type Names } from './names.ts'
import { type CniView } from './cni-view.ts'
import {
  meteredAsker,
  meteredCni,
  meteredConntrack,
  meteredNft,
  meteredRoutes,
  meterFamilies,
  type Meters,
  openMeters,
  type PipelineWatch,
  watchPipeline,
} from './meters.ts'
import { openGatewayNamesStage } from './gateway-names.ts'
import { openNamesHttp } from './names-http.ts'
import { type NetFlags } from './options.ts'
import { type Overlay, openOverlay } from './overlay.ts'
import { openPeerHealth, type PeerHealthOptions, peerWarnings } from './peer-health.ts'
import { Pipeline } from './pipeline.ts'
import { type Stage } from './stage.ts'
import { openStatusHttp, type StatusOptions, statusRoute } from './status-http.ts'
import { observedLeases, openUsageReporter, readUsage, type UsageOptions } from './usage.ts'
import { openCounters } from './vip-counters.ts'
import { openTermFile } from './terms.ts'
import { cniView } from './view.ts'

/** What a node daemon works with. */
export interface Ground {
  readonly flags: NetFlags
  readonly log: Logger
  readonly signal: AbortSignal
  readonly routes: RouteSocket
}

interface MeteredGround extends Ground {
  readonly meters: Meters
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

async function openContainers({ flags, log, routes, meters }: MeteredGround, nft: Nft): Promise<Containers> {
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  const leases = await openLeases({ path: join(flags.stateDir, 'leases'), bootId, log })
  const kernel = openAttachKernel()
  const conntrack = meteredConntrack(openConntrack(), meters)
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
  readonly watch: PipelineWatch
}

function openPipeline({ flags, log, routes }: Ground, parts: PipelineParts) {
  const { nft, names, containers, overlay, snapshot } = parts
  const { nodeName: self } = flags
  const { portmap } = containers
  let foreign: readonly string[] = []
  const conntrack = openLbConntrack(containers.conntrack)
  const plane = openDataPlane({
    mode: flags.dataPlane,
    ping: flags.vipPing,
    nft,
    table: nftTable,
    conntrack,
    sysctl: procSysctl,
    kernelRelease: release(),
    onForeign: (entries) => {
      foreign = entries
      log.info({ entries }, "others' IPVS services are left alone")
    },
    glance: () => readFileSync('/proc/net/ip_vs', 'utf8'),
  })
  log.info({ dataPlane: plane.name }, 'load balancer opened')
  const placeOf = openPlaces(snapshot)
  const bypass = openBypass(plane, { self, placeOf, conntrack })
  const vips = openLbStage({ self, plane: bypass.plane, routes, guard: portmap.guard })
  const stages = [
    overlay,
    openIsolationStage({ nft, table: nftTable, antispoof: containers.antispoof }),
    openPortmapStage(portmap),
    vips,
    openGatewayNamesStage({ nft, table: nftTable }),
    names,
  ]
  const pipeline = new Pipeline(stages, parts.watch.observer)
  return { pipeline, bypass, placeOf, dataPlane: plane.name, foreign: () => foreign, differs: vips.differs }
}

async function openCni(
  { flags, log, signal, meters }: MeteredGround,
  { containers, view, report }: Pick<UsageOptions, 'view' | 'report'> & { readonly containers: Containers },
) {
  const { kernel, shaper, antispoof } = containers
  const usage = openUsageReporter({ leases: containers.leases, view, report, clock: systemClock })
  const leases = observedLeases(containers.leases, usage.changed)
  const plugins = (directories: readonly string[]) => pluginRunner({ directories, env: { PATH: process.env['PATH'] } })
  const deps = { leases, kernel, view, log, plugins, shaper, antispoof, portMapper: containers.portmap.mapper }
  const handler = meteredCni(cniHandler(deps), meters)
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

/** What the daemon's DNS server began with. */
export interface Begun {
  readonly cache: SnapshotCache
  /** What the disk knew. */
  readonly known: ClusterSnapshot | undefined
  readonly dns: Names
}

/** Programs the node until the signal aborts; closes everything then, the DNS server too. */
export async function runDaemon(bare: Ground, { cache, known, dns }: Begun): Promise<void> {
  const meters = openMeters()
  const ground = { ...bare, meters, routes: meteredRoutes(bare.routes, meters) }
  const { flags, log, signal, routes } = ground
  const { nodeName, underlay, masters } = flags
  const { nft, changedByOthers } = observeNft(meteredNft(await openNft(), meters), openNftGeneration())
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
    onOverflow: () => meters.resyncs.add({}),
    clock: systemClock,
    log,
  })
  const rounds = watchPipeline(meters)
  const { stage: names } = dns
  const lb = openPipeline(ground, { nft, names, containers, overlay: overlay.stage, snapshot, watch: rounds })
  const { pipeline }: { readonly pipeline: Pipeline } = lb
  const peers = watchPeers(ground, { asker: overlay.asker, bypass: lb.bypass, snapshot, requestAudit })
  if (known !== undefined) await adopt(pipeline, known, ground)
  const mtuBytes = await underlayMtuBytes(ground)
  const node = () => ({ name: nodeName, underlay, underlayMtuBytes: overlay.underlayMtuBytes() ?? mtuBytes })
  const view = () => cniView(pipeline.current, node())
  const http = await openHttp(ground, { dns, lb, containers, snapshot, peers, view, rounds })
  const resume = known === undefined ? {} : { resumeAfter: known }
  const terms = openTermFile(join(flags.stateDir, 'term'), log)
  const watch = watchSnapshots({ masters, nodeName, underlay, ...resume, terms, signal, log })
  const cni = await openCni(ground, { containers, view, report: watch.reportUsage })
  const conflists = openConflists(flags.cniConfDir, flags.socket)
  const onApplied = (snapshot: ClusterSnapshot) => {
    cache.save(snapshot)
    conflists.keep(snapshot)
    cni.changed()
  }
  log.info({ node: nodeName }, 'node daemon ready')
  const drift = watchDrift(ground, { differs: lb.differs, changedByOthers, requestAudit, rounds })
  const watching = Promise.allSettled([overlay.run({ signal }), peers?.run({ signal }), drift])
  const warnings = () => [...overlay.warnings(), ...peerWarnings(peers?.reports() ?? [])]
  await followCluster({ watch, pipeline, onApplied, warnings, requests, clock: systemClock, log, signal })
  await Promise.allSettled([watching, cni.close(), http.close(), dns.close()])
  cache.close()
}

interface DriftParts {
  readonly differs: LbStage['differs']
  readonly changedByOthers: () => boolean
  readonly requestAudit: () => void
  readonly rounds: PipelineWatch
}

function watchDrift({ log, signal }: Ground, { differs, changedByOthers, requestAudit, rounds }: DriftParts) {
  const looks = { nftables: async () => changedByOthers(), vips: differs }
  const report = { onDrift: requestAudit, repaired: rounds.repaired }
  return watchLbDrift({ looks, ...report, clock: systemClock, log }, { signal })
}

interface HttpParts {
  readonly dns: Names
  readonly lb: ReturnType<typeof openPipeline>
  readonly containers: Containers
  readonly snapshot: () => ClusterSnapshot
  readonly peers: PeerWatch | undefined
  readonly view: () => CniView
  readonly rounds: PipelineWatch
}

/** What is told of the node by HTTP: names and counters on its loopback, counters on the underlay too. */
async function openHttp({ flags, log, meters }: MeteredGround, parts: HttpParts) {
  const { dns, lb, containers, snapshot, peers, view, rounds } = parts
  const { bypass, dataPlane, placeOf, foreign } = lb
  const counters = openCounters({ dataPlane, conntrack: containers.conntrack, bypass, sysctl: procSysctl })
  const status: StatusOptions = {
    ...{ self: flags.nodeName, snapshot, appliedVersion: rounds.appliedVersion, dataPlane, bypass, placeOf, counters },
    ...{ peers, foreign, usage: () => readUsage(containers.leases, view()), meters: () => meterFamilies(meters) },
    clock: systemClock,
  }
  const names = { self: flags.nodeName, view: dns.stage.view, stats: dns.stats, snapshot, clock: systemClock, log }
  const open = [openNamesHttp({ ...names, status: (more) => statusRoute(status, more) })]
  if (flags.http === 'underlay') {
    open.push(openStatusHttp({ address: flags.underlay, route: statusRoute(status), log }))
  }
  const servers = await Promise.all(open)
  return {
    close: async () => {
      await Promise.all(servers.map((server) => server.close()))
      counters.close()
    },
  }
}

function watchPeers(
  { flags, log, meters }: MeteredGround,
  { asker, ...parts }: Pick<PeerHealthOptions, 'bypass' | 'snapshot' | 'requestAudit'> & Pick<Overlay, 'asker'>,
): PeerWatch | undefined {
  return (
    asker &&
    openPeerHealth({ self: flags.nodeName, asker: meteredAsker(asker, meters), ...parts, clock: systemClock, log })
  )
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
