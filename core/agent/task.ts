import { type CniDns } from '../../cni-plugins/cni/result.ts'
import { type Clock } from '../base/clock.ts'
import { AppError, errorMessage } from '../base/errors.ts'
import { type Ip, parseIp } from '../base/ip.ts'
import { type Logger } from '../base/log.ts'
import { type AgentId } from '../model/ids.ts'
import { type NetworkInfo, type TaskStatus } from '../model/task.ts'
import { type Journal } from './checkpoint.ts'
import { type ContainerExit, type Containerizer, type ContainerRequest } from './containerizer/containerizer.ts'
import { endOfContainer, endOfLaunch, type TaskEnd } from './end-status.ts'
import { openHealthChecker } from './health/checker.ts'
import { runProbe } from './health/probe.ts'
import { initialHealth } from './health/step.ts'
import { type MasterSession } from './messages.ts'
import { type ContainerNetwork, dnsOf, networkInfos } from './network.ts'
import { hasEnded, isForgettable, type KillCause, stepRecord, type TaskEvent, type TaskRecord } from './record.ts'
import { type Recovery } from './recovery.ts'
import { newUpdateUuid, type UpdateSender } from './updates.ts'

/** First and longest wait before an undo that failed is tried again. */
const undoRetryMs = { min: 1000, max: 60_000 } as const

/** Longest launch: what hangs is given up. Source: mesos, executor_registration_timeout. */
const launchTimeoutMs = 60_000

/** What tasks share. */
export interface TaskDependencies {
  readonly containerizer: Containerizer
  readonly network: ContainerNetwork
  readonly updates: UpdateSender
  readonly session: MasterSession
  readonly clock: Clock
  readonly log: Logger
  /** The node's own address: that of tasks on the host's network. */
  readonly underlay: Ip
  /** For tasks on the host's network; absent: the host's resolv.conf as it is. */
  readonly hostDns?: CniDns
  readonly agentId: () => AgentId | undefined
  /** Where a container's network namespace is pinned. */
  readonly netnsOf: (containerId: string) => string
  /** Nothing is left to do: the task may be forgotten. */
  readonly onForgettable: (task: AgentTaskRunner) => void
}

/** A task and its journal, which has all of the record, or (for a new task) nothing yet. */
export interface TaskOpening {
  readonly record: TaskRecord
  readonly journal: Journal
}

/** One task's life on this agent: holds its journal and its timers until closed. */
export class AgentTaskRunner {
  readonly #deps: TaskDependencies
  readonly #journal: Journal
  readonly #log: Logger
  readonly #aborting = new AbortController()
  #record: TaskRecord
  #phase: 'launching' | 'running' | 'ended' = 'launching'
  /** Launch, resumption and end, one after the other. */
  #chain: Promise<void> = Promise.resolve()
  #cancelTimer: () => void = () => undefined
  #stopHealth: () => void = () => undefined

  constructor({ record, journal }: TaskOpening, deps: TaskDependencies) {
    this.#deps = deps
    this.#record = record
    this.#journal = journal
    this.#log = deps.log.child({ task: record.info.taskId, container: record.containerId })
  }

  get record(): TaskRecord {
    return this.#record
  }

  /** Accepts durably, attaches networks, starts the container, tells. Never throws: a failure is a status. */
  launch(): Promise<void> {
    return this.#serially(() => this.#launch())
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
    if (this.#phase === 'ended' || hasEnded(this.#record)) return
    this.#log.info({ cause: cause.kind, graceMs }, 'killing task')
    if (this.#record.killing === undefined) void this.#noteOrLog({ kind: 'killing', cause, graceMs })
    if (this.#phase === 'launching') this.#aborting.abort()
    else this.#beginKill(graceMs)
  }

  /** The master has the outstanding update. */
  acknowledge(uuid: string): void {
    if (this.#record.unacknowledged[0]?.uuid !== uuid) return
    void this.#noteOrLog({ kind: 'acknowledged', uuid }).then(() => this.#forgetIfDone())
    this.#sendHead()
  }

  /** Cancels timers and closes the journal; the container goes on. */
  async close(): Promise<void> {
    this.#phase = 'ended'
    this.#stopHealth()
    this.#cancelTimer()
    await this.#journal.close()
  }

  async #launch(): Promise<void> {
    const { frameworkId, info, containerId } = this.#record
    const agentId = this.#deps.agentId()
    const identity = { containerId, frameworkId, info, ...(agentId === undefined ? {} : { agentId }) }
    const { signal } = this.#aborting
    const late = () => new AppError('ERR_AGENT_LAUNCH_TIMEOUT', `the launch took over ${launchTimeoutMs / 1000} s`)
    const cancel = this.#deps.clock.after(launchTimeoutMs, () => this.#aborting.abort(late()))
    try {
      // A container that no journal knows is removed at recovery: it may start while its acceptance is written.
      const own = info.networks.length > 0
      const accepted = own ? undefined : this.#acceptOnHost()
      const network = own ? await this.#attach() : this.#hostNetwork()
      const { pid } = await this.#deps.containerizer.launch({ ...identity, network }, { signal })
      await accepted
      cancel()
      await this.#announce(pid)
    } catch (error) {
      cancel()
      await this.#abandon(endOfLaunch(this.#record, errorMessage(error)))
    }
  }

  #acceptOnHost(): Promise<void> {
    const networks = [{ name: '', addresses: [this.#deps.underlay] }]
    const written = this.#note(acceptance(this.#record), { kind: 'attached', results: [], networks })
    written.catch(() => undefined) // awaited after the launch, which may fail first
    return written
  }

  #hostNetwork(): ContainerRequest['network'] {
    const dns = this.#deps.hostDns
    return { kind: 'host', ...(dns === undefined ? {} : { dns }) }
  }

  async #attach(): Promise<ContainerRequest['network']> {
    const { info, containerId } = this.#record
    const { network, netnsOf } = this.#deps
    const attachments = await network.prepare(info.networks)
    // Durable before ADD: what an ADD makes must be found again.
    await this.#note(acceptance(this.#record), { kind: 'attaching', attachments })
    const target = { containerId, netns: netnsOf(containerId), attachments }
    const results = await network.attach(target, { signal: this.#aborting.signal })
    const networks = networkInfos(attachments, results)
    // Written while the container starts; the status that follows is written after it.
    void this.#noteOrLog({ kind: 'attached', results, networks })
    const dns = dnsOf(results)
    const addresses = networks.flatMap((each) => each.addresses)
    return { kind: 'own', netns: target.netns, addresses, ...(dns === undefined ? {} : { dns }) }
  }

  async #announce(pid: number): Promise<void> {
    await this.#tell({ state: 'TASK_RUNNING', message: '' }, { kind: 'started', pid, atMs: this.#deps.clock.nowMs() })
    this.#supervise()
  }

  #supervise(): void {
    this.#phase = 'running'
    const { killing } = this.#record
    if (killing === undefined) this.#watchHealth()
    else this.#beginKill(killing.graceMs)
  }

  #watchHealth(): void {
    const { info, containerId, startedAtMs, healthy } = this.#record
    const { clock, containerizer } = this.#deps
    const { healthCheck: check, killGraceMs } = info
    if (check === undefined) return
    const target = {
      address: probeAddress(this.#record),
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
    this.#deps.session.send({ kind: 'health', taskId: this.#record.info.taskId, healthy })
    this.#log.info({ health }, 'task health changed')
    void this.#noteOrLog({ kind: 'health', healthy })
  }

  #beginKill(graceMs: number): void {
    const { containerizer, clock } = this.#deps
    const { containerId } = this.#record
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
    await this.#tell(endOfContainer(this.#record, exit))
    await this.#undo()
  }

  async #abandon(end: TaskEnd): Promise<void> {
    this.#phase = 'ended'
    await this.#undo()
    await this.#tell(end)
    this.#forgetIfDone()
  }

  async #resume(recovery: Recovery): Promise<void> {
    this.#sendHead()
    switch (recovery.kind) {
      case 'forget':
        this.#forgetIfDone()
        return
      case 'clean':
        this.#phase = 'ended'
        if (!this.#record.cleaned) await this.#undo()
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
    const { containerId, attachments, results } = this.#record
    const { containerizer, network, netnsOf, clock } = this.#deps
    try {
      await containerizer.remove(containerId)
      if (attachments.length > 0) {
        await network.detach({ containerId, netns: netnsOf(containerId), attachments, results })
      }
      await this.#noteOrLog({ kind: 'cleaned' })
      this.#forgetIfDone()
    } catch (error) {
      this.#log.warn({ error: errorMessage(error), retryMs }, 'can not undo, trying again')
      this.#cancelTimer = clock.after(retryMs, () => void this.#undo(Math.min(undoRetryMs.max, retryMs * 2)))
    }
  }

  async #tell(end: TaskEnd, ...before: readonly TaskEvent[]): Promise<void> {
    const status = statusOf(this.#record, end, this.#deps.clock.nowMs())
    await this.#noteOrLog(...before, { kind: 'status', status })
    this.#log.info({ state: end.state, reason: end.reason, detail: end.message }, 'task changed')
    this.#sendHead()
  }

  #sendHead(): void {
    const { frameworkId, info, unacknowledged } = this.#record
    this.#deps.updates.setHead({ taskId: info.taskId, frameworkId, status: unacknowledged[0] })
  }

  #forgetIfDone(): void {
    if (isForgettable(this.#record)) this.#deps.onForgettable(this)
  }

  /** Steps the record at once; resolves when the events are durable. */
  #note(...events: readonly TaskEvent[]): Promise<void> {
    for (const event of events) this.#record = stepRecord(this.#record, event) ?? this.#record
    return this.#journal.append(...events)
  }

  /** For what is true whether or not it can be written: it stays queued. */
  async #noteOrLog(...events: readonly TaskEvent[]): Promise<void> {
    try {
      await this.#note(...events)
    } catch (error) {
      this.#log.error({ error: errorMessage(error) }, 'can not checkpoint')
    }
  }

  #serially(action: () => Promise<void>): Promise<void> {
    this.#chain = this.#chain.then(action).catch((error: unknown) => {
      // A defect: every expected failure is a status. The steps after it must still run.
      this.#log.error({ error: errorMessage(error) }, 'a step of the task failed')
    })
    return this.#chain
  }
}

function acceptance(record: TaskRecord): TaskEvent {
  const { frameworkId, info, containerId, bootId, acceptedAtMs } = record
  return { kind: 'accepted', frameworkId, info, containerId, bootId, atMs: acceptedAtMs }
}

function statusOf(record: TaskRecord, end: TaskEnd, timestampMs: number): TaskStatus {
  const { reason, message, healthy = record.healthy } = end
  const networks: readonly NetworkInfo[] = record.networks ?? []
  return {
    taskId: record.info.taskId,
    state: end.state,
    source: 'AGENT',
    timestampMs,
    uuid: newUpdateUuid(),
    networks,
    ...(reason === undefined ? {} : { reason }),
    ...(message === '' ? {} : { message }),
    ...(healthy === undefined ? {} : { healthy }),
  }
}

/** A container is asked at its first address; a task on the host's network at loopback, as in Mesos. */
function probeAddress({ info, networks }: TaskRecord): Ip {
  const own = info.networks.length === 0 ? undefined : networks?.[0]?.addresses[0]
  return own ?? parseIp('127.0.0.1')
}
