import { type CniResult } from '../../cni-plugins/cni/result.ts'
import { AppError, errorMessage } from '../base/errors.ts'
import { type Ip, parseIp } from '../base/ip.ts'
import { type Logger } from '../base/log.ts'
import { type AgentId, type TaskId } from '../model/ids.ts'
import { type NetworkInfo, networksOfTask, type TaskState } from '../model/task.ts'
import { unlessAborted } from './abort.ts'
import { attachContainer, type AttachDependencies, type AttachedNetwork, hostNetwork } from './attach.ts'
import { type ContainerExit, type Containerizer, type PrepareRequest } from './containerizer/containerizer.ts'
import { endOfContainer, endOfLaunch, type TaskEnd } from './end-status.ts'
import { openHealthChecker } from './health/checker.ts'
import { runProbe } from './health/probe.ts'
import { initialHealth } from './health/step.ts'
import { type MasterSession } from './messages.ts'
import { type Attachment, hasEnded, isForgettable, type KillCause, type TaskRecord } from './record.ts'
import { openProgress } from './progress.ts'
import { type Recovery } from './recovery.ts'
import { acceptance, type LedgerDependencies, TaskLedger, type TaskOpening } from './task-ledger.ts'

/** First and longest wait before an undo that failed is tried again. */
const undoRetryMs = { min: 1000, max: 60_000 } as const

/** Longest launch: what hangs is given up. Source: mesos, executor_registration_timeout. */
const launchTimeoutMs = 60_000

/** Longest wait for an image and fetched files before it. */
const prepareTimeoutMs = 1_800_000

/** What tasks share. */
export interface TaskDependencies extends AttachDependencies, LedgerDependencies {
  readonly containerizer: Containerizer
  readonly session: MasterSession
  readonly agentId: () => AgentId | undefined
  /** It has ended: the others of its group may have to. */
  readonly onEnded: (task: TaskRecord, state: TaskState) => void
  /** Nothing is left to do: the task may be forgotten. */
  readonly onForgettable: (record: TaskRecord) => void
}

/** The executor whose network namespace a task of a group shares. */
export interface TaskHome {
  /** Resolves when the networks are attached. @throws when they can't be */
  network(): Promise<AttachedNetwork>
  /** Directory that its tasks share. */
  readonly sandbox: string
  /** The task's container has gone. */
  leave(taskId: TaskId): void
}

/** How a task starts when it is not alone: resolves when the containers of all have started. */
export type Together = (options: { readonly signal: AbortSignal }) => Promise<void>

/** One task's life on this agent: holds its journal and its timers until closed. */
export class AgentTaskRunner {
  readonly #deps: TaskDependencies
  readonly #ledger: TaskLedger
  readonly #home: TaskHome | undefined
  readonly #log: Logger
  readonly #aborting = new AbortController()
  #phase: 'launching' | 'running' | 'ended' = 'launching'
  /** Launch, resumption and end, one after the other. */
  #chain: Promise<void> = Promise.resolve()
  #cancelTimer: () => void = () => undefined
  #stopHealth: () => void = () => undefined

  constructor(opening: TaskOpening, deps: TaskDependencies, home?: TaskHome) {
    this.#deps = deps
    this.#ledger = new TaskLedger(opening, deps)
    this.#home = home
    this.#log = this.#ledger.log
  }

  get record(): TaskRecord {
    return this.#ledger.record
  }

  /** Accepts durably, attaches networks, starts the container, tells. Never throws: a failure is a status. */
  launch(together?: Together): Promise<void> {
    return this.#serially(() => this.#launch(together))
  }

  /** Goes on where an earlier agent stopped. */
  resume(recovery: Recovery): Promise<void> {
    return this.#serially(() => this.#resume(recovery))
  }

  /** The container has ended. */
  exited(exit: ContainerExit): Promise<void> {
    return this.#serially(() => this.#finish(exit))
  }

  /** SIGTERM, and SIGKILL after the grace; before the start: gives the launch up. A second call sets the grace anew. */
  kill(cause: KillCause, graceMs: number): void {
    if (this.#phase === 'ended' || hasEnded(this.record)) return
    this.#log.info({ cause: cause.kind, graceMs }, 'killing task')
    if (this.record.killing === undefined) void this.#ledger.noteOrLog({ kind: 'killing', cause, graceMs })
    if (this.#phase === 'launching') this.#aborting.abort()
    else this.#beginKill(graceMs)
  }

  /** The master has the outstanding update. */
  acknowledge(uuid: string): void {
    void this.#ledger.acknowledge(uuid).then(() => this.#forgetIfDone())
  }

  /** Cancels timers and closes the journal; the container goes on. */
  async close(): Promise<void> {
    this.#phase = 'ended'
    this.#stopHealth()
    this.#cancelTimer()
    await this.#ledger.close()
  }

  async #launch(together?: Together): Promise<void> {
    const { frameworkId, info, containerId } = this.record
    const agentId = this.#deps.agentId()
    const shared = this.#home === undefined ? {} : { sharedSandbox: this.#home.sandbox }
    const identity = { containerId, frameworkId, info, ...(agentId === undefined ? {} : { agentId }), ...shared }
    const { signal } = this.#aborting
    let cancel = this.#limit(prepareTimeoutMs)
    try {
      await this.#prepare(identity)
      cancel()
      cancel = this.#limit(launchTimeoutMs)
      // A container that no journal knows is removed at recovery: it may start while its acceptance is written.
      const own = this.#home !== undefined || info.networks.length > 0
      const accepted = own ? undefined : this.#acceptOnHost()
      const { network } = this.#home === undefined ? await this.#attach(own) : await this.#join(this.#home)
      const { pid } = await this.#deps.containerizer.launch({ ...identity, network }, { signal })
      await accepted
      await together?.({ signal })
      cancel()
      await this.#announce(pid)
    } catch (error) {
      cancel()
      await this.#abandon(endOfLaunch(this.record, errorMessage(error)))
    }
  }

  #limit(ms: number): () => void {
    const late = () => new AppError('ERR_AGENT_LAUNCH_TIMEOUT', `the launch took over ${ms / 1000} s`)
    return this.#deps.clock.after(ms, () => this.#aborting.abort(late()))
  }

  /** What may take long goes first: no address is held meanwhile. */
  async #prepare(request: PrepareRequest): Promise<void> {
    const { containerizer, clock, netnsOf } = this.#deps
    const { container, fetch = [], networks } = request.info
    if (container?.image === undefined && fetch.length === 0) return
    await this.#ledger.note(acceptance(this.record))
    const tell = (message: string) => void this.#ledger.tell({ state: 'TASK_STARTING', message })
    const progress = openProgress({ clock, tell })
    const netns = networks.length === 0 || this.#home !== undefined ? {} : { netns: netnsOf(request.containerId) }
    try {
      const options = { signal: this.#aborting.signal, onProgress: progress.onProgress }
      await containerizer.prepare?.({ ...request, ...netns }, options)
    } finally {
      progress.close()
    }
  }

  #acceptOnHost(): Promise<void> {
    const { networks } = hostNetwork(this.#deps)
    const written = this.#ledger.note(acceptance(this.record), { kind: 'attached', results: [], networks })
    written.catch(() => undefined) // awaited after the launch, which may fail first
    return written
  }

  async #attach(own: boolean): Promise<AttachedNetwork> {
    if (!own) return hostNetwork(this.#deps)
    const { info, containerId } = this.record
    const steps = {
      attaching: (attachments: readonly Attachment[]) =>
        this.#ledger.note(acceptance(this.record), { kind: 'attaching', attachments }),
      // Written while the container starts; the status that follows is written after it.
      attached: (results: readonly CniResult[], networks: readonly NetworkInfo[]) =>
        void this.#ledger.noteOrLog({ kind: 'attached', results, networks }),
    }
    const { signal } = this.#aborting
    return attachContainer(this.#deps, { containerId, requests: info.networks, ...steps }, { signal })
  }

  /** The networks are its executor's, and so is what must be undone. */
  async #join(home: TaskHome): Promise<AttachedNetwork> {
    await this.#ledger.note(acceptance(this.record))
    const attached = await unlessAborted(home.network(), this.#aborting.signal)
    void this.#ledger.noteOrLog({ kind: 'attached', results: [], networks: attached.networks })
    return attached
  }

  async #announce(pid: number): Promise<void> {
    const started = { kind: 'started', pid, atMs: this.#deps.clock.nowMs() } as const
    await this.#ledger.tell({ state: 'TASK_RUNNING', message: '' }, started)
    this.#supervise()
  }

  #supervise(): void {
    this.#phase = 'running'
    const { killing } = this.record
    if (killing === undefined) this.#watchHealth()
    else this.#beginKill(killing.graceMs)
  }

  #watchHealth(): void {
    const { info, containerId, startedAtMs, healthy } = this.record
    const { clock, containerizer } = this.#deps
    const { healthCheck: check, killGraceMs } = info
    if (check === undefined) return
    const target = {
      address: probeAddress(this.record),
      exec: (argv: readonly string[], options: { readonly signal: AbortSignal }) =>
        containerizer.exec(containerId, argv, options),
    }
    const ageMs = Math.max(0, clock.nowMs() - (startedAtMs ?? clock.nowMs()))
    const checker = openHealthChecker({
      check,
      initial: initialHealth(clock.monotonicMs() - ageMs, healthy),
      probe: (options) => runProbe(check.probe, target, options),
      onReport: (health) => this.#reportHealth(health),
      onKill: (message) => this.kill({ kind: 'unhealthy', message }, killGraceMs),
      clock,
    })
    this.#stopHealth = checker.close
  }

  #reportHealth(health: 'healthy' | 'unhealthy'): void {
    const healthy = health === 'healthy'
    // A report that is dropped is in the next registration.
    this.#deps.session.send({ kind: 'health', taskId: this.record.info.taskId, healthy })
    this.#log.info({ health }, 'task health changed')
    void this.#ledger.noteOrLog({ kind: 'health', healthy })
  }

  #beginKill(graceMs: number): void {
    const { containerizer, clock } = this.#deps
    const { containerId } = this.record
    this.#stopHealth()
    this.#cancelTimer()
    containerizer.signal(containerId, 'TERM')
    this.#cancelTimer = clock.after(graceMs, () => containerizer.signal(containerId, 'KILL'))
  }

  async #finish(exit: ContainerExit): Promise<void> {
    if (this.#phase === 'ended') return
    this.#phase = 'ended'
    this.#stopHealth()
    this.#cancelTimer()
    // Told first: names and VIPs must leave it at once.
    const end = endOfContainer(this.record, exit)
    await this.#ledger.tell(end)
    this.#deps.onEnded(this.record, end.state)
    await this.#undo()
  }

  async #abandon(end: TaskEnd): Promise<void> {
    this.#phase = 'ended'
    // Of a group that starts as a whole the others must not wait for it.
    this.#deps.onEnded(this.record, end.state)
    await this.#undo()
    await this.#ledger.tell(end)
    this.#forgetIfDone()
  }

  async #resume(recovery: Recovery): Promise<void> {
    this.#ledger.sendHead()
    switch (recovery.kind) {
      case 'forget':
        this.#forgetIfDone()
        return
      case 'clean':
        this.#phase = 'ended'
        if (!this.record.cleaned) await this.#undo()
        return
      case 'adopt':
        this.#log.info({ pid: recovery.pid }, 'task adopted')
        if (recovery.announce) await this.#announce(recovery.pid)
        else this.#supervise()
        return
      case 'finish':
        await this.#finish(recovery.exit)
        return
      case 'abandon':
        await this.#abandon(recovery.end)
    }
  }

  async #undo(retryMs: number = undoRetryMs.min): Promise<void> {
    const { containerId, attachments, results } = this.record
    const { containerizer, network, netnsOf, clock } = this.#deps
    try {
      await containerizer.remove(containerId)
      if (attachments.length > 0 || this.#hasPrepared()) {
        await network.detach({ containerId, netns: netnsOf(containerId), attachments, results })
      }
      this.#home?.leave(this.record.info.taskId)
      await this.#ledger.noteOrLog({ kind: 'cleaned' })
      this.#forgetIfDone()
    } catch (error) {
      this.#log.warn({ error: errorMessage(error), retryMs }, 'can not undo, trying again')
      this.#cancelTimer = clock.after(retryMs, () => void this.#undo(Math.min(undoRetryMs.max, retryMs * 2)))
    }
  }

  /** A container of Docker has a namespace before anything is attached. */
  #hasPrepared(): boolean {
    const { container, networks } = this.record.info
    return container?.type === 'docker' && networks.length > 0 && this.#home === undefined
  }

  #forgetIfDone(): void {
    if (isForgettable(this.record)) this.#deps.onForgettable(this.record)
  }

  #serially(action: () => Promise<void>): Promise<void> {
    this.#chain = this.#chain.then(action).catch((error: unknown) => {
      // A defect: every expected failure is a status. The steps after it must still run.
      this.#log.error({ error: errorMessage(error) }, 'a step of the task failed')
    })
    return this.#chain
  }
}

/** A container is asked at its first address; a task on the host's network at loopback, as in Mesos. */
function probeAddress({ info, networks }: TaskRecord): Ip {
  const own = networksOfTask(info).length === 0 ? undefined : networks?.[0]?.addresses[0]
  return own ?? parseIp('127.0.0.1')
}
