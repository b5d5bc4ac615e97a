import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type DirectRouting } from '../../../networking/overlay/direct.ts'
import { dnsAddress } from '../../../networking/protocol.ts'
import { AppError } from '../../base/errors.ts'
import { type ClusterLayout, type HostLayout, netnsPath, runDirectory, underlayDevice } from './layout.ts'
import { type StoreKind, storePorts, storeServerSpec } from './store-server.ts'

/** A daemon of a simulated host: what to run, in which namespace, logging where. */
export interface DaemonSpec {
  /** `agent1/net`. */
  readonly name: string
  readonly netns: string
  /** Absent: Node runs `main`. */
  readonly program?: string
  readonly main: string
  readonly args: readonly string[]
  readonly logFile: string
  /** Descriptor of a listening socket that it inherits as number 3. */
  readonly inheritedFd?: number
}

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** Folder with the CNI plugins that agents run. */
export const cniBinDirectory = join(root, 'cni-plugins', 'weft', 'bin')

/** Where Node keeps compiled modules between starts; it makes the folder itself, and does without where it can't. */
export const compileCache = join(root, 'node_modules', '.cache', 'weft')

/** Unix socket on which a host's node daemon answers the CNI plugin. */
export function cniSocket(host: HostLayout): string {
  return join(host.directory, 'net', 'cni.sock')
}

/** The daemons of a host in the order of starting: a node daemon on each, and a master or an agent. */
export function hostDaemons(layout: ClusterLayout, host: HostLayout, options: DaemonOptions): readonly DaemonSpec[] {
  return host.kind === 'master'
    ? [masterDaemon(layout, host, options), netDaemon(layout, host, options)]
    : [netDaemon(layout, host, options), agentDaemon(layout, host, options)]
}

/** What the daemons' command lines need besides the layout. */
export interface DaemonOptions {
  readonly apiFd: number
  /** What several masters share; absent: each has its own SQLite. */
  readonly store?: string
  readonly networks: readonly string[]
  readonly ipVersions: '4' | '4,6'
  readonly directRouting: DirectRouting
  readonly agentResources: string
  /** Absent: the agent's default. */
  readonly dockerHost?: string
}

/**
 * The server that the masters share. It has the namespace of the first master's host, and no daemon's fate: switching that
 * host off does not end it.
 * @throws ERR_CLI_STORE when it is not installed
 */
export function storeDaemon(layout: ClusterLayout, kind: StoreKind): DaemonSpec & { readonly url: string } {
  const [host] = layout.hosts
  if (host === undefined) throw new AppError('ERR_CLI_STORE', 'a store needs a host')
  const directory = join(layout.directory, 'store')
  const { file, args, url } = storeServerSpec(kind, { directory, host: host.underlay, port: storePorts[kind] })
  const logFile = join(layout.directory, 'store.log')
  return { name: `${storeName}/${kind}`, netns: netnsPath(host.netns), program: file, main: '', args, logFile, url }
}

/** First part of the name of a store's server. */
export const storeName = 'store'

function spec(
  host: HostLayout,
  process: 'master' | 'agent' | 'net',
  main: string,
  args: readonly string[],
): DaemonSpec {
  const stateDir = join(host.directory, process)
  return {
    name: `${host.name}/${process}`,
    netns: netnsPath(host.netns),
    main: join(root, main),
    args: ['--state-dir', stateDir, '--node-name', host.name, '--underlay', host.underlay, ...args],
    logFile: join(host.directory, `${process}.log`),
  }
}

function masters(layout: ClusterLayout): string {
  const hosts = layout.hosts.filter(({ kind }) => kind === 'master')
  return hosts.map(({ underlay }) => `${underlay}:${layout.grpcPort}`).join(',')
}

function masterDaemon(
  layout: ClusterLayout,
  host: HostLayout,
  { apiFd, networks, ipVersions, store }: DaemonOptions,
): DaemonSpec {
  const own = [
    '--grpc-listen',
    `${host.underlay}:${layout.grpcPort}`,
    '--http-listen',
    `${host.underlay}:${layout.httpPort}`,
  ]
  const shared = ['--http-fd', '3', ...(store === undefined ? [] : ['--store', store])]
  const args = [...own, ...shared, '--networks', networks.join(','), '--ip-versions', ipVersions]
  return { ...spec(host, 'master', 'core/master/main.ts', args), inheritedFd: apiFd }
}

function netDaemon(layout: ClusterLayout, host: HostLayout, { directRouting }: DaemonOptions): DaemonSpec {
  return spec(host, 'net', 'networking/node/main.ts', [
    ...['--master', masters(layout), '--underlay-device', underlayDevice],
    ...['--direct-routing', directRouting],
    ...['--socket', cniSocket(host), '--cni-conf-dir', join(host.directory, 'cni')],
  ])
}

function agentDaemon(
  layout: ClusterLayout,
  host: HostLayout,
  { agentResources, dockerHost }: DaemonOptions,
): DaemonSpec {
  return spec(host, 'agent', 'core/agent/main.ts', [
    ...['--master', masters(layout), '--resources', agentResources],
    ...['--cni-bin-dir', cniBinDirectory, '--cni-conf-dir', join(host.directory, 'cni')],
    ...['--dns', dnsAddress, '--hide', runDirectory],
    ...(dockerHost === undefined ? [] : ['--docker-host', dockerHost]),
  ])
}
