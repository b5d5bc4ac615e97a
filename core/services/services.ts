import { randomUUID } from 'node:crypto'
import { type Clock } from '../base/clock.ts'
import { type Logger } from '../base/log.ts'
import { type FrameworkId, parseFrameworkId } from '../model/ids.ts'
import { type FrameworkInfo, type SchedulerDriver } from '../model/scheduler.ts'
import { type VipSpec } from '../model/vip.ts'
import { type Store } from '../store/store.ts'
import { type Convergence, type MissingNode, noConvergence } from './convergence.ts'
import { type CommandContext, type Deployed } from './deploy.ts'
import { type Draining, nothingDrains } from './draining.ts'
import { type EventHub, makeEventHub } from './events.ts'
import { type RoutesPlugin, servicesRoutes } from './http/routes.ts'
import { noBackoff } from './backoff.ts'
import { type AppId } from './ids.ts'
import { type NoOffers } from './no-offers.ts'
import { defaultPlanTimes, type PlanTimes } from './plan.ts'
import { type AppFacts } from './present.ts'
import {
  frameworkKey,
  isAppKey,
  isGroupKey,
  isClaimKey,
  isInstanceKey,
  parseAppRecord,
  parseClaim,
  parseGroupRecord,
  parseInstance,
  storePrefix,
} from './records.ts'
import { Scheduler } from './scheduler.ts'
import { formatVersion } from './version.ts'
import { openVersions, type Versions } from './versions.ts'
import { makeWorld, type World } from './world.ts'
import { type FreeAgent } from './preview-place.ts'

/** What the services ask of the cluster. */
export interface ClusterFacts {
  /** Networks that an app may be on. */
  networkNames(): ReadonlySet<string>
  /** Why an app of the framework can't have the VIP; absent: every one is possible. */
  readonly vipProblem?: (vip: VipSpec, framework: string) => string | undefined
  /** Version of the present snapshot. */
  version(): number
  /** Which nodes have which version; absent: no node is waited for. */
  readonly convergence?: Omit<Convergence, 'version'>
  /** Why a framework gets no offers, by its roles; absent: that is not known. */
  readonly noOffers?: (id: FrameworkId) => readonly NoOffers[]
  /** Agents that are being emptied; absent: none ever is. */
  readonly draining?: Draining
  /** `host:port` of this master's API. */
  leader(): string
  /** Gives up the office: another master, or this one anew, becomes the leader. Absent: not possible. */
  readonly abdicate?: () => void
  /** What each agent has free now, for plans; absent: plans place nothing. */
  readonly freeAgents?: () => readonly FreeAgent[]
  /** Host name of this master, for the framework's own record. */
  readonly hostname: string
}

/** What {@link openServices} needs. */
export interface ServicesOptions {
  readonly driver: SchedulerDriver
  readonly store: Store
  /** The leader's term: each write carries it. */
  readonly term: number
  readonly clock: Clock
  readonly log: Logger
  readonly cluster: ClusterFacts
  /** A random UUID each time; given by tests that need to know it. */
  readonly newId?: () => string
  readonly times?: PlanTimes
  /** What the framework is offered in, and reserves for; absent: `*`, for which nothing can be reserved. */
  readonly role?: string
}

/** What the HTTP API is made of. */
export interface ServicesApi {
  readonly world: World
  readonly hub: EventHub
  readonly clock: Clock
  readonly cluster: ClusterFacts
  readonly versions: Versions
  /** Nodes that are waited for and lack a version of the snapshot. */
  missing(version: number): readonly MissingNode[]
  frameworkId(): FrameworkId | undefined
  facts(id: AppId): AppFacts | undefined
  /** Resolves when written. @throws what the command throws; ERR_STORE_FULL; ERR_SERVICES_CLOSED */
  deploy(command: (context: CommandContext) => Deployed): Promise<Deployed>
  submit: Scheduler['submit']
  /** Ends an app's delay after failures: what waits is launched at once. */
  resetDelay(id: AppId): Promise<void>
}

/** The running services: a fastify plugin with /v2 and /ping, and how to end them. */
export interface Services {
  readonly routes: RoutesPlugin
  readonly api: ServicesApi
  /** Ends the subscription and every event stream; apps and their tasks go on. */
  close(): Promise<void>
}

/** Source: marathon, --failover_timeout. */
const failoverTimeoutMs = 604_800_000

/**
 * Reads what the store has, subscribes as the framework `marathon`, and goes on where an earlier leader stopped.
 * @throws ERR_SERVICES_STORED when the store has something that is not ours
 */
export async function openServices(options: ServicesOptions): Promise<Services> {
  const { driver, store, term, clock, log, cluster } = options
  const world = makeWorld()
  const frameworkId = await load(options, world)
  const hub = makeEventHub(() => clock.nowMs())
  const framework: FrameworkInfo = {
    ...(frameworkId === undefined ? {} : { id: frameworkId }),
    name: 'marathon',
    user: 'root',
    roles: [options.role ?? '*'],
    failoverTimeoutMs,
    capabilities: ['PARTITION_AWARE', 'TASK_KILLING_STATE'],
    hostname: cluster.hostname,
  }
  const convergence = convergenceOf(cluster)
  const scheduler = new Scheduler({
    ...{ driver, store, term, clock, log, hub, world, framework },
    times: options.times ?? defaultPlanTimes,
    networkNames: () => cluster.networkNames(),
    vipProblem: (vip) => cluster.vipProblem?.(vip, framework.name),
    convergence,
    draining: cluster.draining ?? nothingDrains,
    newId: options.newId ?? randomUUID,
  })
  scheduler.start()
  const api = apiOf(scheduler, {
    world,
    hub,
    clock,
    cluster,
    versions: openVersions(store),
    missing: convergence.missing,
  })
  const streams = new AbortController()
  return {
    api,
    routes: servicesRoutes(api, { signal: streams.signal }),
    close: async () => {
      streams.abort()
      await scheduler.close()
    },
  }
}

function convergenceOf({ version, convergence }: ClusterFacts): Convergence {
  return convergence === undefined ? noConvergence(version) : { ...convergence, version }
}

async function load({ store, clock }: ServicesOptions, world: World): Promise<FrameworkId | undefined> {
  const nowMs = clock.monotonicMs()
  const stored = await store.list(storePrefix)
  for (const [key, { value }] of stored) {
    if (isAppKey(key)) world.apply({ kind: 'app.put', record: parseAppRecord(key, value) })
    else if (isGroupKey(key)) world.apply({ kind: 'group.put', record: parseGroupRecord(key, value) })
    else if (isClaimKey(key)) world.apply({ kind: 'claim.put', claim: parseClaim(key, value) })
    else if (isInstanceKey(key)) world.apply({ kind: 'instance.put', instance: parseInstance(key, value, nowMs) })
  }
  const framework = stored.get(frameworkKey)
  return framework === undefined ? undefined : parseFrameworkId(framework.value)
}

function apiOf(
  scheduler: Scheduler,
  parts: Pick<ServicesApi, 'world' | 'hub' | 'clock' | 'cluster' | 'versions' | 'missing'>,
): ServicesApi {
  const { world, hub } = parts
  return {
    ...parts,
    frameworkId: () => scheduler.frameworkId,
    facts: (id) => {
      const record = world.app(id)
      return record === undefined
        ? undefined
        : { record, instances: world.instancesOf(id), runtime: scheduler.runtimes.get(id) }
    },
    submit: (command) => scheduler.submit(command),
    resetDelay: (id) =>
      scheduler.submit(() => {
        scheduler.runtimes.set(id, { backoff: noBackoff })
        return { reply: undefined, apps: [id] }
      }),
    deploy: async (command) => {
      const deployed = await scheduler.submit((context) => {
        const reply = command(context)
        return { reply, apps: [...reply.records.map(({ definition }) => definition.id), ...(reply.touched ?? [])] }
      })
      tell(hub, deployed)
      return deployed
    },
  }
}

function tell(hub: EventHub, { records, deploymentId, cancelled, version }: Deployed): void {
  for (const id of cancelled) hub.emit('deployment_failed', { id, reason: `replaced by ${deploymentId}` })
  for (const { definition } of records)
    hub.emit('api_post_event', { uri: `/v2/apps${definition.id}`, appDefinition: definition })
  const affectedApps = records.map(({ definition }) => definition.id)
  hub.emit('deployment_info', { plan: { id: deploymentId, version: formatVersion(version) }, affectedApps })
  if (records.length === 0) hub.emit('deployment_success', { id: deploymentId, affectedApps })
}
