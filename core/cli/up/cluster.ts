import { closeSync, existsSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { availableParallelism, freemem, totalmem } from 'node:os'
import { setTimeout as sleepMs } from 'node:timers/promises'
import { systemClock } from '../../base/clock.ts'
import { AppError, hasCode } from '../../base/errors.ts'
import { type DirectRouting } from '../../../networking/overlay/direct.ts'
import { openNative } from '../../../networking/netlink/native.ts'
import { type Api, isRecord, openApi } from '../api.ts'
import { makeHosts } from './hosts.ts'
import { type ClusterLayout, clusterLayout, type ClusterSize } from './layout.ts'
import { hostDaemons, storeDaemon } from './processes.ts'
import { type ProcessRecord, recordProcess, writeClusterRecord } from './record.ts'
import { recordsOf } from './sample.ts'
import { type StoreKind } from './store-server.ts'
import { Supervisor } from './supervisor.ts'
import { sweepCluster } from './sweep.ts'

/** A local cluster that this process keeps running. */
export interface LocalCluster {
  readonly layout: ClusterLayout
  readonly api: Api
  /** Ends all daemons and removes everything that the cluster made; a second call waits for the first. */
  stop(): Promise<void>
  /** Ends the daemons of one host, as if it were switched off: nothing restarts them. */
  stopHost(name: string): Promise<void>
}

/** What a local cluster is made of. */
export interface LocalClusterOptions extends ClusterSize {
  readonly port: number
  /** What several masters share; absent: SQLite, which only one master can have. */
  readonly store?: StoreKind
  readonly networks: readonly string[]
  /** What the node daemons are given; absent: auto. */
  readonly directRouting?: DirectRouting
  /** Docker Engine of the agents, as `--docker-host` of the agent has it. */
  readonly dockerHost?: string
  /** A line of progress for a person. */
  readonly progress: (text: string) => void
}

/** How long the daemons may take until every node is there. */
const startLimitMs = 60_000

/** Starts a local cluster. What an earlier one of the same name left after a crash is swept first. */
export async function startCluster(options: LocalClusterOptions): Promise<LocalCluster> {
  const { progress } = options
  refuseSharedSqlite(options)
  const layout = clusterLayout(options)
  await sweepCluster(options.name)
  const listener = await listenLocally(options.port)
  const api = openApi(`http://127.0.0.1:${listener.port}`)
  const supervisor = new Supervisor(systemClock, {
    onProcesses: (processes) => record(layout, api.url, processes),
    onExit: (name, how) => progress(`${name} ended (${how}); starting it again`),
  })
  let stopped: Promise<void> | undefined
  const stop = () => {
    stopped ??= removeCluster(supervisor, listener, options.name)
    return stopped
  }
  try {
    record(layout, api.url, [])
    progress(`making ${layout.hosts.length} simulated hosts (network namespaces weft-${layout.name}-*)`)
    await makeHosts(layout)
    const store = options.store === undefined ? undefined : storeDaemon(layout, options.store)
    if (store !== undefined) supervisor.start(store)
    progress(`starting ${layout.hosts.length * 2} daemons${store === undefined ? '' : ` and ${options.store}`}`)
    const daemonOptions = {
      apiFd: listener.fd,
      ...(store === undefined ? {} : { store: store.url }),
      networks: options.networks,
      ipVersions: machineIpVersions(),
      directRouting: options.directRouting ?? 'auto',
      agentResources: agentShare(options.agents),
      ...(options.dockerHost === undefined ? {} : { dockerHost: options.dockerHost }),
    }
    for (const host of layout.hosts) {
      for (const daemon of hostDaemons(layout, host, daemonOptions)) supervisor.start(daemon)
    }
    await everyoneThere(layout, api)
    progress(`all nodes are there: API on ${api.url}${await leaderText(api, layout)}`)
    return { layout, api, stop, stopHost: (name) => supervisor.stopHost(name) }
  } catch (error) {
    await stop()
    throw error
  }
}

/** @throws ERR_CLI_USAGE */
function refuseSharedSqlite({ masters = 1, store }: LocalClusterOptions): void {
  if (masters === 1 || store !== undefined) return
  const advice = '--store redis or --store zookeeper starts a server that they can'
  throw new AppError('ERR_CLI_USAGE', `${masters} masters can't share SQLite, which one process holds: ${advice}`)
}

async function leaderText(api: Api, { hosts }: ClusterLayout): Promise<string> {
  if (hosts.filter(({ kind }) => kind === 'master').length === 1) return ''
  const leader = (await recordsOf(api, '/weft/v1/masters', 'masters')).find(({ role }) => role === 'leader')
  return `; ${String(leader?.['node'])} leads`
}

async function removeCluster(supervisor: Supervisor, listener: ListeningSocket, name: string): Promise<void> {
  await supervisor.stop()
  closeSync(listener.fd)
  await sweepCluster(name)
}

function record(layout: ClusterLayout, api: string, processes: readonly ProcessRecord[]): void {
  const count = (wanted: 'agent' | 'master') => layout.hosts.filter(({ kind }) => kind === wanted).length
  const supervisor = recordProcess('supervisor', process.pid)
  writeClusterRecord({
    name: layout.name,
    agents: count('agent'),
    masters: count('master'),
    api,
    supervisor,
    processes: [...processes],
  })
}

/** A socket that listens on 127.0.0.1, for another process to accept from. */
interface ListeningSocket {
  readonly fd: number
  readonly port: number
}

/**
 * The socket is made here, in the machine's own namespace, and inherited by the master: that is how a browser reaches
 * an API whose process sits in a namespace without a route out. This process keeps a copy, so that connections wait for
 * the next master when one ends, and never accepts from it. A taken port falls back to a free one.
 */
async function listenLocally(port: number): Promise<ListeningSocket> {
  const server = createServer()
  try {
    await listen(server, port)
  } catch (error) {
    if (!hasCode(error, 'EADDRINUSE') || port === 0) throw error
    await listen(server, 0)
  }
  const { port: bound } = server.address() as AddressInfo
  const fd = openNative().sockets.duplicate(listenerFd(server))
  server.close() // ends Node's own accepting; the copy keeps the socket open
  return { fd, port: bound }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', 511, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Node does not publish a listening socket's descriptor; its handle has it (`_handle.fd`) on POSIX systems. */
function listenerFd(server: Server): number {
  const handle: unknown = Reflect.get(server, '_handle')
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  if (typeof fd !== 'number') throw new AppError('ERR_CLI_SOCKET', 'this Node does not tell the descriptor of a socket')
  return fd
}

/** Namespaces have IPv6 when the kernel has it and no command line option turned it off: ipv6.disable=1. */
function machineIpVersions(): '4' | '4,6' {
  return existsSync('/proc/net/if_inet6') ? '4,6' : '4'
}

/** The machine's cores and memory in equal parts, so that the simulated agents together offer what there really is. */
function agentShare(agents: number): string {
  const cpus = Math.max(1, (availableParallelism() * 2) / agents)
  const memMb = Math.floor(Math.max(512, Math.min(freemem(), totalmem() / 2) / 2 ** 20 / agents))
  return `cpus:${cpus.toFixed(2)};mem:${memMb};disk:4096;ports:[31000-31999]`
}

/** Waits until every agent is registered and every node has programmed the current version. */
async function everyoneThere(layout: ClusterLayout, api: Api): Promise<void> {
  const deadline = systemClock.monotonicMs() + startLimitMs
  const wanted = layout.hosts.map(({ name, kind }) => ({ name, kind }))
  for (;;) {
    const nodes = await nodesOf(api)
    const missing = wanted.filter(
      ({ name, kind }) =>
        !nodes.some((node) => node.name === name && node.programmed && (kind === 'master' ? node.master : node.agent)),
    )
    if (missing.length === 0) return
    if (systemClock.monotonicMs() > deadline) {
      const names = missing.map(({ name }) => name).join(', ')
      throw new AppError(
        'ERR_CLI_START',
        `not there after ${startLimitMs / 1000} s: ${names}; logs: ${layout.directory}/*/*.log`,
      )
    }
    await sleepMs(20) // start-up only; nothing tells a command of nodes that are still to come
  }
}

interface NodeReadiness {
  readonly name: string
  readonly agent: boolean
  /** It leads, or stands by and follows. */
  readonly master: boolean
  /** Its node daemon has programmed something: then it also answers names. */
  readonly programmed: boolean
}

/** None while no master leads: then the answer is 503. */
async function nodesOf(api: Api): Promise<readonly NodeReadiness[]> {
  try {
    return await readNodes(api)
  } catch (error) {
    if (hasCode(error, 'ERR_CLI_REFUSED')) return []
    throw error
  }
}

async function readNodes(api: Api): Promise<readonly NodeReadiness[]> {
  const masters = await recordsOf(api, '/weft/v1/masters', 'masters')
  const here = new Set(masters.filter(({ connected }) => connected === true).map(({ node }) => String(node)))
  return (await recordsOf(api, '/weft/v1/nodes', 'nodes')).map((node) => {
    const daemon = isRecord(node['daemon']) ? node['daemon'] : {}
    const programmed = daemon['connected'] === true && Number(daemon['appliedVersion']) > 0
    return {
      name: String(node['name']),
      agent: typeof node['agentId'] === 'string',
      master: here.has(String(node['name'])),
      programmed,
    }
  })
}
