import { randomUUID } from 'node:crypto'
import { type Clock } from '../base/clock.ts'
import { type Logger } from '../base/log.ts'
import { type FrameworkId, parseFrameworkId } from '../model/ids.ts'
import { type FrameworkInfo, type SchedulerDriver } from '../model/scheduler.ts'
import { type Store } from '../store/store.ts'
import { type JobsContext } from './commands.ts'
import { jobsRoutes, type RoutesPlugin } from './http/routes.ts'
import { type Waiting } from './memory.ts'
import { defaultRunLimits, type RunLimits } from './plan.ts'
import { frameworkKey, isJobKey, isRunKey, parseJobRecord, parseRun, storePrefix } from './records.ts'
import { type Run } from './run.ts'
import { Scheduler } from './scheduler.ts'
import { makeWorld, type World, type WorldView } from './world.ts'

/** What {@link openJobs} needs. */
export interface JobsOptions {
  readonly driver: SchedulerDriver
  readonly store: Store
  /** The leader's term: each write carries it. */
  readonly term: number
  readonly clock: Clock
  readonly log: Logger
  readonly cluster: {
    /** Networks that a run may be on. */
    networkNames(): ReadonlySet<string>
    /** Host name of this master, for the framework's own record. */
    readonly hostname: string
  }
  /** A random UUID each time; given by tests that need to know it. */
  readonly newId?: () => string
  readonly limits?: RunLimits
}

/** What the HTTP API is made of. */
export interface JobsApi {
  readonly world: WorldView
  frameworkId(): FrameworkId | undefined
  /** Why a run waits for a place; undefined when it does not. */
  waitingOf(run: Run): Waiting | undefined
  /** Resolves when written. @throws what the command throws; ERR_STORE_FULL; ERR_JOBS_CLOSED */
  submit<Reply>(command: (context: JobsContext) => Reply): Promise<Reply>
}

/** The running jobs: a fastify plugin with their API, and how to end them. */
export interface Jobs {
  readonly routes: RoutesPlugin
  readonly api: JobsApi
  /** Ends the subscription; runs and their tasks go on. */
  close(): Promise<void>
}

/** How long tasks live on without a scheduler: a week, as Marathon's. */
const failoverTimeoutMs = 604_800_000

/**
 * Reads what the store has, subscribes as the framework `metronome`, and goes on where an earlier leader stopped.
 * @throws ERR_JOBS_STORED when the store has something that is not ours
 */
export async function openJobs(options: JobsOptions): Promise<Jobs> {
  const { driver, store, term, clock, log, cluster } = options
  const world = makeWorld()
  const frameworkId = await load(store, world)
  const framework: FrameworkInfo = {
    ...(frameworkId === undefined ? {} : { id: frameworkId }),
    name: 'metronome',
    user: 'root',
    roles: ['*'],
    failoverTimeoutMs,
    capabilities: ['PARTITION_AWARE', 'TASK_KILLING_STATE'],
    hostname: cluster.hostname,
  }
  const scheduler = new Scheduler({
    ...{ driver, store, term, clock, log, world, framework },
    limits: options.limits ?? defaultRunLimits,
    newId: options.newId ?? randomUUID,
  })
  scheduler.start()
  const api: JobsApi = {
    world,
    frameworkId: () => scheduler.frameworkId,
    waitingOf: (run) => scheduler.waitingOf(run),
    submit: (command) => scheduler.submit((context) => command({ ...context, networkNames: cluster.networkNames() })),
  }
  return { api, routes: jobsRoutes(api), close: () => scheduler.close() }
}

async function load(store: Store, world: World): Promise<FrameworkId | undefined> {
  const stored = await store.list(storePrefix)
  const entries = [...stored].map(([key, { value }]) => ({ key, value }))
  world.load(
    entries.filter(({ key }) => isJobKey(key)).map(({ key, value }) => parseJobRecord(key, value)),
    entries.filter(({ key }) => isRunKey(key)).map(({ key, value }) => parseRun(key, value)),
  )
  const framework = stored.get(frameworkKey)
  return framework === undefined ? undefined : parseFrameworkId(framework.value)
}
