import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { type AgentCommand, type Registration } from '../api/messages.ts'
import { errorMessage } from '../base/errors.ts'
import { type FrameworkId, type TaskId } from '../model/ids.ts'
import { type TaskInfo, type TaskState } from '../model/task.ts'
import { openJournal, readJournal } from './checkpoint.ts'
import { newContainerId } from './container-id.ts'
import { type ContainerExit, type Containerizer } from './containerizer/containerizer.ts'
import { watchDisk } from './disk-limit.ts'
import { CustomExecutors } from './executors/customs.ts'
import { CustomTask } from './executors/custom-task.ts'
import { defaultPatience, type ExecutorEndpoint, type ExecutorPatience } from './executors/custom-env.ts'
import { Executors } from './executors/executors.ts'
import { type ExecutorOpening } from './executors/home.ts'
import { foldExecutor, type ExecutorEvent } from './executors/record.ts'
import { isSameGroup, type LaunchUnit, launchUnits, openTogether } from './group.ts'
import { type AgentView } from './http/views.ts'
import { type IdentityFile } from './identity.ts'
import { type AgentPaths, containerPaths } from './paths.ts'
import { foldRecord, isForgettable, latestStatus, newRecord, type TaskEvent, type TaskRecord } from './record.ts'
import { recoverTask } from './recovery.ts'
import { type ReservationFile } from './reservations.ts'
import { removeOldSandboxes } from './sandboxes.ts'
import { AgentTaskRunner, type TaskDependencies } from './task.ts'
import { type TaskOpening } from './task-ledger.ts'
import { openUpdates, type UpdateSender } from './updates.ts'

/** How often old sandboxes are looked for. */
const sandboxSweepMs = 3_600_000

/** What an agent is made of. */
export interface AgentOptions
  extends Omit<TaskDependencies, 'updates' | 'onForgettable' | 'onEnded' | 'agentId' | 'netnsOf' | 'containerizer'> {
  readonly paths: AgentPaths
  readonly identity: IdentityFile
  /** Called once; ends of containers are told to `onExit`. */
  readonly openContainerizer: (onExit: (exit: ContainerExit) => void) => Containerizer
  readonly node: Pick<Registration, 'nodeName' | 'resources' | 'reserved' | 'attributes' | 'httpPort'>
  /** Where custom executors reach this agent. */
  readonly endpoint?: ExecutorEndpoint
  /** How long they may take to subscribe; absent: as long as in Mesos. */
  readonly patience?: ExecutorPatience
  /** How often tasks' disk usage is compared with their limit; absent or 0: never. */
  readonly diskWatchMs?: number
  /** Absent: masters may reserve nothing here. */
  readonly reservations?: ReservationFile
  /** Of the machine's present run: /proc/sys/kernel/random/boot_id. */
  readonly bootId: string
}

/** An agent: obeys a master, and keeps its tasks whether or not there is one. */
export class Agent {
  readonly #options: AgentOptions
  readonly #containerizer: Containerizer
  readonly #updates: UpdateSender
  readonly #tasks = new Map<TaskId, AgentTaskRunner | CustomTask>()
  readonly #executors: Executors
  /** Serves the executor API. */
  readonly customs: CustomExecutors
  readonly #ends = new Map<TaskState, number>()
  readonly #dependencies: TaskDependencies
  readonly #closing = new AbortController()
  #closed = false

  constructor(options: AgentOptions) {
    const { session, clock, paths, identity } = options
    this.#options = options
    this.#containerizer = options.openContainerizer((exit) => this.#exited(exit))
    this.#updates = openUpdates({
      send: (frameworkId, status) => void session.send({ kind: 'update', frameworkId, status }),
      clock,
    })
    this.#dependencies = {
      ...options,
      containerizer: this.#containerizer,
      updates: this.#updates,
      agentId: () => identity.current().agentId,
      netnsOf: (containerId) => containerPaths(paths, containerId).netns,
      onEnded: (record, state) => this.#endGroup(record, state),
      onForgettable: (record) => this.#forget(record),
    }
    const homes = { ...this.#dependencies, paths, bootId: options.bootId }
    this.#executors = new Executors(homes)
    const { nodeName: hostname, httpPort: port } = options.node
    const { endpoint = {}, patience = defaultPatience } = options
    const facts = () => ({ ...withAgentId(identity), hostname, ...(port === undefined ? {} : { port }) })
    this.customs = new CustomExecutors({ ...homes, facts, endpoint, patience })
  }

  /** Takes over what an earlier agent left. Call it once, before anything else. */
  async recover(): Promise<void> {
    const { paths, bootId, log } = this.#options
    mkdirSync(paths.containers, { recursive: true, mode: 0o700 })
    const ids = readdirSync(paths.containers)
    const isExecutor = (id: string) => existsSync(containerPaths(paths, id).executorJournal)
    const executors = await Promise.all(ids.filter(isExecutor).map((id) => this.#readExecutor(id)))
    this.#executors.recover(executors.filter((opening) => opening !== undefined))
    const found = await Promise.all(ids.filter((id) => !isExecutor(id)).map((id) => this.#read(id)))
    const openings = found.filter((opening) => opening !== undefined)
    const own = openings.filter(({ record }) => !isCustom(record))
    const homes = this.#executors.custom()
    const containers = [...own, ...homes].map(({ record }) => record.containerId)
    const findings = await this.#containerizer.recover(containers)
    for (const home of homes) this.customs.of(home)
    const tasks = openings.map((opening) => this.#open(opening))
    this.#executors.closeEmpty()
    for (const task of tasks) {
      const { record } = task
      if (task instanceof CustomTask) {
        void task.resume()
        continue
      }
      const finding = findings.get(record.containerId) ?? { kind: 'absent' }
      void task.resume(recoverTask(record, finding, bootId))
    }
    this.customs.resume(findings, bootId)
    this.#sweepSandboxes()
    this.#watchDisk()
    if (openings.length > 0) log.info({ tasks: openings.length }, 'tasks of an earlier agent taken over')
  }

  /** What this agent says of itself now. */
  registration(): Registration {
    const { identity, node, underlay, bootId, reservations } = this.#options
    const kept = reservations?.kept() ?? []
    const { agentId, highestTerm } = identity.current()
    const tasks = [...this.#tasks.values()]
      .filter(({ record }) => !isForgettable(record))
      .map(({ record }) => ({ frameworkId: record.frameworkId, info: record.info, latest: latestStatus(record) }))
    return { ...node, kept, underlay, bootId, highestTerm, tasks, ...(agentId === undefined ? {} : { agentId }) }
  }

  /** What its HTTP interface tells. */
  view(): AgentView {
    const pathsOf = (containerId: string) => containerPaths(this.#options.paths, containerId)
    const tasks = [...this.#tasks.values()].map(({ record }) => record)
    return { registration: this.registration(), tasks, pathsOf, ends: this.#ends }
  }

  /** Obeys a command, unless a later leader than its sender has been heard. */
  command(command: AgentCommand): void {
    const { log } = this.#options
    if (this.#closed) return
    if (!this.#acceptTerm(command.term)) {
      log.warn({ command: command.kind, term: command.term }, 'command of a deposed leader refused')
      return
    }
    switch (command.kind) {
      case 'registered':
        this.#registered(command.agentId, command.term)
        break
      case 'launch':
        for (const unit of launchUnits(command.tasks)) this.#launch(command, unit)
        break
      case 'kill':
        this.#kill(command.taskId, command.graceMs)
        break
      case 'acknowledge':
        this.#tasks.get(command.taskId)?.acknowledge(command.uuid)
        break
      case 'executor-message':
        this.customs.message(command.frameworkId, command.executorId, command.data)
        break
      case 'shutdown-executor':
        this.#shutdown(command)
        break
      case 'reservations':
        this.#reserve(command)
        break
      case 'ping':
        this.#options.session.send({ kind: 'pong' })
        break
      case 'refused':
        log.error({ code: command.code, reason: command.reason }, 'the master refuses this agent')
    }
  }

  /** Stops obeying; containers go on. */
  async close(): Promise<void> {
    this.#closed = true
    this.#closing.abort()
    this.#updates.close()
    await Promise.allSettled([...this.#tasks.values()].map((task) => task.close()))
    this.customs.close()
    await this.#executors.close()
  }

  #acceptTerm(term: number): boolean {
    const { identity, log } = this.#options
    if (term < identity.current().highestTerm) return false
    try {
      identity.update({ highestTerm: term })
    } catch (error) {
      // The session keeps it in memory: refusing the leader for a full disk would lose every task here.
      log.error({ term, error: errorMessage(error) }, 'can not keep the term')
    }
    return true
  }

  #registered(agentId: NonNullable<Registration['agentId']>, term: number): void {
    const { identity, log } = this.#options
    log.info({ agentId, term }, 'registered with the master')
    try {
      identity.update({ agentId })
    } catch (error) {
      log.error({ agentId, error: errorMessage(error) }, 'can not keep the agent id')
    }
    this.#updates.resendAll()
    this.customs.resend()
  }

  #launch(order: Extract<AgentCommand, { readonly kind: 'launch' }>, unit: LaunchUnit): void {
    const { frameworkId } = order
    const here = unit.find(({ taskId }) => this.#tasks.has(taskId))
    if (here !== undefined) {
      this.#options.log.warn({ task: here.taskId }, 'launch of a task that is here already ignored')
      return
    }
    const [{ executor: info }] = unit
    const home =
      info &&
      this.#executors.enter(
        { ...order, info },
        unit.map(({ taskId }) => taskId),
      )
    const tasks = unit.map((task) => this.#open(this.#accept(frameworkId, task, home?.record.containerId)))
    const own = tasks.filter((task) => task instanceof AgentTaskRunner)
    const together = own.length > 1 ? openTogether(own.length) : undefined
    for (const task of own) void task.launch(together)
    const custom = tasks.filter((task) => task instanceof CustomTask)
    if (home !== undefined && custom.length > 0) void this.customs.of(home).launch(custom)
  }

  #accept(frameworkId: FrameworkId, info: TaskInfo, executor?: string): TaskOpening {
    const { clock, bootId, paths } = this.#options
    const containerId = newContainerId(info.taskId)
    const record = newRecord({
      frameworkId,
      info,
      containerId,
      bootId,
      atMs: clock.nowMs(),
      ...(executor && { executor }),
    })
    return { record, journal: openJournal(containerPaths(paths, containerId).journal) }
  }

  /** A task that may have something to undo holds its executor. */
  #open(opening: TaskOpening): AgentTaskRunner | CustomTask {
    const { record } = opening
    const { taskId } = record.info
    const home = record.executor === undefined ? undefined : this.#executors.get(record.executor)
    if (!record.cleaned) home?.enter(taskId)
    const task = isCustom(record)
      ? new CustomTask(opening, this.#dependencies, home && this.customs.of(home))
      : new AgentTaskRunner(opening, this.#dependencies, home)
    this.#tasks.set(taskId, task)
    return task
  }

  /** By default a group ends when one of its tasks fails. Source: mesos, src/launcher/default_executor.cpp. */
  #endGroup({ info, frameworkId }: TaskRecord, state: TaskState): void {
    this.#ends.set(state, (this.#ends.get(state) ?? 0) + 1)
    if (state === 'TASK_FINISHED' || info.executor?.kind === 'custom') return
    const message = `task ${info.taskId} of its group ended: ${state}`
    for (const task of this.#tasks.values()) {
      const { record } = task
      if (record.info.taskId === info.taskId || record.frameworkId !== frameworkId) continue
      if (isSameGroup(record.info, info)) task.kill({ kind: 'group', message }, record.info.killGraceMs)
    }
  }

  #sweepSandboxes(): void {
    if (this.#closed) return
    const { paths, clock, log } = this.#options
    const tasks = [...this.#tasks.values()].map(({ record }) => record.containerId)
    const inUse = new Set([...tasks, ...this.#executors.containerIds()])
    try {
      removeOldSandboxes(paths.sandboxes, inUse, clock.nowMs())
    } catch (error) {
      log.warn({ error: errorMessage(error) }, 'can not remove old sandboxes')
    }
    clock.after(sandboxSweepMs, () => this.#sweepSandboxes())
  }

  #watchDisk(): void {
    const { diskWatchMs: intervalMs = 0, clock, log } = this.#options
    const usage = this.#containerizer.diskUsage?.bind(this.#containerizer)
    if (intervalMs === 0 || usage === undefined) return
    const tasks = () => [...this.#tasks.values()].filter((task) => task instanceof AgentTaskRunner)
    void watchDisk({ tasks, usage, intervalMs, clock, log }, this.#closing)
  }

  #reserve({ reserved, destroyed }: Extract<AgentCommand, { readonly kind: 'reservations' }>): void {
    const { reservations, session, log } = this.#options
    let problem = reservations === undefined ? 'this agent keeps no reservations' : ''
    try {
      reservations?.keep(reserved, destroyed)
      log.info({ reservations: reserved.length, destroyed: destroyed.length }, 'reservations kept')
    } catch (error) {
      problem = errorMessage(error)
      log.error({ error: problem }, 'can not keep the reservations')
    }
    session.send({ kind: 'reservations-kept', problem })
  }

  #kill(taskId: TaskId, graceMs: number): void {
    const task = this.#tasks.get(taskId)
    if (task === undefined) this.#options.log.warn({ task: taskId }, 'kill of an unknown task ignored')
    task?.kill({ kind: 'asked' }, graceMs === 0 ? task.record.info.killGraceMs : graceMs)
  }

  /** An executor is asked to end with its tasks; the default one has nothing but them. */
  #shutdown({ frameworkId, executorId }: Extract<AgentCommand, { readonly kind: 'shutdown-executor' }>): void {
    this.customs.shutdown(frameworkId, executorId)
    for (const task of this.#tasks.values()) {
      const { executor, killGraceMs } = task.record.info
      if (task.record.frameworkId !== frameworkId || executor?.kind !== 'default') continue
      if (executorId === undefined || executor.id === executorId) task.kill({ kind: 'asked' }, killGraceMs)
    }
  }

  #exited(exit: ContainerExit): void {
    if (this.#closed) return
    this.customs.exited(exit)
    for (const task of this.#tasks.values()) {
      if (task instanceof AgentTaskRunner && task.record.containerId === exit.containerId) void task.exited(exit)
    }
  }

  async #readExecutor(containerId: string): Promise<ExecutorOpening | undefined> {
    const own = containerPaths(this.#options.paths, containerId)
    const { events, size } = await readJournal<ExecutorEvent>(own.executorJournal)
    const record = foldExecutor(events)
    if (record !== undefined) return { record, journal: openJournal(own.executorJournal, size) }
    rmSync(own.root, { recursive: true, force: true }) // torn before it was accepted: nothing was done for it
    return undefined
  }

  async #read(containerId: string): Promise<TaskOpening | undefined> {
    const own = containerPaths(this.#options.paths, containerId)
    const { events, size } = await readJournal<TaskEvent>(own.journal)
    const record = foldRecord(events)
    if (record !== undefined) return { record, journal: openJournal(own.journal, size) }
    rmSync(own.root, { recursive: true, force: true }) // torn before it was accepted: nothing was done for it
    return undefined
  }

  #forget({ info, containerId }: TaskRecord): void {
    const task = this.#tasks.get(info.taskId)
    if (task?.record.containerId !== containerId) return
    this.#tasks.delete(info.taskId)
    const { root } = containerPaths(this.#options.paths, containerId)
    void task.close().finally(() => rmSync(root, { recursive: true, force: true }))
  }
}

/** Its executor is a program of its framework. */
function isCustom({ info }: TaskRecord): boolean {
  return info.executor?.kind === 'custom'
}

function withAgentId(identity: IdentityFile) {
  const { agentId } = identity.current()
  return agentId === undefined ? {} : { agentId }
}
