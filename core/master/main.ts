/**
 * `weft master`: registry, allocator, networks and VIP addresses, snapshot streams, services. It stands by until it is
 * elected, then leads until it is told to end or loses its office; then the process ends, and whoever supervises it starts
 * it again as a standby. Nothing that runs or is programmed depends on it meanwhile.
 */
import { enableCompileCache } from 'node:module'

// Compiled code is kept between starts: without it Node's TypeScript stripper alone takes 40 MB and half a second. It must
// be on before the modules are loaded, hence the imports below.
enableCompileCache()

const { randomUUID } = await import('node:crypto')
const { mkdirSync, readFileSync } = await import('node:fs')
const { systemClock } = await import('../base/clock.ts')
const { errorMessage } = await import('../base/errors.ts')
const { openLog } = await import('../base/log.ts')
const { releaseStartupMemory } = await import('../base/memory.ts')
const { openJobs } = await import('../jobs/jobs.ts')
const { networksOf } = await import('../services/match.ts')
const { openServices } = await import('../services/services.ts')
const { openStore } = await import('../store/open.ts')
const { followDraining } = await import('./agents/draining.ts')
const { freeAgents } = await import('./agents/free.ts')
const { leaderServices, openGrpcServer } = await import('./grpc/server.ts')
const { systemHealthRoutes } = await import('./http/admin-router.ts')
const { agentProxyRoutes } = await import('./http/agent-proxy.ts')
const { masterRoutes } = await import('./http/routes.ts')
const { operatorRoutes } = await import('./http/operator/routes.ts')
const { schedulerRoutes } = await import('./http/scheduler/routes.ts')
const { openHttpApp, openHttpServer } = await import('./http/server.ts')
const { openMaster } = await import('./master.ts')
const { profileOf } = await import('./networks/profile.ts')
const { whyNoOffers } = await import('./offers/why-no-offers.ts')
const { vipProblem } = await import('./networks/vip-problem.ts')
const { openReached } = await import('./snapshot/reached.ts')
const { grpcAddress, masterUsage, parseMasterFlags } = await import('./options.ts')
const { secretFiles } = await import('./tasks/secret-files.ts')
const { formatCandidate } = await import('./standby/candidate.ts')
const { openStandby } = await import('./standby/standby.ts')

type Flags = ReturnType<typeof parseMasterFlags>
type Log = ReturnType<typeof openLog>
type Store = Awaited<ReturnType<typeof openStore>>
type Leadership = Awaited<ReturnType<Store['elect']>>
type Closer = () => Promise<void> | void

/** Time for an orderly end; what is left is not worth more, a new master reads the agents. */
const shutdownMs = 900

/** By then agents and nodes of a running cluster are back. */
const settledMs = 5_000

/** Exit status of a leader that lost its office. */
const deposedStatus = 3

/** What every part needs. */
interface Ground {
  readonly flags: Flags
  readonly log: Log
  readonly store: Store
  /** What is opened is in it, also when a later part fails. */
  readonly closers: Closer[]
  readonly signal: AbortSignal
  /** Begins an orderly end of the process. */
  readonly end: () => void
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  const parsed: unknown = JSON.parse(text)
  return typeof parsed === 'object' && parsed !== null && 'version' in parsed ? String(parsed.version) : 'unknown'
}

/** Listens and stands by; then leads. Resolves when the leader serves. */
async function serve(ground: Ground): Promise<void> {
  const { flags, log, store, closers, signal } = ground
  const { nodeName, underlay } = flags
  type Handler = Parameters<typeof openHttpServer>[0]
  let answer: Handler = (_request, response) => void response.writeHead(503, { 'retry-after': '1' }).end()
  const http = await openHttpServer((...exchange) => answer(...exchange), flags.httpListen, { underlay })
  closers.push(() => http.close())
  const session = (call: { end(): void }) => call.end()
  const grpc = await openGrpcServer({ session, subscribe: session }, flags.grpcListen)
  closers.push(() => grpc.close())
  const id = randomUUID()
  const address = { http: http.advertised, grpc: grpcAddress(flags, grpc.port) }
  const self = { id, nodeName, underlay, version: packageVersion(), ...address }
  const standby = openStandby({ store, self, clock: systemClock, log, answerOurselves: (...it) => answer(...it) })
  closers.push(() => standby.close())
  answer = standby.answer
  grpc.serve(standby.services)
  log.info({ http: self.http, grpcPort: grpc.port }, 'master standing by')
  const leadership = await store.elect(formatCandidate(self), { signal })
  closers.push(() => leadership.resign())
  leaveWhenDeposed(ground, leadership)
  standby.elected()
  const office = await takeOffice(ground, { leadership, masterId: id, advertised: self.http })
  answer = office.handler
  grpc.serve(office.services)
  standby.lead()
  closers.push(() => grpc.close()) // first of all: what an agent says after the last write is for the next leader
  systemClock.after(settledMs, releaseStartupMemory)
  const { term } = leadership
  log.info({ http: self.http, grpcPort: grpc.port, term, version: office.version() }, 'master serving')
}

/** At once, whatever is under way: the next leader may act already, and the order of a deposed one must not go out. */
function leaveWhenDeposed({ log, signal }: Ground, { term, lost }: Leadership): void {
  const leave = () => {
    if (signal.aborted) return // it was given up, on the way to an orderly end
    log.error({ term, reason: errorMessage(lost.reason) }, 'office lost, ending at once')
    process.exit(deposedStatus)
  }
  if (lost.aborted) leave()
  lost.addEventListener('abort', leave, { once: true })
}

interface Office {
  readonly leadership: Leadership
  readonly masterId: string
  /** `address:port` of HTTP. */
  readonly advertised: string
}

/** Everything of a leader, ready to serve. */
async function takeOffice({ flags, log, store, closers, end }: Ground, { leadership, masterId, advertised }: Office) {
  const { nodeName, underlay, networks } = flags
  const master = await openMaster({
    ...{ store, leadership, masterId, nodeName, underlay, networks, log, http: advertised },
    profile: profileOf(flags.profile, flags.ipVersions),
    ...(flags.secretsDir === undefined ? {} : { readSecret: secretFiles(flags.secretsDir) }),
    drainTimes: flags.drainTimes,
    clock: systemClock,
    random: Math.random,
    soon: setImmediate,
  })
  closers.push(() => master.close())
  const { context, driver } = master
  const services = await openServices({
    ...{ driver, store, log, clock: systemClock, term: leadership.term, role: flags.serviceRole },
    cluster: {
      hostname: underlay,
      abdicate: () => end(),
      freeAgents: () => freeAgents(context),
      networkNames: () => new Set(context.registrar.state.networks.keys()),
      vipProblem: (vip, framework) => vipProblem(context, vip, framework),
      version: () => context.keeper.version(),
      convergence: openReached(context.keeper, context.progress),
      draining: followDraining(context),
      noOffers: (id) => whyNoOffers(context, id),
      leader: () => advertised,
    },
  })
  closers.push(() => services.close())
  const jobs = await openJobs({
    ...{ driver, store, log, clock: systemClock, term: leadership.term },
    cluster: { hostname: underlay, networkNames: () => new Set(context.registrar.state.networks.keys()) },
  })
  closers.push(() => jobs.close())
  const appsOf = (network: string) =>
    [...services.api.world.apps()]
      .map(({ definition }) => definition)
      .filter((app) => networksOf(app).includes(network))
      .map(({ id }) => id)
  const about = { context, version: packageVersion(), advertised: () => advertised }
  const routes = masterRoutes({ ...about, appsOf })
  const scheduler = schedulerRoutes({ ...about, driver, newId: randomUUID })
  const app = await openHttpApp([
    routes,
    scheduler,
    operatorRoutes(about),
    agentProxyRoutes(context),
    systemHealthRoutes(context),
    services.routes,
    jobs.routes,
  ])
  closers.push(() => app.close())
  return { handler: app.handler, services: leaderServices(context), version: () => context.keeper.version() }
}

/** The last opened first; a part that fails does not keep the others open. */
async function closeAll(closers: readonly Closer[], log: Log): Promise<void> {
  for (const close of closers.toReversed()) {
    try {
      await close()
    } catch (error) {
      log.error({ reason: errorMessage(error) }, 'a part of the master could not be closed')
    }
  }
}

/** Until SIGTERM. @throws what keeps it from starting */
async function run(flags: Flags, { log, closers, signal, end }: Omit<Ground, 'flags' | 'store'>): Promise<void> {
  mkdirSync(flags.stateDir, { recursive: true, mode: 0o700 })
  const store = await openStore(flags.store, { stateDir: flags.stateDir })
  closers.push(() => store.close())
  await serve({ flags, log, store, closers, signal, end })
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve))
}

async function main(): Promise<number> {
  const args = process.argv.slice(2)
  if (args.includes('--help')) {
    process.stdout.write(`${masterUsage}\n`)
    return 0
  }
  const flags = parseMasterFlags(args)
  const log = openLog('master', flags.logLevel)
  const ending = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => ending.abort())
  const closers: Closer[] = []
  let code = 0
  try {
    await run(flags, { log, closers, signal: ending.signal, end: () => ending.abort() })
  } catch (error) {
    if (!ending.signal.aborted) {
      log.error({ code: Reflect.get(Object(error), 'code'), reason: errorMessage(error) }, 'master could not start')
      code = 1
    }
  }
  ending.abort()
  systemClock.after(shutdownMs, () => process.exit(code))
  await closeAll(closers, log)
  return code
}

try {
  process.exit(await main())
} catch (error) {
  process.stderr.write(`${errorMessage(error)}\n`)
  process.exit(2)
}
