// Mesos-DNS for a Mesos cluster that Weft does not run: follows a master, answers its names. Nothing starts at import.
import { randomBytes } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import { systemClock } from '../../core/base/clock.ts'
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { type Ip, parseIp } from '../../core/base/ip.ts'
import { type Logger } from '../../core/base/log.ts'
import { openZkClient } from '../../core/store/zookeeper-client.ts'
import { parseZooKeeperUrl } from '../../core/store/zookeeper-url.ts'
import { parseName } from '../dns/name.ts'
import { mesosDnsRoute } from '../http/mesos-dns.ts'
import { metricsText } from '../http/metrics-text.ts'
import { firstRoute, type Route } from '../http/reply.ts'
import { openHttpServer } from '../http/server.ts'
import { weftDnsRoute } from '../http/weft.ts'
import { openCache } from '../proxy/cache.ts'
import { openExchange } from '../proxy/exchange.ts'
import { openProxy } from '../proxy/proxy.ts'
import { emptyCluster } from '../records/cluster.ts'
import { namesConfig } from '../records/config.ts'
import { logQueries } from '../server/query-log.ts'
import { rateLimit } from '../server/rate-limit.ts'
import { type Forward, makeResponder, monotonicSeconds } from '../server/respond.ts'
import { openDnsServer } from '../server/server.ts'
import { makeTransfer } from '../server/transfer.ts'
import { type NamesStage, openNamesStage } from '../stage.ts'
import { proxyStatsObserver } from '../worker/proxy-stats.ts'
import { makeStatsBuffer, proxyPart, statsObserver, sumThreads, type ThreadStats } from '../worker/stats.ts'
import { clusterChange, isChange, makeClusterMaker } from './cluster.ts'
import { type StandaloneConfig } from './config.ts'
import { followMesos } from './follow.ts'
import { openHostAddresses } from './hosts.ts'
import { type ElectionOptions, type LeaderWatch, watchLeader } from './leader.ts'
import { openMasterClient } from './master.ts'
import { emptyModel, type MesosModel } from './mesos.ts'

/** Where to listen. */
export interface Place {
  readonly address: Ip
  /** 0: any free one. */
  readonly port: number
}

/** What a stand-alone server is started with. */
export interface StandaloneOptions {
  readonly config: StandaloneConfig
  /** Base URLs of masters. */
  readonly masters: readonly string[]
  /** `zk://…` where the leader is found; absent: the masters are asked. */
  readonly zk?: string
  /** Empty: no DNS. */
  readonly listen: readonly Place[]
  readonly http?: Place
  readonly version: string
  readonly log: Logger
}

/** A running server. */
export interface Standalone {
  readonly dns: readonly Place[]
  readonly httpPort: number | undefined
  close(): Promise<void>
}

/** Changes that come within this become one. */
const gatherMs = 20

/** What the proxy may keep. */
const cacheBytes = 16 << 20

/**
 * Starts to serve and to follow; until the first state came, names of the domain are answered SERVFAIL.
 * @throws ERR_DNS_LISTEN, ERR_DNS_HTTP_LISTEN when an address can't be bound; nothing stays open then
 */
export async function openStandalone(options: StandaloneOptions): Promise<Standalone> {
  const { config, log, masters } = options
  const names = namesConfig({ ...config.names, nameServers: config.names.nameServers ?? nameServers(options.listen) })
  const stage = openNamesStage({ self: '', config: names, log })
  const ending = new AbortController()
  const opened: { close(): Promise<void> }[] = []
  const close = async () => {
    ending.abort()
    await Promise.all(opened.map((one) => one.close()))
  }
  try {
    const served = await openServers({ options, stage, signal: ending.signal, opened })
    const client = openMasterClient({
      timeoutMs: config.stateTimeoutSeconds * 1000,
      ...(config.credentials === undefined ? {} : { credentials: config.credentials }),
    })
    const onModel = applyModels(options, stage)
    const refreshMs = config.refreshSeconds * 1000
    const leader = openLeaderWatch(options, ending.signal)
    const follow = { client, masters, refreshMs, onModel, clock: systemClock, log, ...(leader && { leader }) }
    const following = followMesos(follow, { signal: ending.signal })
    opened.push({ close: () => following })
    return { ...served, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Longest wait for a session with ZooKeeper. */
const zkLimitMs = 10_000

/** @throws ERR_STORE_URL */
function openLeaderWatch({ zk, log }: StandaloneOptions, signal: AbortSignal): LeaderWatch | undefined {
  if (zk === undefined) return undefined
  const target = parseZooKeeperUrl(zk)
  const open: ElectionOptions['open'] = (options) =>
    openZkClient(target, { clock: systemClock, limitMs: zkLimitMs, signal: options.signal })
  return watchLeader({ open, folder: target.base, clock: systemClock, log }, { signal })
}

interface Ground {
  readonly options: StandaloneOptions
  readonly stage: NamesStage
  readonly signal: AbortSignal
  readonly opened: { close(): Promise<void> }[]
}

async function openServers({ options, stage, signal, opened }: Ground): Promise<Omit<Standalone, 'close'>> {
  const { log, listen } = options
  const { zones } = stage
  const { config: names } = stage.view
  const stats = new Float64Array(makeStatsBuffer())
  const forward = openForward(options, { stats, signal })
  const common = {
    zones,
    log,
    observer: statsObserver(stats),
    ...(forward === undefined ? {} : { forward }),
    ...(names.versionText === undefined ? {} : { versionText: names.versionText }),
  }
  const responder = makeResponder(common)
  const respond = names.queryLog === 'on' ? logQueries(responder, log, () => performance.now()) : responder
  const transfer = makeTransfer(zones, names.transfersTo)
  const limited = names.rateLimit === undefined ? {} : { rateLimit: rateLimit(names.rateLimit) }
  const tcp = { maxConnections: names.tcpConnections, idleMs: names.tcpIdleSeconds * 1000 }
  const dns: Place[] = []
  for (const { address, port } of listen) {
    const server = await openDnsServer({ ...common, ...limited, tcp, respond, transfer, addresses: [address], port })
    opened.push(server)
    dns.push(...server.endpoints)
  }
  if (options.http === undefined) return { dns, httpPort: undefined }
  const http = await openHttpServer({ ...options.http, route: routes(options, stage, stats), log })
  opened.push(http)
  return { dns, httpPort: http.port }
}

function routes({ config, version }: StandaloneOptions, { view }: NamesStage, stats: Float64Array): Route {
  const counters = () => sumThreads([stats])
  const { enumeration, refreshSeconds, shown } = config
  const metrics: Route = ({ path }) => {
    if (path.join('/') !== 'metrics') return undefined
    const gauges = { serial: view.zones.serial(), collisions: view.collisions().length }
    return { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body: metricsText(counters(), gauges) }
  }
  const mesosDns = mesosDnsRoute({ view, version, config: shown, refreshSeconds, enumeration })
  return firstRoute(mesosDns, weftDnsRoute({ view, counters }), metrics)
}

/** Names of others: as the file says; without a resolver they are refused. */
function openForward(
  { config }: StandaloneOptions,
  { stats, signal }: { readonly stats: ThreadStats; readonly signal: AbortSignal },
): Forward | undefined {
  const { resolvers, zoneResolvers, names } = config
  const zones = Object.entries(zoneResolvers)
  if (resolvers.length === 0 && zones.length === 0) return undefined
  const exchange = openExchange()
  signal.addEventListener('abort', () => exchange.close(), { once: true })
  const proxy = {
    upstreams: resolvers,
    forwardZones: zones.map(([suffix, upstreams]) => ({ suffix: parseName(suffix), upstreams })),
    search: [],
    own: [names.domain ?? parseName('mesos')],
  }
  const cache = openCache(cacheBytes)
  const observer = proxyStatsObserver(proxyPart(stats))
  const shared = { observer, exchange, cache, clock: systemClock, nowSeconds: monotonicSeconds, signal }
  return openProxy({ ...shared, config: proxy, id: randomBytes(8), kept: () => undefined })
}

/** Serves each model soon after it came, many at once as one. */
function applyModels({ masters, log }: StandaloneOptions, stage: NamesStage): (model: MesosModel) => void {
  const hostPorts = masters.map((url) => new URL(url).host)
  const makeCluster = makeClusterMaker()
  let model = emptyModel
  let cluster = emptyCluster
  let waiting = false
  let applied: Promise<void> = Promise.resolve()
  const hosts = openHostAddresses(systemClock.monotonicMs, () => soon())
  const apply = async () => {
    const context = { masters: hostPorts, resolve: hosts.resolve, version: cluster.version + 1 }
    const change = clusterChange(cluster, makeCluster(model, context))
    if (cluster !== emptyCluster && !isChange(change)) return
    const { signal } = new AbortController()
    const steps = stage.plan(change)
    await steps.add({ signal })
    await steps.remove({ signal })
    cluster = change.next
    if (cluster.version === 1) log.info({ tasks: cluster.tasks.size, agents: model.agents.size }, 'names are served')
  }
  const soon = () => {
    if (waiting) return
    waiting = true
    systemClock.after(gatherMs, () => {
      waiting = false
      applied = applied.then(apply).catch((error: unknown) => {
        log.error({ reason: errorMessage(error) }, 'a state of the cluster was not applied')
      })
    })
  }
  return (next) => {
    model = next
    soon()
  }
}

/** `ns1` of the domain leads here: to every address of the machine when it listens on all. */
function nameServers(listen: readonly Place[]): readonly Ip[] {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  const usable = all.filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
  return [
    ...new Set(
      listen.flatMap(({ address }) => {
        if (address !== '0.0.0.0' && address !== '::') return [address]
        const family = address === '::' ? 'IPv6' : 'IPv4'
        return usable.filter((one) => one.family === family).map((one) => parseIp(one.address))
      }),
    ),
  ]
}

/** `ADDRESS:PORT`, IPv6 in brackets. @throws ERR_STANDALONE_PLACE */
export function parsePlace(text: string): Place {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? []
  const address = bracketed ?? plain
  if (address === undefined || Number(port) > 65_535) {
    throw new AppError('ERR_STANDALONE_PLACE', `"${text}" is not ADDRESS:PORT, like 127.0.0.1:5353 or [::1]:5353`)
  }
  return { address: parseIp(address), port: Number(port) }
}
