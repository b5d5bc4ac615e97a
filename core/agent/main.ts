/**
 * `weft agent`: runs tasks of one node. It belongs into the node's network namespace. SIGTERM ends it within a second and
 * disturbs no task: the next start takes them over.
 */
import { chmodSync, mkdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pluginRunner } from '../../cni-plugins/cni/runner.ts'
import { createNetns, deleteNetns, isNetns, pinNetns } from '../../networking/netns.ts'
import { type AgentSession, openAgentSession } from '../api/session.ts'
import { systemClock } from '../base/clock.ts'
import { errorMessage } from '../base/errors.ts'
import { type Logger, openLog } from '../base/log.ts'
import { Agent } from './agent.ts'
import { cgroupParent, openCgroups } from './containerizer/cgroup.ts'
import { chooseRuntime } from './containerizer/choose.ts'
import { prepareHostView } from './containerizer/host-view.ts'
import { openOciContainerizer } from './containerizer/oci.ts'
import { routeContainers } from './containerizer/route.ts'
import { openProvisions } from './containerizer/open-provisions.ts'
import { openDockerContainerizer } from './docker/docker.ts'
import { isDocker } from './docker/mark.ts'
import { formatEndpoint, socketName } from './executors/custom-env.ts'
import { isExecutorRequest, serveExecutors } from './http/executor-api.ts'
import { openSandboxFiles } from './http/sandbox-files.ts'
import { type AgentHttp, openAgentHttp } from './http/server.ts'
import { servePages } from './http/pages.ts'
import { openIdentity } from './identity.ts'
import { type MasterSession } from './messages.ts'
import { openContainerNetwork } from './network.ts'
import { type AgentFlags, parseAgentFlags } from './options.ts'
import { type AgentPaths, agentPaths } from './paths.ts'
import { openReservations } from './reservations.ts'

/** Its real path. */
function prepareStateDir({ stateDir }: AgentFlags): string {
  mkdirSync(stateDir, { recursive: true, mode: 0o711 })
  return realpathSync(stateDir)
}

/** For executors on networks of their own, from which the node may not be reached; every user may connect. */
async function openExecutorSocket({ executorApi }: AgentPaths, log: Logger): Promise<AgentHttp | undefined> {
  const path = join(executorApi, socketName)
  mkdirSync(executorApi, { recursive: true, mode: 0o755 })
  rmSync(path, { force: true })
  try {
    const opened = await openAgentHttp({ path })
    chmodSync(path, 0o666)
    return opened
  } catch (error) {
    log.warn({ error: errorMessage(error) }, 'no socket for executors: they must use the HTTP address')
    return undefined
  }
}

interface Surroundings {
  readonly log: Logger
  readonly signal: AbortSignal
  readonly http: AgentHttp
  readonly socket?: AgentHttp
}

async function openAgent(flags: AgentFlags, session: MasterSession, { http, socket, ...at }: Surroundings) {
  const paths = agentPaths(realpathSync(flags.stateDir))
  const host = prepareHostView(paths.rootfs, [paths.root, ...flags.hidden])
  const cgroups = openCgroups(cgroupParent(flags.nodeName, paths.root))
  const runtime = await chooseRuntime({ paths, host, cgroups })
  const provisions = openProvisions({ ...at, paths, host, clock: systemClock }, flags, at)
  const agent = new Agent({
    ...at,
    paths,
    session,
    clock: systemClock,
    identity: openIdentity(paths.identity),
    reservations: openReservations(paths),
    node: {
      nodeName: flags.nodeName,
      resources: flags.resources,
      reserved: flags.reserved,
      attributes: flags.attributes,
      httpPort: http.port,
    },
    underlay: flags.underlay,
    patience: flags.patience,
    diskWatchMs: flags.diskWatchMs,
    endpoint: {
      tcp: formatEndpoint(flags.underlay, http.port),
      ...(socket && { socketDir: paths.executorApi }),
    },
    bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    ...(flags.dns.length === 0 ? {} : { hostDns: { nameservers: flags.dns, search: [], options: [] } }),
    network: openContainerNetwork({
      confDir: flags.cniConfDir,
      runner: pluginRunner({ directories: flags.cniBinDirs, env: process.env }),
      namespaces: { create: createNetns, remove: deleteNetns, exists: isNetns },
    }),
    openContainerizer: (onExit) => {
      const common = { ...at, ...provisions, onExit }
      const mesos = openOciContainerizer({ ...common, runtime, cgroups, clock: systemClock })
      const docker = openDockerContainerizer({ ...common, socketPath: flags.dockerSocket, pinNetwork: pinNetns })
      return routeContainers({ mesos, docker, isDocker: (id) => isDocker(paths, id) })
    },
  })
  await agent.recover()
  at.log.info({ runtime: runtime.name, limits: runtime.limits, node: flags.nodeName }, 'agent ready')
  return agent
}

async function main(): Promise<void> {
  const flags = parseAgentFlags(process.argv.slice(2))
  const log = openLog('agent', flags.logLevel)
  const ending = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => ending.abort())
  let live: AgentSession | undefined
  const http = await openAgentHttp({ host: flags.underlay, port: flags.httpPort })
  const stateDir = prepareStateDir(flags)
  const paths = agentPaths(stateDir)
  const socket = await openExecutorSocket(paths, log)
  const agent = await openAgent(
    flags,
    { send: (report) => live?.send(report) ?? false },
    { log, signal: ending.signal, http, ...(socket && { socket }) },
  )
  const pages = servePages({ files: openSandboxFiles(paths.sandboxes), view: () => agent.view() })
  const executors = serveExecutors({ executors: () => agent.customs, clock: systemClock })
  http.serve((request, response) => (isExecutorRequest(request) ? executors : pages)(request, response))
  socket?.serve(executors)
  live = openAgentSession({
    masters: flags.masters,
    register: () => agent.registration(),
    onCommand: (command) => agent.command(command),
    signal: ending.signal,
    log,
  })
  await live.closed
  await Promise.all([http.close(), socket?.close()])
  await agent.close()
  log.info({}, 'agent ended; its tasks go on')
}

try {
  await main()
  process.exit(0) // timers and watches of what goes on without us
} catch (error) {
  process.stderr.write(`weft agent: ${errorMessage(error)}\n`)
  process.exit(1)
}
