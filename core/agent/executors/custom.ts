import { errorMessage } from '../../base/errors.ts'
import { type AgentId, type TaskId } from '../../model/ids.ts'
import { type RecordStream } from '../../api/mesos/record-stream.ts'
import { type ContainerExit } from '../containerizer/containerizer.ts'
import { type TaskEnd } from '../end-status.ts'
import { groupUnits, isSameGroup } from '../group.ts'
import { hasEnded } from '../record.ts'
import { type ExecutorCall, type ExecutorUpdate } from './custom-call.ts'
import {
  endOfExecutor,
  endOfExecutorLaunch,
  endOfSilence,
  type ExecutorRecovery,
  killedBeforeDelivery,
  undelivered,
} from './custom-end.ts'
import { type ExecutorEndpoint, executorNeed, type ExecutorPatience } from './custom-env.ts'
import {
  acknowledgedEvent,
  type AgentFacts,
  killEvent,
  launchEvent,
  messageEvent,
  shutdownEvent,
  subscribedEvent,
} from './custom-events.ts'
import { launchExecutor } from './custom-launch.ts'
import { type CustomTask, type TaskExecutor } from './custom-task.ts'
import { type ExecutorHome, type HomeDependencies } from './home.ts'
import { type ExecutorRecord } from './record.ts'

/** What custom executors share. */
export interface CustomDependencies extends HomeDependencies {
  readonly agentId: () => AgentId | undefined
  readonly facts: () => AgentFacts
  readonly endpoint: ExecutorEndpoint
  readonly patience: ExecutorPatience
  /** It has ended; told once. */
  readonly onEnded: (record: ExecutorRecord, end: ExecutorExit) => void
}

/** What its framework is told of an executor's end. */
export interface ExecutorExit {
  /** As a shell tells it; undefined: nobody saw it. */
  readonly status: number | undefined
  /** `no`: it was told before. */
  readonly report: 'yes' | 'no'
}

/** Tasks that it is told of by one event. */
type Unit = readonly CustomTask[]

/**
 * An executor that is a program of its framework: one container, which runs many tasks and speaks the v1 executor API.
 *
 *     idle ─▶ launching ─▶ waiting ─▶ running ─▶ stopping ─▶ ended
 *                  └──────────┴─ timeout, failure, exit ────────▲
 *
 * What it is told goes through one chain, so that no KILL overtakes its LAUNCH, and SUBSCRIBED comes first.
 */
export class CustomExecutor implements TaskExecutor {
  readonly home: ExecutorHome
  readonly #deps: CustomDependencies
  readonly #tasks = new Map<TaskId, CustomTask>()
  readonly #aborting = new AbortController()
  #queue: readonly Unit[] = []
  #phase: 'idle' | 'launching' | 'waiting' | 'running' | 'stopping' | 'ended' = 'idle'
  /** How its tasks end, where its exit does not say why. */
  #end: TaskEnd | undefined
  #stream: RecordStream | undefined
  #chain: Promise<void> = Promise.resolve()
  #cancelTimer: () => void = () => undefined

  constructor(home: ExecutorHome, deps: CustomDependencies) {
    this.home = home
    this.#deps = deps
  }

  get record(): ExecutorRecord {
    return this.home.record
  }

  get isSubscribed(): boolean {
    return this.#stream !== undefined
  }

  join(task: CustomTask): void {
    this.#tasks.set(task.record.info.taskId, task)
  }

  leave({ record }: CustomTask): void {
    this.#tasks.delete(record.info.taskId)
    this.home.leave(record.info.taskId)
    this.#resize()
  }

  /** Accepts tasks durably, starts the executor for the first ones, and tells it. Never throws: a failure is a status. */
  async launch(unit: Unit): Promise<void> {
    try {
      await Promise.all(unit.map((task) => task.accept()))
    } catch (error) {
      await this.#endAll(unit, endOfExecutorLaunch(errorMessage(error)))
      return
    }
    this.#queue = [...this.#queue, unit]
    if (this.#phase === 'idle') void this.#start()
    this.#resize()
    this.#deliver()
  }

  /** Goes on where an earlier agent stopped; the tasks have joined. */
  resume(recovery: ExecutorRecovery): void {
    if (recovery.kind === 'finish') {
      void this.#finish(recovery.end, recovery)
      return
    }
    this.#phase = 'waiting'
    this.home.log.info({ pid: this.record.pid }, 'executor adopted')
    if (recovery.kind === 'kill') {
      this.#destroy(recovery.end)
      return
    }
    this.#queue = groupUnits(
      [...this.#tasks.values()].filter(({ record }) => record.delivered !== true),
      ({ record }) => record.info,
    )
    this.#expect(recovery.when)
  }

  /** Its process has ended. */
  exited(exit: ContainerExit): void {
    void this.#finish(this.#end ?? endOfExecutor(exit), exit)
  }

  /**
   * A stream of events begins; an earlier one ends. Tasks that it was told of on a stream that broke, and does not know, are
   * lost, as in Mesos; those that it was not told of yet, it is told of.
   */
  subscribe(
    open: (onClose: () => void) => RecordStream,
    call: Extract<ExecutorCall, { readonly kind: 'subscribe' }>,
  ): void {
    let over = false
    let stream: RecordStream | undefined
    stream = open(() => {
      over = true
      if (this.#stream === stream) this.#stream = undefined
    })
    const begin = async () => {
      if (over || stream === undefined) return
      this.#stream?.end()
      this.#stream = stream
      this.home.log.info({ tasks: call.tasks.length, updates: call.updates.length }, 'executor subscribed')
      stream.send(subscribedEvent(this.record, this.#deps.facts()))
      if (this.#phase === 'stopping') {
        stream.send(shutdownEvent)
        return
      }
      this.#cancelTimer()
      if (this.#phase === 'waiting') this.#phase = 'running'
      if (this.record.subscribed !== true) await this.home.noteOrLog({ kind: 'subscribed' })
      this.#reconcile(call)
    }
    this.#serially(begin)
    this.#deliver()
  }

  /** What it says of a task; it is acknowledged when that is durable. */
  async update(update: ExecutorUpdate): Promise<void> {
    const { taskId, uuid } = update
    const task = this.#tasks.get(taskId)
    try {
      if (task === undefined) this.home.log.debug({ task: taskId }, 'update of a task that has ended')
      await task?.update(update, this.record.networks ?? [])
      this.#stream?.send(acknowledgedEvent(taskId, uuid))
    } catch (error) {
      this.home.log.error({ task: taskId, error: errorMessage(error) }, 'can not keep an update: not acknowledged')
    }
  }

  /** From its framework; lost when it is not subscribed, as in Mesos. */
  message(data: string): void {
    this.#stream?.send(messageEvent(data))
  }

  kill(task: CustomTask, graceMs: number): void {
    const { info, delivered } = task.record
    if (delivered === true) {
      this.#serially(async () => this.#stream?.send(killEvent(info.taskId, graceMs)))
      return
    }
    const isOne = ({ record }: CustomTask) => record.delivered !== true && isSameGroup(record.info, info)
    const others = [...this.#tasks.values()].filter((each) => each !== task && isOne(each))
    void this.#endAll([task, ...others], killedBeforeDelivery).then(() => this.#stopIfUnused())
  }

  /** Asks it to end, with its tasks; kills it after the grace. It takes no more tasks. */
  shutdown(): void {
    if (this.#phase === 'stopping' || this.#phase === 'ended') return
    this.home.log.info({ graceMs: this.record.info.shutdownGraceMs }, 'executor is shut down')
    this.home.bar()
    if (this.#stream === undefined) {
      this.#destroy(this.#end)
      return
    }
    this.#cancelTimer()
    this.#phase = 'stopping'
    this.#serially(async () => this.#stream?.send(shutdownEvent))
    this.#cancelTimer = this.#deps.clock.after(this.record.info.shutdownGraceMs, () => this.#destroy(this.#end))
  }

  /** Stops timers; the container goes on. */
  close(): void {
    this.#phase = 'ended'
    this.#cancelTimer()
    this.#stream?.end()
  }

  async #start(): Promise<void> {
    this.#phase = 'launching'
    const tasks = [...this.#tasks.values()].map(({ record }) => record.info)
    const onAttach = () => this.#expect('first')
    try {
      const { pid } = await launchExecutor(this.#deps, { home: this.home, tasks, onAttach }, this.#aborting)
      await this.home.noteOrLog({ kind: 'started', pid })
      if (this.#phase === 'launching') this.#phase = this.isSubscribed ? 'running' : 'waiting'
      this.#resize() // tasks may have come meanwhile
      if (this.#aborting.signal.aborted) this.#destroy(this.#end)
    } catch (error) {
      await this.#finish(this.#end ?? endOfExecutorLaunch(errorMessage(error)), {})
    }
  }

  #expect(when: 'first' | 'again'): void {
    const { registrationMs, reregistrationMs } = this.#deps.patience
    const waitMs = when === 'first' ? registrationMs : reregistrationMs
    this.#cancelTimer()
    this.#cancelTimer = this.#deps.clock.after(waitMs, () => this.#destroy(endOfSilence(when, waitMs)))
  }

  /** Ends its container, however far it is; the exit is told later. */
  #destroy(end: TaskEnd | undefined): void {
    this.#end = end
    this.#cancelTimer()
    this.home.bar()
    const isLaunching = this.#phase === 'launching'
    if (this.#phase !== 'ended') this.#phase = 'stopping'
    if (isLaunching) this.#aborting.abort()
    else this.#deps.containerizer.signal(this.record.containerId, 'KILL')
  }

  async #finish(
    end: TaskEnd,
    { status, report = 'yes' }: { readonly status?: number; readonly report?: 'yes' | 'no' },
  ): Promise<void> {
    if (this.#phase === 'ended') return
    this.#phase = 'ended'
    this.home.bar()
    this.#cancelTimer()
    this.#stream?.end()
    this.home.log.info({ status, tasks: this.#tasks.size, reason: end.reason }, 'executor ended')
    await this.#endAll([...this.#tasks.values()], end)
    this.#deps.onEnded(this.record, { status, report })
    await this.home.noteOrLog({ kind: 'ended' })
    this.home.close()
  }

  /** The executor has just subscribed: what it does not know, and what it must be told again. */
  #reconcile({ tasks, updates }: Extract<ExecutorCall, { readonly kind: 'subscribe' }>): void {
    for (const update of updates) void this.update(update)
    const known = new Set([...tasks, ...updates.map(({ taskId }) => taskId)])
    for (const task of [...this.#tasks.values()]) {
      const { delivered, latest, info, killing } = task.record
      if (delivered !== true || hasEnded(task.record)) continue
      if (latest === undefined && !known.has(info.taskId)) void task.end(undelivered)
      else if (killing !== undefined) this.#stream?.send(killEvent(info.taskId, killing.graceMs))
    }
  }

  /** Tells it of what it was not told of yet, if it listens. */
  #deliver(): void {
    this.#serially(async () => {
      while (this.#stream !== undefined && this.#phase !== 'stopping' && this.#queue.length > 0) {
        const [unit = [], ...rest] = this.#queue
        this.#queue = rest
        const live = unit.filter(({ record }) => !hasEnded(record))
        if (live.length > 0) await this.#tell(live)
      }
    })
  }

  async #tell(unit: Unit): Promise<void> {
    try {
      await Promise.all(unit.map((task) => task.delivered()))
    } catch (error) {
      await this.#endAll(unit, endOfExecutorLaunch(errorMessage(error)))
      return
    }
    const infos = unit.map(({ record }) => record.info)
    this.#stream?.send(launchEvent(infos, this.record))
  }

  /** All its tasks were killed before it heard of any: it would wait forever. Source: mesos, Slave::killTask. */
  #stopIfUnused(): void {
    if (this.#tasks.size === 0 && this.record.subscribed !== true) this.shutdown()
  }

  #resize(): void {
    if (this.#phase !== 'waiting' && this.#phase !== 'running') return
    const need = executorNeed(
      this.record.info.resources,
      [...this.#tasks.values()].map(({ record }) => record.info),
    )
    this.#deps.containerizer.resize?.(this.record.containerId, need)
  }

  async #endAll(tasks: readonly CustomTask[], end: TaskEnd): Promise<void> {
    await Promise.all(tasks.map((task) => task.end(end)))
  }

  #serially(action: () => Promise<void>): void {
    this.#chain = this.#chain.then(action).catch((error: unknown) => {
      // A defect: every expected failure is a status. The steps after it must still run.
      this.home.log.error({ error: errorMessage(error) }, 'a step of the executor failed')
    })
  }
}
