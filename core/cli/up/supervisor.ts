import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { type Clock } from '../../base/clock.ts'
import { compileCache, type DaemonSpec, storeName } from './processes.ts'
import { type ProcessRecord, recordProcess } from './record.ts'

/** How long a daemon that ended waits for its restart: doubled each time, back to the first after a minute of life. */
const restartDelayMs = { first: 100, most: 5_000, forgivenAfter: 60_000 } as const

/** How long a daemon may take to end after SIGTERM. */
const stopGraceMs = 3_000

/** What the supervisor tells. */
export interface SupervisorEvents {
  /** The set of running processes changed. */
  readonly onProcesses: (processes: readonly ProcessRecord[]) => void
  readonly onExit: (name: string, how: string) => void
}

interface Daemon {
  readonly spec: DaemonSpec
  child: ChildProcess | undefined
  record: ProcessRecord | undefined
  startedAtMs: number
  delayMs: number
  cancelRestart: (() => void) | undefined
}

/**
 * Keeps the daemons of a local cluster running, as systemd does on real machines. Each is in a session of its own: a
 * Ctrl-C at the terminal reaches only the supervisor, and the daemons outlive it when it is killed.
 */
export class Supervisor {
  readonly #daemons = new Map<string, Daemon>()
  readonly #clock: Clock
  readonly #events: SupervisorEvents
  #stopping = false

  constructor(clock: Clock, events: SupervisorEvents) {
    this.#clock = clock
    this.#events = events
  }

  /** Starts a daemon; from now on it is restarted whenever it ends. */
  start(spec: DaemonSpec): void {
    const daemon: Daemon = {
      spec,
      child: undefined,
      record: undefined,
      startedAtMs: 0,
      delayMs: restartDelayMs.first,
      cancelRestart: undefined,
    }
    this.#daemons.set(spec.name, daemon)
    this.#spawn(daemon)
  }

  /** Ends a host's daemons for good: they are not restarted. */
  async stopHost(host: string): Promise<void> {
    const daemons = [...this.#daemons.values()].filter(({ spec }) => spec.name.startsWith(`${host}/`))
    for (const { spec } of daemons) this.#daemons.delete(spec.name)
    await Promise.all(daemons.map((daemon) => this.#end(daemon)))
  }

  /** Ends all daemons, politely first; what the masters keep their registry in last. */
  async stop(): Promise<void> {
    this.#stopping = true
    const isStore = ({ spec }: Daemon) => spec.name.startsWith(`${storeName}/`)
    const all = [...this.#daemons.values()]
    await Promise.all(all.filter((daemon) => !isStore(daemon)).map((daemon) => this.#end(daemon)))
    await Promise.all(all.filter(isStore).map((daemon) => this.#end(daemon)))
  }

  #spawn(daemon: Daemon): void {
    const { spec } = daemon
    mkdirSync(dirname(spec.logFile), { recursive: true, mode: 0o700 })
    const log = openSync(spec.logFile, 'a')
    const node = [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      '--max-semi-space-size=1',
      spec.main,
      ...spec.args,
    ]
    const command = spec.program === undefined ? node : [spec.program, ...spec.args]
    const child = spawn('nsenter', [`--net=${spec.netns}`, ...command], {
      detached: true,
      stdio: ['ignore', log, log, ...(spec.inheritedFd === undefined ? [] : [spec.inheritedFd])],
      // Half of a daemon's start is stripping types and compiling: done once for all of them.
      env: { ...process.env, NODE_COMPILE_CACHE: compileCache },
    })
    closeSync(log)
    daemon.child = child
    daemon.startedAtMs = this.#clock.monotonicMs()
    daemon.record = child.pid === undefined ? undefined : recordProcess(spec.name, child.pid)
    child.on('error', (error) => this.#ended(daemon, error.message))
    child.on('exit', (code, signal) => this.#ended(daemon, signal ?? `exit status ${code}`))
    this.#tell()
  }

  #ended(daemon: Daemon, how: string): void {
    daemon.child = undefined
    daemon.record = undefined
    this.#tell()
    if (this.#stopping || this.#daemons.get(daemon.spec.name) !== daemon) return
    this.#events.onExit(daemon.spec.name, how)
    const lived = this.#clock.monotonicMs() - daemon.startedAtMs
    if (lived > restartDelayMs.forgivenAfter) daemon.delayMs = restartDelayMs.first
    daemon.cancelRestart = this.#clock.after(daemon.delayMs, () => this.#spawn(daemon))
    daemon.delayMs = Math.min(daemon.delayMs * 2, restartDelayMs.most)
  }

  async #end(daemon: Daemon): Promise<void> {
    daemon.cancelRestart?.()
    const { child } = daemon
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill('SIGTERM')
    const cancel = this.#clock.after(stopGraceMs, () => child.kill('SIGKILL'))
    await ended
    cancel()
  }

  #tell(): void {
    this.#events.onProcesses(
      [...this.#daemons.values()].flatMap(({ record }) => (record === undefined ? [] : [record])),
    )
  }
}
