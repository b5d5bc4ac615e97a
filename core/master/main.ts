/**
 * `weft master`: registry, allocator, networks and VIP addresses, snapshot streams, services. SIGTERM ends it within a
 * second; nothing that runs or is programmed depends on it meanwhile.
 */
import { enableCompileCache } from 'node:module'

// Compiled code is kept between starts: without it Node's TypeScript stripper alone takes 40 MB and half a second. It must
// be on before the modules are loaded, hence the imports below.
enableCompileCache()

const { randomUUID } = await import('node:crypto')
const { mkdirSync, readFileSync } = await import('node:fs')
const { join } = await import('node:path')
const { systemClock } = await import('../base/clock.ts')
const { errorMessage } = await import('../base/errors.ts')
const { openLog } = await import('../base/log.ts')
const { releaseStartupMemory } = await import('../base/memory.ts')
const { networksOf } = await import('../services/match.ts')
const { openServices } = await import('../services/services.ts')
const { openSqliteStore } = await import('../store/sqlite.ts')
const { leaderServices, openGrpcServer } = await import('./grpc/server.ts')
const { masterRoutes } = await import('./http/routes.ts')
const { openHttpServer } = await import('./http/server.ts')
const { openMaster } = await import('./master.ts')
const { profileOf } = await import('./networks/profile.ts')
const { vipProblem } = await import('./networks/vip-problem.ts')
const { masterUsage, parseMasterFlags } = await import('./options.ts')

type Flags = ReturnType<typeof parseMasterFlags>
type Log = ReturnType<typeof openLog>
type Closer = () => Promise<void> | void

/** Time for an orderly end; what is left is not worth more, a new master reads the agents. */
const shutdownMs = 900

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  const parsed: unknown = JSON.parse(text)
  return typeof parsed === 'object' && parsed !== null && 'version' in parsed ? String(parsed.version) : 'unknown'
}

/** By then agents and nodes of a running cluster are back. */
const settledMs = 5_000

/** Opens everything; what is opened is in `closers`, also when a later part fails. */
async function serve(
  flags: Flags,
  { log, signal }: { log: Log; signal: AbortSignal },
  closers: Closer[],
): Promise<void> {
  mkdirSync(flags.stateDir, { recursive: true, mode: 0o700 })
  const store = openSqliteStore(join(flags.stateDir, 'master.db'))
  closers.push(() => store.close())
  const leadership = await store.elect(flags.nodeName, { signal })
  const { nodeName, underlay, networks } = flags
  const master = await openMaster({
    ...{ store, leadership, nodeName, underlay, networks, log },
    masterId: randomUUID(),
    profile: profileOf(flags.profile, flags.ipVersions),
    clock: systemClock,
    random: Math.random,
    soon: setImmediate,
  })
  closers.push(() => master.close())
  const { context, driver } = master
  let advertised: string = underlay
  const services = await openServices({
    ...{ driver, store, log, clock: systemClock, term: leadership.term },
    cluster: {
      hostname: underlay,
      networkNames: () => new Set(context.registrar.state.networks.keys()),
      vipProblem: (vip, framework) => vipProblem(context, vip, framework),
      version: () => context.keeper.version(),
      leader: () => advertised,
    },
  })
  closers.push(() => services.close())
  const grpc = await openGrpcServer(leaderServices(context), flags.grpcListen)
  closers.push(() => grpc.close())
  const appsOf = (network: string) =>
    [...services.api.world.apps()]
      .map(({ definition }) => definition)
      .filter((app) => networksOf(app).includes(network))
      .map(({ id }) => id)
  const routes = masterRoutes({ context, version: packageVersion(), advertised: () => advertised, appsOf })
  const http = await openHttpServer(flags.httpListen, underlay, [routes, services.routes])
  closers.push(() => http.close())
  advertised = http.advertised
  const { term } = leadership
  systemClock.after(settledMs, releaseStartupMemory)
  log.info({ http: advertised, grpcPort: grpc.port, term, version: context.keeper.version() }, 'master serving')
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
    await serve(flags, { log, signal: ending.signal }, closers)
    if (!ending.signal.aborted) await new Promise((resolve) => ending.signal.addEventListener('abort', resolve))
  } catch (error) {
    if (!ending.signal.aborted) {
      log.error({ code: Reflect.get(Object(error), 'code'), reason: errorMessage(error) }, 'master could not start')
      code = 1
    }
  }
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
