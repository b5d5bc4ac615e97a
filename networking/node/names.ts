import { readFileSync } from 'node:fs'
import { systemClock } from '../../core/base/clock.ts'
import { errorMessage } from '../../core/base/errors.ts'
import { type Ip, ipFamily, parseIp } from '../../core/base/ip.ts'
import { type Logger } from '../../core/base/log.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { type Name } from '../../discovery/dns/name.ts'
import { type ForwardZone, parseResolvConf, type ProxyConfig, type Upstream } from '../../discovery/proxy/config.ts'
import { directoryDomain, type NamesConfig, namesConfig } from '../../discovery/records/config.ts'
import { type NamesStage, openNamesStage } from '../../discovery/stage.ts'
import { openGuardedDns } from '../../discovery/worker/guard.ts'
import { type DnsThreads } from '../../discovery/worker/open.ts'
import { type RouteSocket } from '../netlink/ops.ts'
import { containerGateway, dnsAddress, dnsAddresses } from '../protocol.ts'
import { type SnapshotCache } from './cache.ts'

/** The last snapshot on disk, and what it was when the daemon started. */
export interface Stored {
  readonly cache: SnapshotCache
  readonly known: ClusterSnapshot | undefined
}

/** What the node's names are served with. */
export interface NamesOptions {
  readonly self: NodeName
  readonly routes: RouteSocket
  readonly log: Logger
  /** Reads what the disk knows, if anything; called while the threads start. */
  readonly readDisk: () => Promise<Stored>
  /** Resolvers for names of others; absent: those of /etc/resolv.conf. */
  readonly upstreams?: readonly Upstream[]
  /** Zones of others that have resolvers of their own. */
  readonly forwardZones?: readonly ForwardZone[]
  /** Absent: defaults. */
  readonly config?: Partial<NamesConfig>
  readonly onFailure: (error: unknown) => void
}

/** The node's DNS server and the stage that feeds it. */
export interface Names {
  readonly stage: NamesStage
  /** Where it answers. */
  readonly endpoints: DnsThreads['endpoints']
  readonly stats: DnsThreads['stats']
  close(): Promise<void>
}

/**
 * Starts the DNS server. When an earlier daemon of this boot has programmed the node, what names lead to is still there: they
 * are served from the disk at once, before the kernel is compared with it.
 * @throws ERR_DNS_LISTEN when another program holds port 53 of an address
 */
export async function openNames(options: NamesOptions): Promise<Names & { readonly stored: Stored }> {
  const { self, log, onFailure } = options
  const { addresses, survived } = await ensureAddresses(options)
  const config = namesConfig(options.config)
  const proxy = proxyConfig(options, { own: [config.domain, directoryDomain], addresses })
  log.info({ upstreams: proxy?.upstreams.map(({ address }) => address) ?? [] }, 'names of others are forwarded')
  let apply: DnsThreads['apply'] | undefined
  const stage = openNamesStage({ self, config, publish: (change) => apply?.(change), log })
  const { whole } = stage.zones
  const server = { config, addresses, port: 53, log, onFailure, whole, clock: systemClock }
  const [threads, stored] = await Promise.all([
    openGuardedDns(proxy === undefined ? server : { ...server, proxy }),
    options.readDisk(),
  ])
  apply = threads.apply
  const { known } = stored
  if (known !== undefined && survived) await stage.audit(known, { signal: new AbortController().signal })
  return { stage, endpoints: threads.endpoints, stats: threads.stats, close: threads.close, stored }
}

const resolvConf = '/etc/resolv.conf'

/** Where names of others are resolved; `undefined`: nowhere. Our own addresses would be a circle. */
function proxyConfig(
  { upstreams, forwardZones = [], log }: NamesOptions,
  { own, addresses }: { readonly own: readonly Name[]; readonly addresses: readonly Ip[] },
): ProxyConfig | undefined {
  const machine = parseResolvConf(readResolvConf(log), new Set<string>(addresses))
  const config = { forwardZones, search: machine.search, own, upstreams: upstreams ?? machine.upstreams }
  return config.upstreams.length + forwardZones.length === 0 ? undefined : config
}

function readResolvConf(log: Logger): string {
  try {
    return readFileSync(resolvConf, 'utf8')
  } catch (error) {
    log.warn({ file: resolvConf, reason: errorMessage(error) }, 'no resolvers of the machine are known')
    return ''
  }
}

/**
 * The addresses must be there before the DNS server can bind them. Of scope host, or the kernel would take them as the source
 * of what it masquerades. A node without IPv6 goes without those.
 */
async function ensureAddresses({ routes, log }: NamesOptions): Promise<{
  readonly addresses: readonly Ip[]
  readonly survived: boolean
}> {
  const wanted = [...dnsAddresses, containerGateway[4]].map(parseIp)
  const before = new Set((await routes.addresses()).map(({ address }) => address))
  const ops = wanted.map((address) => {
    const prefixLength = ipFamily(address) === 4 ? 32 : 128
    return { kind: 'address.replace', address: { device: 'lo', address, prefixLength, scope: 'host' } } as const
  })
  const outcomes = await routes.perform(ops)
  const there: Ip[] = []
  for (const [i, address] of wanted.entries()) {
    const outcome = outcomes[i]
    if (outcome?.ok === true) there.push(address)
    else if (outcome !== undefined && address === dnsAddress) throw outcome.error
    else log.warn({ address, reason: errorMessage(outcome?.error) }, 'no DNS on this address')
  }
  return { addresses: there, survived: before.has(parseIp(dnsAddress)) }
}
