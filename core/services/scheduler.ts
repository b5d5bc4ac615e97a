import { type Clock } from '../base/clock.ts'
import { AppError, errorMessage, hasCode } from '../base/errors.ts'
import { type Logger } from '../base/log.ts'
import { type FrameworkId } from '../model/ids.ts'
import {
  type FrameworkInfo,
  type SchedulerCall,
  type SchedulerConnection,
  type SchedulerDriver,
  type SchedulerEvent,
} from '../model/scheduler.ts'
import { type Store, type StoreWrite } from '../store/store.ts'
import { type CheckContext } from './check.ts'
import { type Convergence } from './convergence.ts'
import { type CommandContext } from './deploy.ts'
import { appsOn, type Draining, movesWithinMs } from './draining.ts'
import { type EventHub } from './events.ts'
import { garbagePrefixes, garbageWrites } from './garbage.ts'
import { type AppId } from './ids.ts'
import { stepInstance, tasksOf } from './instance.ts'
import { type PlanTimes } from './plan.ts'
import { frameworkKey } from './records.ts'
import { makeRuntimes, type Runtimes } from './runtime.ts'
import { type Memory, observeEvents, reconcileCalls } from './turn-observe.ts'
import { nothingPlanned, type Planned, planApps } from './turn-plan.ts'
import { declineAll, placeWaiting, wantedOffers } from './turn-place.ts'
import { formatVersion } from './version.ts'
import { type Draft, openDraft } from './draft.ts'
import { type World, writeOf } from './world.ts'

/** What a scheduler is made of. */
export interface SchedulerParts {
  readonly driver: SchedulerDriver
  readonly store: Store
  readonly term: number
  readonly clock: Clock
  readonly log: Logger
  readonly hub: EventHub
  readonly world: World
  readonly framework: FrameworkInfo
  readonly times: PlanTimes
  readonly networkNames: () => ReadonlySet<string>
  readonly vipProblem: NonNullable<CheckContext['vipProblem']>
  readonly convergence: Convergence
  readonly draining: Draining
  readonly newId: () => string
}

/** A command that waits for its turn. */
interface Pending {
  run(context: CommandContext): { readonly apps: readonly AppId[]; readonly written: () => void }
  reject(error: unknown): void
}

/** After a write that failed, the next attempt. */
const retryMs = 1_000
/** While an app waits for nodes: one that is silent for too long is waited for no more. */
const lookAgainMs = 1_000

/**
 * Turns: each takes all events that came and at most one command, plans the apps concerned, writes what that changes in
 * one batch, and only then acts. One turn at a time, so that nothing is decided on what is not written. Between turns it
 * does nothing: it wakes by an event, a command, or the deadline of an instance.
 */
export class Scheduler {
  readonly #parts: SchedulerParts
  readonly #memory: Memory
  #connection: SchedulerConnection | undefined
  #inbox: SchedulerEvent[] = []
  readonly #commands: Pending[] = []
  #phase: 'away' | 'subscribed' | 'closed' = 'away'
  #offersWanted = true
  #running: Promise<void> | undefined
  #cancelTimer: () => void = () => undefined
  #cancelSubscribe: () => void = () => undefined
  #cancelWatches: readonly (() => void)[] = []
  /** The next turn looks at what the nodes have, and at who has instances on agents that are being emptied. */
  readonly #told = new Set<'nodes' | 'drains'>()

  constructor(parts: SchedulerParts) {
    this.#parts = parts
    const { world, hub, clock, log } = parts
    this.#memory = {
      world,
      hub,
      clock,
      log,
      runtimes: makeRuntimes(),
      dirty: new Map(),
      unconverged: new Map(),
      touched: new Set(),
      offers: new Map(),
      hostnames: new Map(),
      owed: [],
    }
  }

  /** What is known of each app in this process. */
  get runtimes(): Runtimes {
    return this.#memory.runtimes
  }

  /** The id that the master gave, or that the store had. */
  get frameworkId(): FrameworkId | undefined {
    return this.#frameworkId ?? this.#parts.framework.id
  }
  #frameworkId: FrameworkId | undefined
  #subscription = 0

  /** Subscribes to the master. */
  start(): void {
    this.#subscribe(this.#parts.framework)
    this.#cancelWatches = [
      this.#parts.convergence.watch(() => (this.#memory.unconverged.size === 0 ? undefined : this.#hear('nodes'))),
      this.#parts.draining.watch(() => this.#hear('drains')),
    ]
  }

  #hear(of: 'nodes' | 'drains'): void {
    this.#told.add(of)
    this.#wake()
  }

  #subscribe(framework: FrameworkInfo): void {
    const subscription = ++this.#subscription
    const onEvent = (event: SchedulerEvent) => {
      if (subscription !== this.#subscription) return
      if (event.kind === 'subscribed') this.#frameworkId = event.frameworkId
      this.#inbox.push(event)
      this.#wake()
    }
    this.#connection = this.#parts.driver.subscribe(framework, onEvent, { movesWithinMs })
  }

  /**
   * Runs a command in a turn of its own; resolves when what it changed is written.
   * @throws whatever the command throws; ERR_STORE_FULL, ERR_SERVICES_CLOSED: nothing was changed
   */
  submit<Reply>(
    command: (context: CommandContext) => { readonly reply: Reply; readonly apps: readonly AppId[] },
  ): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#phase === 'closed') return reject(closedError())
      this.#commands.push({
        run: (context) => {
          const { reply, apps } = command(context)
          return { apps, written: () => resolve(reply) }
        },
        reject,
      })
      this.#wake()
    })
  }

  /** Ends the subscription; tasks go on. Waits for the turn that is under way. */
  async close(): Promise<void> {
    this.#stop()
    await this.#running
  }

  #stop(): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closed'
    this.#cancelTimer()
    this.#cancelSubscribe()
    for (const cancel of this.#cancelWatches) cancel()
    this.#connection?.close()
    for (const { reject } of this.#commands.splice(0)) reject(closedError())
  }

  #wake(): void {
    if (this.#running !== undefined || this.#phase === 'closed') return
    // Not at once: the events of one cause (all offers of one allocation) then make one turn.
    this.#running = new Promise<void>((resolve) => setImmediate(resolve)).then(() => this.#run())
  }

  async #run(): Promise<void> {
    try {
      do await this.#turn()
      while (this.#hasNews())
    } catch (error) {
      this.#parts.log.error({ err: errorMessage(error) }, 'a turn of the services scheduler failed')
      this.#retryLater()
    } finally {
      this.#running = undefined
    }
    if (this.#hasNews()) this.#wake()
  }

  #hasNews(): boolean {
    return this.#phase !== 'closed' && this.#inbox.length + this.#commands.length + this.#told.size > 0
  }

  async #turn(): Promise<void> {
    const memory = this.#memory
    for (const id of memory.runtimes.due(memory.clock.monotonicMs())) memory.touched.add(id)
    if (this.#told.has('drains'))
      for (const id of appsOn(memory.world, this.#parts.draining.agents())) memory.touched.add(id)
    this.#told.clear()
    const convergedVersion = this.#parts.convergence.converged()
    for (const [id, version] of memory.unconverged) if (version <= convergedVersion) memory.touched.add(id)
    const heard = observeEvents(memory, this.#inbox.splice(0))
    if (heard.subscribed) this.#onSubscribed()
    if (heard.error !== undefined) this.#onError(heard.error)
    const { draft, written, pending } = this.#runCommand(this.#commands.shift())
    let answers: readonly SchedulerCall[] = []
    try {
      const planned = this.#plan(draft, convergedVersion)
      const { newId } = this.#parts
      if (this.#phase === 'subscribed') answers = placeWaiting(memory, draft, { newId, frameworkId: this.frameworkId })
      this.#tune(planned, draft)
      await this.#write(draft)
      this.#act(draft, { planned, answers })
    } catch (error) {
      this.#onTurnFailed(error, { answers, pending })
      return
    }
    written()
    await this.#collect(draft)
    this.#setTimer()
  }

  /** What is left over costs room only: the next removal finds it again. */
  async #collect(draft: Draft): Promise<void> {
    const { store, term, world, log } = this.#parts
    const prefixes = garbagePrefixes(draft.changes(), world)
    if (prefixes.length === 0 || this.#phase === 'closed') return
    try {
      const writes = await garbageWrites(store, world, prefixes)
      if (writes.length > 0) await store.write(writes, { term })
    } catch (error) {
      log.warn({ err: errorMessage(error) }, 'former definitions could not be removed')
    }
  }

  #runCommand(pending: Pending | undefined): { draft: Draft; written: () => void; pending?: Pending } {
    const { world, touched, clock } = this.#memory
    const draft = openDraft(world)
    if (pending === undefined) return { draft, written: () => undefined }
    const { networkNames, vipProblem, newId } = this.#parts
    try {
      const { vipConflict, pathConflict } = world
      const role = this.#parts.framework.roles[0] ?? '*'
      const check = { networkNames: networkNames(), vipProblem, vipConflict, pathConflict, role }
      const { apps, written } = pending.run({ draft, check, nowMs: clock.nowMs(), deploymentId: newId() })
      for (const id of apps) touched.add(id)
      return { draft, written, pending }
    } catch (error) {
      pending.reject(error)
      return { draft: openDraft(world), written: () => undefined }
    }
  }

  #plan(draft: Draft, convergedVersion: number): Planned {
    if (this.#phase !== 'subscribed') return nothingPlanned
    const { times, convergence } = this.#parts
    const draining = this.#parts.draining.agents()
    let version: number | undefined
    const publish = () => {
      version ??= convergence.publish() // once: what happened in one turn is one version
      return version
    }
    return planApps(this.#memory, draft, { apps: this.#memory.touched, times, draining, convergedVersion, publish })
  }

  /** Before the write, as it changes nothing that is kept: the offers can come while the disk works. */
  #tune({ moreWaiting }: Planned, draft: Draft): void {
    if (this.#phase !== 'subscribed') return
    const { waiting, moreLeaving } = wantedOffers(this.#memory, draft)
    if (waiting && (moreWaiting || moreLeaving)) this.#call([{ kind: 'revive' }])
    else if (!waiting && this.#offersWanted) this.#call([{ kind: 'suppress' }])
    this.#offersWanted = waiting
  }

  async #write(draft: Draft): Promise<void> {
    const { dirty } = this.#memory
    const last = new Map(dirty)
    for (const change of draft.changes()) {
      const { key, value } = writeOf(change)
      last.set(key, value)
    }
    if (last.size === 0) return
    const writes: readonly StoreWrite[] = [...last].map(([key, value]) => ({ key, value }))
    await this.#parts.store.write(writes, { term: this.#parts.term })
    dirty.clear()
  }

  #act(
    draft: Draft,
    { planned, answers }: { readonly planned: Planned; readonly answers: readonly SchedulerCall[] },
  ): void {
    const { world, touched, owed, clock } = this.#memory
    if (this.#phase === 'closed') return
    for (const change of draft.changes()) world.apply(change)
    if (this.#phase === 'subscribed') touched.clear()
    this.#call(owed.splice(0))
    const nowMs = clock.monotonicMs()
    for (const { appId, id } of planned.kills) {
      const instance = world.instance(appId, id)
      if (instance !== undefined) {
        world.apply({ kind: 'instance.put', instance: stepInstance(instance, { kind: 'kill-sent', nowMs }) })
        touched.add(appId)
      }
      const ids = instance === undefined ? [id] : tasksOf(instance)
      this.#call(ids.map((taskId) => ({ kind: 'kill', taskId })))
    }
    this.#call(answers)
    this.#tell(planned)
  }

  #tell({ removed, finished, steps }: Planned): void {
    const { runtimes, unconverged, hub } = this.#memory
    for (const id of removed) {
      runtimes.forget(id)
      unconverged.delete(id)
      hub.emit('app_terminated_event', { appId: id })
    }
    for (const { id, step } of steps) hub.emit('deployment_step_success', { plan: { id }, currentStep: step })
    for (const { id, version, apps } of finished) {
      const plan = { id, version: formatVersion(version) }
      const snapshotVersion = this.#parts.convergence.version()
      hub.emit('deployment_success', { id, plan, snapshotVersion, affectedApps: apps })
    }
  }

  #onSubscribed(): void {
    const { world, touched, owed } = this.#memory
    this.#phase = 'subscribed'
    this.#offersWanted = true
    for (const { definition } of world.apps()) touched.add(definition.id)
    owed.push(...reconcileCalls(world))
  }

  /** Source: mesos, master.cpp: the messages are all that tells these apart. */
  #onError(message: string): void {
    this.#phase = 'away'
    this.#subscription++
    this.#memory.offers.clear()
    this.#connection?.close()
    this.#parts.log.error({ message }, 'the master ended the subscription of the services scheduler')
    if (message !== 'Framework has been removed') return
    const { id, ...anew } = this.#parts.framework
    this.#memory.dirty.set(frameworkKey, undefined)
    this.#cancelSubscribe = this.#parts.clock.after(retryMs, () => this.#subscribe(anew))
  }

  #onTurnFailed(
    error: unknown,
    { answers, pending }: { answers: readonly SchedulerCall[]; pending: Pending | undefined },
  ): void {
    pending?.reject(error)
    if (hasCode(error, 'ERR_STORE_TERM') || hasCode(error, 'ERR_STORE_CONFLICT')) {
      this.#parts.log.error({ err: errorMessage(error) }, 'another leader has written: the services scheduler stops')
      this.#stop()
      return
    }
    this.#parts.log.warn(
      { err: errorMessage(error) },
      'the services scheduler cannot write: nothing is started or stopped',
    )
    this.#call(declineAll(answers))
    this.#retryLater()
  }

  #retryLater(): void {
    if (this.#phase === 'closed') return
    this.#cancelTimer()
    this.#cancelTimer = this.#parts.clock.after(retryMs, () => this.#wake())
  }

  #setTimer(): void {
    this.#cancelTimer()
    const { runtimes, clock, touched, unconverged } = this.#memory
    const waitsMs = unconverged.size > 0 ? clock.monotonicMs() + lookAgainMs : undefined
    const nextMs = [runtimes.nextWakeMs(), waitsMs].filter((ms) => ms !== undefined)
    const soonMs = nextMs.length === 0 ? undefined : Math.min(...nextMs)
    const atMs = touched.size > 0 && this.#phase === 'subscribed' ? 0 : soonMs
    if (atMs !== undefined) this.#retryAt(Math.max(1, atMs - clock.monotonicMs()))
  }

  #retryAt(ms: number): void {
    if (this.#phase === 'closed') return
    this.#cancelTimer = this.#parts.clock.after(ms, () => this.#wake())
  }

  #call(calls: readonly SchedulerCall[]): void {
    if (this.#phase !== 'subscribed') return
    for (const call of calls) this.#connection?.call(call)
  }
}

function closedError(): AppError {
  return new AppError('ERR_SERVICES_CLOSED', 'this master is not the leader any more: ask the one that is')
}
