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
import { forgetOver, type Memory, type Moment, noteKill, readMoment, type Waiting } from './memory.ts'
import { type RunLimits } from './plan.ts'
import { type Making } from './record.ts'
import { frameworkKey, runKey } from './records.ts'
import { type Run } from './run.ts'
import { type Heard, observeEvents } from './turn-observe.ts'
import { nextDueMs, planRuns, type RunsPlan, startDue } from './turn-plan.ts'
import { placeWaiting } from './turn-place.ts'
import { type Draft, openDraft, type World } from './world.ts'

/** What a scheduler is made of. */
export interface SchedulerParts {
  readonly driver: SchedulerDriver
  readonly store: Store
  readonly term: number
  readonly clock: Clock
  readonly log: Logger
  readonly world: World
  readonly framework: FrameworkInfo
  readonly limits: RunLimits
  readonly newId: () => string
}

/** What a command works on. It throws before it changes the draft, or not at all. */
export interface CommandContext extends Making {
  readonly draft: Draft
}

/** A command that waits for its turn. */
interface Pending {
  run(context: CommandContext): () => void
  reject(error: unknown): void
}

interface Turn {
  readonly draft: Draft
  readonly moment: Moment
  readonly heard: Heard
  readonly plan: RunsPlan
  readonly answers: readonly SchedulerCall[]
}

/** After a write that failed, the next attempt. */
const retryMs = 1_000
/** A wall clock that was set is noticed within this. */
const longestSleepMs = 30_000
const nothingPlanned: RunsPlan = { calls: [], killed: [], waiting: [], wakeAtMs: undefined }

/**
 * Turns: each takes all events that came and at most one command, decides what is due, looks at every run, writes what that
 * changes in one batch, and only then acts. What could not be written was not: events are taken again in the next turn.
 */
export class Scheduler {
  readonly #parts: SchedulerParts
  readonly #memory: Memory
  #connection: SchedulerConnection | undefined
  #inbox: SchedulerEvent[] = []
  readonly #commands: Pending[] = []
  #phase: 'away' | 'subscribed' | 'closed' = 'away'
  #frameworkId: FrameworkId | undefined
  #storedId: FrameworkId | undefined
  #subscription = 0
  #wanted: ReadonlySet<string> = new Set()
  #offersWanted = true
  #running: Promise<void> | undefined
  #cancelTimer: () => void = () => undefined
  #cancelSubscribe: () => void = () => undefined

  constructor(parts: SchedulerParts) {
    this.#parts = parts
    const { world, clock, log, limits, newId } = parts
    this.#frameworkId = parts.framework.id
    this.#storedId = parts.framework.id
    const maps = { runs: new Map(), waiting: new Map(), dues: new Map(), offers: new Map() }
    this.#memory = { world, clock, log, limits, newId, ...maps }
  }

  /** The id that the master gave, or that the store had. */
  get frameworkId(): FrameworkId | undefined {
    return this.#frameworkId
  }

  /** Why a run waits for a place; undefined when it does not. */
  waitingOf(run: Run): Waiting | undefined {
    return this.#memory.waiting.get(runKey(run))
  }

  /** Subscribes to the master, and follows the schedules. */
  start(): void {
    this.#subscribe(this.#parts.framework)
    this.#wake()
  }

  #subscribe(framework: FrameworkInfo): void {
    const subscription = ++this.#subscription
    this.#connection = this.#parts.driver.subscribe(framework, (event) => {
      if (subscription !== this.#subscription) return
      this.#inbox.push(event)
      this.#wake()
    })
  }

  /**
   * Runs a command in a turn of its own; resolves when what it changed is written.
   * @throws whatever the command throws; ERR_STORE_FULL, ERR_JOBS_CLOSED: nothing was changed
   */
  submit<Reply>(command: (context: CommandContext) => Reply): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#phase === 'closed') return reject(closedError())
      this.#commands.push({
        run: (context) => {
          const reply = command(context)
          return () => resolve(reply)
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
    this.#connection?.close()
    for (const { reject } of this.#commands.splice(0)) reject(closedError())
  }

  #wake(): void {
    if (this.#running !== undefined || this.#phase === 'closed') return
    // Not at once: the events of one cause (all offers of one allocation) then make one turn.
    this.#running = new Promise<void>((resolve) => setImmediate(resolve)).then(() => this.#run())
  }

  async #run(): Promise<void> {
    let isOver = false
    try {
      do isOver = !(await this.#turn())
      while (!isOver && this.#hasWork())
    } catch (error) {
      isOver = true
      this.#parts.log.error({ err: errorMessage(error) }, 'a turn of the jobs scheduler failed')
      this.#wakeIn(retryMs)
    } finally {
      this.#running = undefined
    }
    if (!isOver && this.#hasWork()) this.#wake()
  }

  #hasWork(): boolean {
    return this.#phase !== 'closed' && (this.#inbox.length > 0 || this.#commands.length > 0)
  }

  /** @returns whether it was written */
  async #turn(): Promise<boolean> {
    const memory = this.#memory
    const events = this.#inbox.splice(0)
    const pending = this.#commands.shift()
    const moment = readMoment(memory)
    const draft = openDraft(memory.world)
    const heard = observeEvents(memory, draft, { events, moment })
    this.#hear(events, heard)
    startDue(memory, draft, moment)
    const written = this.#command(pending, { draft, nowMs: moment.nowMs, newId: memory.newId })
    const isSubscribed = this.#phase === 'subscribed'
    const plan = isSubscribed ? planRuns(memory, draft, moment) : nothingPlanned
    const answers = isSubscribed ? placeWaiting(memory, draft, { waiting: plan.waiting, moment }) : []
    try {
      await this.#write(draft)
    } catch (error) {
      this.#inbox.unshift(...events)
      this.#onWriteFailed(error, pending)
      return false
    }
    this.#act({ draft, moment, heard, plan, answers })
    written()
    this.#setTimer({ plan, dueMs: nextDueMs(memory, draft) })
    return true
  }

  #hear(events: readonly SchedulerEvent[], { subscribed, error }: Heard): void {
    if (this.#phase === 'closed') return
    for (const event of events) if (event.kind === 'subscribed') this.#frameworkId = event.frameworkId
    if (subscribed) {
      this.#phase = 'subscribed'
      this.#offersWanted = true
      this.#wanted = new Set()
    }
    if (error !== undefined) this.#onError(error)
  }

  #command(pending: Pending | undefined, context: CommandContext): () => void {
    if (pending === undefined) return () => undefined
    try {
      return pending.run(context)
    } catch (error) {
      pending.reject(error)
      return () => undefined
    }
  }

  async #write(draft: Draft): Promise<void> {
    const writes: StoreWrite[] = [...draft.writes()]
    const { store, term } = this.#parts
    const id = this.#frameworkId
    if (id !== this.#storedId) writes.push({ key: frameworkKey, value: id })
    if (writes.length === 0) return
    await store.write(writes, { term })
    this.#storedId = id
  }

  #act({ draft, moment, heard, plan, answers }: Turn): void {
    const memory = this.#memory
    if (this.#phase === 'closed') return
    memory.world.apply(draft)
    for (const run of plan.killed) noteKill(memory, run, moment)
    if (answers.length > 0) memory.offers.clear()
    const alive = new Set([...memory.world.runs()].map(runKey))
    forgetOver(memory, (key) => alive.has(key))
    if (heard.subscribed) this.#call(reconcileCalls(memory.world))
    this.#call([...heard.calls, ...plan.calls])
    this.#tune(plan)
    this.#call(answers)
  }

  #tune({ waiting }: RunsPlan): void {
    if (this.#phase !== 'subscribed') return
    const before = this.#wanted
    const launched = (run: Run) => this.#parts.world.run(run.jobId, run.id)?.task !== undefined
    this.#wanted = new Set(waiting.filter((run) => !launched(run)).map(runKey))
    const isMore = [...this.#wanted].some((key) => !before.has(key))
    if (isMore) this.#call([{ kind: 'revive' }])
    else if (this.#wanted.size === 0 && this.#offersWanted) this.#call([{ kind: 'suppress' }])
    this.#offersWanted = this.#wanted.size > 0
  }

  /** Source: mesos, master.cpp: the messages are all that tells these apart. */
  #onError(message: string): void {
    this.#phase = 'away'
    this.#subscription++
    this.#memory.offers.clear()
    this.#connection?.close()
    this.#parts.log.error({ message }, 'the master ended the subscription of the jobs scheduler')
    if (message !== 'Framework has been removed') return
    const { id, ...anew } = this.#parts.framework
    this.#frameworkId = undefined
    this.#cancelSubscribe = this.#parts.clock.after(retryMs, () => this.#subscribe(anew))
  }

  #onWriteFailed(error: unknown, pending: Pending | undefined): void {
    pending?.reject(error)
    if (hasCode(error, 'ERR_STORE_TERM') || hasCode(error, 'ERR_STORE_CONFLICT')) {
      this.#parts.log.error({ err: errorMessage(error) }, 'another leader has written: the jobs scheduler stops')
      this.#stop()
      return
    }
    this.#parts.log.warn({ err: errorMessage(error) }, 'the jobs scheduler cannot write: nothing is started or stopped')
    this.#wakeIn(retryMs)
  }

  #setTimer({ plan, dueMs }: { readonly plan: RunsPlan; readonly dueMs: number | undefined }): void {
    const { clock } = this.#parts
    const untilRun = plan.wakeAtMs === undefined ? Number.POSITIVE_INFINITY : plan.wakeAtMs - clock.monotonicMs()
    const untilDue = dueMs === undefined ? Number.POSITIVE_INFINITY : Math.min(longestSleepMs, dueMs - clock.nowMs())
    const ms = Math.min(untilRun, untilDue)
    this.#cancelTimer()
    if (ms !== Number.POSITIVE_INFINITY) this.#wakeIn(Math.max(1, Math.ceil(ms)))
  }

  #wakeIn(ms: number): void {
    if (this.#phase === 'closed') return
    this.#cancelTimer()
    this.#cancelTimer = this.#parts.clock.after(Math.min(ms, longestTimerMs), () => this.#wake())
  }

  #call(calls: readonly SchedulerCall[]): void {
    if (this.#phase !== 'subscribed') return
    for (const call of calls) this.#connection?.call(call)
  }
}

/** setTimeout takes no more than 2^31 - 1 ms. */
const longestTimerMs = 86_400_000

/** Calls that ask the master for the state of every task, and for tasks that are not known here. */
function reconcileCalls(world: World): readonly SchedulerCall[] {
  // With its agent, so that the master need not wait for all others to say what became of a task that was never launched.
  const agentOf = new Map(
    [...world.runs()].flatMap(({ task }) => (task === undefined ? [] : [[task.id, task.agentId]])),
  )
  const taskIds = [...agentOf.keys()]
  const known: readonly SchedulerCall[] = taskIds.length === 0 ? [] : [{ kind: 'reconcile', taskIds, agentOf }]
  return [...known, { kind: 'reconcile', taskIds: [] }]
}

function closedError(): AppError {
  return new AppError('ERR_JOBS_CLOSED', 'this master is not the leader any more: ask the one that is')
}
