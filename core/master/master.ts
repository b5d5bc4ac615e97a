import { type Clock } from '../base/clock.ts'
import { errorMessage } from '../base/errors.ts'
import { type Ip } from '../base/ip.ts'
import { type Logger } from '../base/log.ts'
import { type AgentId, type FrameworkId, type NetworkName, type NodeName } from '../model/ids.ts'
import { type SchedulerDriver } from '../model/scheduler.ts'
import { noSecrets, type ReadSecret } from '../model/secret.ts'
import { type Leadership, type Store } from '../store/store.ts'
import { recoverAgent } from './agents/liveness.ts'
import { watchDrainedAgents } from './agents/operator.ts'
import { openAllocator } from './allocator/allocator.ts'
import { openChanges } from './changes.ts'
import { type AgentEntry, type FrameworkEntry, type MasterContext } from './context.ts'
import { openDriver } from './frameworks/driver.ts'
import { recoverFramework } from './frameworks/lifecycle.ts'
import { openIds } from './ids.ts'
import { decideCreateNetwork } from './networks/networks.ts'
import { type Profile } from './networks/profile.ts'
import { roomOfAgent, watchRoom } from './networks/room.ts'
import { openUsageTable } from './networks/usage.ts'
import { decideFreedVips } from './networks/vips.ts'
import { openOffers } from './offers/offers.ts'
import { openRegistrar, readRegistry } from './registry/registrar.ts'
import { openKeeper } from './snapshot/keeper.ts'
import { openProgress } from './snapshot/progress.ts'
import { openPublisher } from './snapshot/publisher.ts'
import { openVersions, type Versions } from './snapshot/versions.ts'
import { decideMaster } from './standby/decide.ts'
import { openRoster } from './standby/roster.ts'
import { defaultDrainTimes, type DrainTimes, openDrains } from './tasks/drains.ts'
import { vipLabels } from './tasks/state.ts'
import { openTaskTable } from './tasks/table.ts'
import { recoverTask, sendKill } from './tasks/tasks.ts'

/** How often agents are asked whether they live. Source: mesos, src/master/constants.hpp, DEFAULT_AGENT_PING_TIMEOUT. */
export const defaultPingIntervalMs = 15_000

/** A node whose daemon is silent for longer is not waited for, unless an agent works there. */
const nodeGraceMs = 75_000

const versionsKey = 'snapshot/versions'

/** What a master is made of. */
export interface MasterOptions {
  readonly store: Store
  readonly leadership: Leadership
  /** A UUID, new for each process. */
  readonly masterId: string
  readonly nodeName: NodeName
  readonly underlay: Ip
  /** `address:port` of its HTTP interface, which other masters and clients are told. */
  readonly http?: string
  readonly profile: Profile
  /** Networks that shall exist; missing ones are made, the first with the profile's first range. */
  readonly networks: readonly NetworkName[]
  readonly pingIntervalMs?: number
  /** How long kills of tasks behind VIPs wait. */
  readonly drainTimes?: Partial<DrainTimes>
  /** Absent: there are no secrets. */
  readonly readSecret?: ReadSecret
  readonly clock: Clock
  readonly log: Logger
  /** Numbers from 0 to 1. */
  readonly random: () => number
  /** Calls soon, after the events that are due now: setImmediate. */
  readonly soon: (task: () => void) => void
}

/** A leading master, without its transports. */
export interface Master {
  readonly context: MasterContext
  /** For schedulers in this process. */
  readonly driver: SchedulerDriver
  /** Stops all timers and writes what is only cached. @throws what the store throws */
  close(): Promise<void>
}

/**
 * Begins a term of office: reads what earlier masters left, and publishes it as a first version before anybody is served,
 * so that no node loses a task, name or route because the master changed.
 * @throws ERR_STORE_FULL when the store can't be written, ERR_MASTER_REGISTRY, ERR_MASTER_UNDERLAY_OVERLAP, …
 */
export async function openMaster(options: MasterOptions): Promise<Master> {
  const { store, leadership, profile, nodeName, underlay } = options
  const versions = await reserveVersions(options, () => keeper.flush())
  const keeper = openKeeper({ versions, soon: options.soon })
  const freed = (key: string) => {
    const { clock, log } = options
    registrar.apply(decideFreedVips([key], clock.nowMs())).catch((error: unknown) => {
      log.warn({ vip: key, reason: errorMessage(error) }, "when a VIP's rest began is not kept")
    })
  }
  const publisher = openPublisher(keeper, nodeName, freed)
  const registry = await readRegistry(store)
  publisher.registry(registry)
  const { term } = leadership
  const registrar = openRegistrar(registry, { store, term, onCommit: (change) => publisher.registry(change) })
  for (const name of options.networks) {
    if (!registrar.state.networks.has(name)) await registrar.apply(decideCreateNetwork(profile, { name }))
  }
  await registrar.apply(decideMaster(profile, { name: nodeName, underlay }, { http: options.http ?? '' }))
  const { clock, log } = options
  const tasks = await openTaskTable({ store, term, clock, log })
  const context = assemble(options, { keeper, publisher, registrar, tasks })
  for (const record of registry.frameworks.values()) recoverFramework(context, record)
  for (const record of registry.agents.values()) recoverAgent(context, record)
  for (const task of [...tasks.all()]) recoverTask(context, task)
  watchDrainedAgents(context)
  keeper.flush()
  return { context, driver: openDriver(context), close: () => close(context, versions) }
}

async function reserveVersions({ store, leadership, clock, log }: MasterOptions, onAvailable: () => void) {
  const reserved = Number((await store.get(versionsKey))?.value ?? 0)
  const reserve = async (until: number) => {
    await store.write([{ key: versionsKey, value: String(until) }], { term: leadership.term })
  }
  return openVersions({ reservedUntil: reserved, reserve, onAvailable, clock, log })
}

function assemble(
  options: MasterOptions,
  parts: Pick<MasterContext, 'keeper' | 'publisher' | 'registrar' | 'tasks'>,
): MasterContext {
  const { clock, random, soon } = options
  const ids = openIds(options.masterId)
  const agents = new Map<AgentId, AgentEntry>()
  const frameworks = new Map<FrameworkId, FrameworkEntry>()
  const allocator = openAllocator(random)
  for (const { role, weight } of parts.registrar.state.weights.values()) allocator.setWeight(role, weight)
  for (const { role, limits } of parts.registrar.state.quotas.values()) allocator.setQuota(role, limits)
  const usage = openUsageTable()
  const places = { agents, usage, registrar: parts.registrar, tasks: parts.tasks }
  const counters = {
    taskUpdates: 0,
    offersMade: 0,
    launches: 0,
    storeFailures: 0,
    registrations: 0,
    refusals: 0,
    unreachable: 0,
  }
  const agentFacts = (agentId: AgentId) => {
    const entry = agents.get(agentId)
    if (entry?.link === undefined) return undefined
    const freeAddresses = Object.fromEntries(roomOfAgent(places, agentId))
    return { hostname: entry.record.nodeName, attributes: entry.record.attributes, freeAddresses }
  }
  const offers = openOffers({
    ...{ allocator, ids, clock, soon, agentFacts },
    deliver: (frameworkId, event) => {
      if (event.kind === 'offers') counters.offersMade += event.offers.length
      frameworks.get(frameworkId)?.deliver?.(event)
    },
  })
  const progress = openProgress({ keeper: parts.keeper, clock, waitedFor: () => waitedFor(context) })
  const room = watchRoom({ ...places, allocator, offers })
  usage.onChange((node) => room.node(node))
  const openedMs = clock.nowMs()
  const isInUse = (key: string) => parts.publisher.isVipInUse(key)
  const vipUse = () => ({ isInUse, nowMs: clock.nowMs(), sinceMs: openedMs })
  const drains = openDrains({
    times: { ...defaultDrainTimes, ...options.drainTimes },
    labels: (taskId) => {
      const task = parts.tasks.get(taskId)
      return task && vipLabels(task)
    },
    publish: () => parts.keeper.flush(),
    keep: () => parts.tasks.written(),
    progress,
    send: (taskId, graceMs) => {
      const task = parts.tasks.get(taskId)
      if (task?.killing !== undefined) {
        parts.tasks.set({ ...task, killing: { ...task.killing, toldMs: clock.nowMs() } })
      }
      sendKill({ tasks: parts.tasks, agents }, taskId, graceMs)
    },
    ...{ clock, log: options.log },
  })
  const context: MasterContext = {
    ...parts,
    ...{ ids, clock, agents, frameworks, allocator, counters, offers, progress, usage, room, vipUse, drains },
    term: options.leadership.term,
    self: options.nodeName,
    profile: options.profile,
    pingIntervalMs: options.pingIntervalMs ?? defaultPingIntervalMs,
    log: options.log,
    readSecret: options.readSecret ?? noSecrets,
    openedMs: clock.monotonicMs(),
    changes: openChanges(),
    roster: openRoster({ registrar: parts.registrar, clock, log: options.log, self: options.nodeName }),
  }
  return context
}

/** Nodes that have a daemon, or should have one because an agent works there; without those that left. */
function* waitedFor({ registrar, agents, progress }: MasterContext): Iterable<NodeName> {
  for (const { name, agentId, daemon } of registrar.state.nodes.values()) {
    const agent = agentId === undefined ? undefined : agents.get(agentId)
    const works = agent !== undefined && agent.state.kind !== 'unreachable'
    if (works || (daemon && progress.silentForMs(name) < nodeGraceMs)) yield name
  }
}

async function close(context: MasterContext, versions: Versions): Promise<void> {
  for (const agent of context.agents.values()) {
    agent.cancelPing()
    agent.cancelHold?.()
  }
  for (const framework of context.frameworks.values()) framework.cancelFailover()
  context.offers.close()
  context.drains.close()
  context.roster.close()
  versions.close()
  await context.tasks.close()
}
