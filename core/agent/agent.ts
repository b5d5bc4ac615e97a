import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { type AgentCommand, type Registration } from '../api/messages.ts'
import { errorMessage } from '../base/errors.ts'
import { type FrameworkId, type TaskId } from '../model/ids.ts'
import { type TaskInfo } from '../model/task.ts'
import { openJournal, readJournal } from './checkpoint.ts'
import { type ContainerExit, type Containerizer } from './containerizer/containerizer.ts'
import { type IdentityFile } from './identity.ts'
import { type AgentPaths, containerPaths } from './paths.ts'
import { foldRecord, isForgettable, latestStatus, type TaskRecord } from './record.ts'
import { recoverTask } from './recovery.ts'
import { type ReservationFile } from './reservations.ts'
import { removeOldSandboxes } from './sandboxes.ts'
import { AgentTaskRunner, type TaskDependencies } from './task.ts'
import { openUpdates, type UpdateSender } from './updates.ts'

/** How often old sandboxes are looked for. */
const sandboxSweepMs = 3_600_000

/** What an agent is made of. */
export interface AgentOptions
  extends Omit<TaskDependencies, 'updates' | 'onForgettable' | 'agentId' | 'netnsOf' | 'containerizer'> {
  readonly paths: AgentPaths
  readonly identity: IdentityFile
  /** Called once; ends of containers are told to `onExit`. */
  readonly openContainerizer: (onExit: (exit: ContainerExit) => void) => Containerizer
  readonly node: Pick<Registration, 'nodeName' | 'resources' | 'reserved' | 'attributes'>
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
  readonly #tasks = new Map<TaskId, AgentTaskRunner>()
  readonly #dependencies: TaskDependencies
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
      onForgettable: (task) => this.#forget(task),
    }
  }

  /** Takes over what an earlier agent left. Call it once, before anything else. */
  async recover(): Promise<void> {
    const { paths, bootId, log } = this.#options
    mkdirSync(paths.containers, { recursive: true, mode: 0o700 })
    const found = await Promise.all(readdirSync(paths.containers).map((id) => this.#read(id)))
    const openings = found.filter((opening) => opening !== undefined)
    const findings = await this.#containerizer.recover(openings.map(({ record }) => record.containerId))
    for (const { record, size } of openings) {
      const journal = openJournal(containerPaths(paths, record.containerId).journal, size)
      const task = new AgentTaskRunner({ record, journal }, this.#dependencies)
      this.#tasks.set(record.info.taskId, task)
      const finding = findings.get(record.containerId) ?? { kind: 'absent' }
      void task.resume(recoverTask(record, finding, bootId))
    }
    this.#sweepSandboxes()
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
        this.#registered(command.agentId)
        break
      case 'launch':
        for (const info of command.tasks) this.#launch(command.frameworkId, info)
        break
      case 'kill':
        this.#kill(command.taskId, command.graceMs)
        break
      case 'acknowledge':
        this.#tasks.get(command.taskId)?.acknowledge(command.uuid)
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
    this.#updates.close()
    await Promise.allSettled([...this.#tasks.values()].map((task) => task.close()))
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

  #registered(agentId: NonNullable<Registration['agentId']>): void {
    const { identity, log } = this.#options
    log.info({ agentId }, 'registered with the master')
    try {
      identity.update({ agentId })
    } catch (error) {
      log.error({ agentId, error: errorMessage(error) }, 'can not keep the agent id')
    }
    this.#updates.resendAll()
  }

  #launch(frameworkId: FrameworkId, info: TaskInfo): void {
    const { clock, log, bootId, paths } = this.#options
    if (this.#tasks.has(info.taskId)) {
      log.warn({ task: info.taskId }, 'launch of a task that is here already ignored')
      return
    }
    const containerId = newContainerId(info.taskId)
    const event = { kind: 'accepted', frameworkId, info, containerId, bootId, atMs: clock.nowMs() } as const
    const record = foldRecord([event])
    if (record === undefined) return
    const journal = openJournal(containerPaths(paths, containerId).journal)
    const task = new AgentTaskRunner({ record, journal }, this.#dependencies)
    this.#tasks.set(info.taskId, task)
    void task.launch()
  }

  #sweepSandboxes(): void {
    if (this.#closed) return
    const { paths, clock, log } = this.#options
    const inUse = new Set([...this.#tasks.values()].map(({ record }) => record.containerId))
    try {
      removeOldSandboxes(paths.sandboxes, inUse, clock.nowMs())
    } catch (error) {
      log.warn({ error: errorMessage(error) }, 'can not remove old sandboxes')
    }
    clock.after(sandboxSweepMs, () => this.#sweepSandboxes())
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

  #exited(exit: ContainerExit): void {
    if (this.#closed) return
    for (const task of this.#tasks.values()) {
      if (task.record.containerId === exit.containerId) void task.exited(exit)
    }
  }

  async #read(containerId: string): Promise<{ readonly record: TaskRecord; readonly size: number } | undefined> {
    const own = containerPaths(this.#options.paths, containerId)
    const { events, size } = await readJournal(own.journal)
    const record = foldRecord(events)
    if (record !== undefined) return { record, size }
    rmSync(own.root, { recursive: true, force: true }) // torn before it was accepted: nothing was done for it
    return undefined
  }

  #forget(task: AgentTaskRunner): void {
    const { taskId } = task.record.info
    if (this.#tasks.get(taskId) !== task) return
    this.#tasks.delete(taskId)
    const { root } = containerPaths(this.#options.paths, task.record.containerId)
    void task.close().finally(() => rmSync(root, { recursive: true, force: true }))
  }
}

/** The task's id as far as it is short, so that a person finds it, and 32 random bits, so that it is used once. */
function newContainerId(taskId: TaskId): string {
  return `${taskId.slice(0, 64)}-${randomBytes(4).toString('hex')}`
}
