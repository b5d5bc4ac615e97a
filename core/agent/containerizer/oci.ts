import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, readdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type Clock } from '../../base/clock.ts'
import { AppError, errorMessage, hasCode } from '../../base/errors.ts'
import { type Logger } from '../../base/log.ts'
import { type Resources } from '../../model/resources.ts'
import { containerPaths } from '../paths.ts'
import { writeBundle } from './bundle.ts'
import { type Cgroups } from './cgroup.ts'
import {
  type ContainerExit,
  type ContainerFinding,
  type Containerizer,
  type ContainerRequest,
  type PrepareRequest,
  type RunningContainer,
} from './containerizer.ts'
import {
  isSupervisor,
  readSupervisors,
  removeSupervisorFiles,
  type SupervisorState,
  watchSupervisors,
} from './events.ts'
import { execInside } from './exec-inside.ts'
import { diskUsageBytes } from '../disk-usage.ts'
import { type PullProgress } from '../image/skopeo.ts'
import { inOwnMounts, superviseScript } from './init.ts'
import { openOutput, provision, type Provisioned, type Provisions } from './provision.ts'
import { identifyProcess, isAlive, type ProcessIdentity, signalProcess } from './process.ts'
import {
  lastComplaint,
  listRuntime,
  type RuntimeChoice,
  runArguments,
  runRuntime,
  runtimeEnvironment,
} from './runtime.ts'
import { cpuQuotaUs, memoryBytes } from './spec.ts'
import { removeSecrets } from './volumes.ts'

/** How often processes are looked at although nothing was notified: notifications can overflow, supervisors be killed. */
const auditMs = 30_000

/** How long a supervisor may take to tell the end of a container that has ended. */
const lastWordMs = 2000

/** What the containerizer works with. */
export interface OciOptions extends Provisions {
  readonly runtime: RuntimeChoice
  readonly cgroups: Cgroups
  readonly onExit: (exit: ContainerExit) => void
  readonly clock: Clock
  readonly log: Logger
  /** Ends the watch; containers go on. */
  readonly signal: AbortSignal
}

interface Tracked {
  readonly started: PromiseWithResolvers<RunningContainer>
  readonly cpuQuotaUs?: number
  process?: ProcessIdentity
  told: 'nothing' | 'vanished' | 'exit'
}

/** Containers by an OCI runtime, each under a supervisor in a session of its own (`init.ts` says how it tells its end). */
export function openOciContainerizer(options: OciOptions): Containerizer {
  for (const dir of [options.paths.events, options.paths.runtime, options.paths.sandboxes]) {
    mkdirSync(dir, { recursive: true, mode: 0o711 })
  }
  const containerizer = new OciContainerizer(options)
  containerizer.watch()
  return containerizer
}

class OciContainerizer implements Containerizer {
  readonly #options: OciOptions
  readonly #tracked = new Map<string, Tracked>()
  readonly #provisions = new Map<string, Promise<Provisioned>>()

  constructor(options: OciOptions) {
    this.#options = options
  }

  watch(): void {
    const { paths, clock, signal } = this.#options
    watchSupervisors(paths.events, () => this.#scan(), { signal })
    clock.after(auditMs, () => this.#audit())
  }

  async prepare(request: PrepareRequest, progress: PullProgress): Promise<void> {
    await this.#provide(request, progress)
  }

  async launch(request: ContainerRequest, { signal }: { readonly signal: AbortSignal }): Promise<RunningContainer> {
    const id = request.containerId
    const started = Promise.withResolvers<RunningContainer>()
    started.promise.catch(() => undefined) // awaited below, once there is a supervisor
    const abort = () => started.reject(signal.reason)
    signal.addEventListener('abort', abort)
    this.#tracked.set(id, { started, cpuQuotaUs: cpuQuotaUs(request.info.resources.cpuMillis), told: 'nothing' })
    try {
      signal.throwIfAborted()
      const provisioned = await this.#provide(request, { signal, onProgress: () => undefined })
      signal.throwIfAborted()
      startSupervisor(this.#options, request, provisioned)
      return await started.promise
    } catch (error) {
      await this.remove(id)
      throw error
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  signal(id: string, name: 'TERM' | 'KILL'): void {
    const target = this.#tracked.get(id)?.process
    if (target === undefined || !isAlive(target)) return
    this.#options.log.debug({ container: id, signal: name, pid: target.pid }, 'signalling container')
    signalProcess(target.pid, name === 'TERM' ? 'SIGTERM' : 'SIGKILL')
  }

  async recover(ids: readonly string[]): Promise<ReadonlyMap<string, ContainerFinding>> {
    const findings = await findContainers(this.#options, ids, (id) => this.remove(id))
    for (const [id, finding] of findings) {
      if (finding.kind !== 'running') continue
      const started = Promise.withResolvers<RunningContainer>()
      this.#tracked.set(id, { started, process: identifyProcess(finding.pid), told: 'nothing' })
    }
    this.#scan()
    if (this.#tracked.size === 0) this.#options.cgroups.removeParent()
    return findings
  }

  exec(id: string, argv: readonly string[], options: { readonly signal: AbortSignal }): Promise<number> {
    return execInside(this.#options, { containerId: id, argv }, options)
  }

  resize(id: string, { cpuMillis, memMb }: Resources): void {
    const { cgroups, runtime, log } = this.#options
    if (runtime.limits === 'none') return
    limitCpu(this.#options, id, cpuQuotaUs(cpuMillis))
    try {
      cgroups.raiseMemory(id, memoryBytes(memMb))
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) log.warn({ container: id, error: errorMessage(error) }, 'can not raise memory')
    }
  }

  diskUsage(id: string, options: { readonly signal: AbortSignal }): Promise<number> {
    const { sandbox, upper } = containerPaths(this.#options.paths, id)
    return diskUsageBytes([sandbox, upper], options)
  }

  async remove(id: string): Promise<void> {
    await destroyContainer(this.#options, id)
    this.#tracked.delete(id)
    this.#provisions.delete(id)
    if (this.#tracked.size === 0) this.#options.cgroups.removeParent()
  }

  #provide(request: PrepareRequest, progress: PullProgress): Promise<Provisioned> {
    const { containerId } = request
    const provisioned = this.#provisions.get(containerId) ?? provision(this.#options, request, progress)
    this.#provisions.set(containerId, provisioned)
    return provisioned
  }

  #scan(): void {
    const states = readSupervisors(this.#options.paths.events)
    for (const [id, entry] of this.#tracked) {
      if (entry.told !== 'exit') this.#look(id, entry, states.get(id) ?? {})
    }
  }

  #look(id: string, entry: Tracked, { pid, status }: SupervisorState): void {
    if (entry.process === undefined && pid !== undefined) {
      entry.process = identifyProcess(pid)
      if (entry.cpuQuotaUs !== undefined) limitCpu(this.#options, id, entry.cpuQuotaUs)
      entry.started.resolve({ pid })
    }
    if (status === undefined) return
    if (entry.process === undefined) this.#tellFailure(id, entry)
    else this.#tellExit(id, entry, status)
  }

  #tellFailure(id: string, entry: Tracked): void {
    entry.told = 'exit'
    const { paths, runtime } = this.#options
    const reason = lastComplaint(containerPaths(paths, id).runtimeLog)
    entry.started.reject(new AppError('ERR_AGENT_CONTAINER', `${runtime.name} can't start the container: ${reason}`))
  }

  #tellExit(id: string, entry: Tracked, status: number | undefined): void {
    entry.told = 'exit'
    const outOfMemory = this.#options.cgroups.sawOutOfMemory(id)
    const exit = { containerId: id, outOfMemory, ...(status === undefined ? {} : { status }) }
    // After whoever waits for the start has gone on.
    setImmediate(() => this.#options.onExit(exit))
  }

  #audit(): void {
    const { signal, clock } = this.#options
    if (signal.aborted) return
    this.#scan()
    for (const [id, entry] of this.#tracked) {
      if (entry.told === 'exit' || entry.process === undefined || isAlive(entry.process)) continue
      // Its supervisor gets one more round to tell the status.
      if (entry.told === 'vanished') this.#tellExit(id, entry, undefined)
      else entry.told = 'vanished'
    }
    clock.after(auditMs, () => this.#audit())
  }
}

function limitCpu({ cgroups, log }: OciOptions, id: string, quotaUs: number): void {
  try {
    cgroups.limitCpu(id, quotaUs)
  } catch (error) {
    // Its group went with it: it has ended already.
    if (!hasCode(error, 'ENOENT')) log.warn({ container: id, error: errorMessage(error) }, 'can not limit cpu')
  }
}

/** Starts the supervisor detached, in its own session, with the sandbox's files as its output. */
function startSupervisor(options: OciOptions, request: ContainerRequest, provisioned: Provisioned): void {
  const { paths, runtime, cgroups } = options
  const id = request.containerId
  const own = writeBundle({ ...options, cgroupPath: cgroups.pathOf(id), limits: runtime.limits }, request, provisioned)
  const files = {
    root: paths.runtime,
    bundle: own.bundle,
    log: own.runtimeLog,
    pidFile: join(paths.events, `${id}.pid`),
  }
  const mounts = provisioned.image === undefined ? [] : [...inOwnMounts, own.root, own.runtimeLog]
  const command = [...mounts, ...runArguments(runtime, files, id)]
  const outputs = ['stdout', 'stderr'].map((name) => openOutput(own.sandbox, name, provisioned.user))
  const [stdout = 'ignore', stderr = 'ignore'] = outputs
  try {
    const child = spawn('/bin/sh', ['-c', superviseScript, 'weft-supervise', paths.events, id, ...command], {
      cwd: '/',
      detached: true,
      env: runtimeEnvironment,
      stdio: ['ignore', stdout, stderr],
    })
    child.unref()
  } finally {
    for (const fd of outputs) closeSync(fd)
  }
}

/** Kills a container and its supervisor, whatever state they are in, and removes what they left. Idempotent. */
export async function destroyContainer(
  { paths, runtime, cgroups }: Pick<OciOptions, 'paths' | 'runtime' | 'cgroups'>,
  id: string,
): Promise<void> {
  const state = readSupervisors(paths.events).get(id) ?? {}
  // Not started yet: it must not go on to start. (Its group is the runtime; the container's init has its own session.)
  if (state.pid === undefined && isSupervisor(state.supervisor, id)) signalProcess(-state.supervisor, 'SIGKILL')
  if (existsSync(join(paths.runtime, id))) await runRuntime(runtime, paths.runtime, ['delete', '--force', id])
  await cgroups.remove(id)
  removeSupervisorFiles(paths.events, id)
  removeSecrets(paths, id)
  const { root, upper, rootfs } = containerPaths(paths, id)
  // The sandbox is kept for a person who looks; what it wrote elsewhere is not.
  for (const dir of [join(paths.fetching, id), upper, rootfs, join(root, 'work')]) {
    await rm(dir, { recursive: true, force: true })
  }
}

async function findContainers(
  { paths, runtime, cgroups }: OciOptions,
  ids: readonly string[],
  remove: (id: string) => Promise<void>,
): Promise<ReadonlyMap<string, ContainerFinding>> {
  const states = readSupervisors(paths.events)
  const known = new Set(ids)
  const orphans = [...states.keys(), ...readdirSync(paths.runtime)].filter((id) => !known.has(id))
  await Promise.all([...new Set(orphans)].map(remove))
  const wanted = ids.some((id) => states.get(id)?.pid !== undefined)
  const listed = wanted ? await listRuntime(runtime, paths.runtime) : []
  const running = new Set(listed.filter(({ status }) => status === 'running').map(({ id }) => id))
  const find = async (id: string): Promise<ContainerFinding> => {
    const { pid } = states.get(id) ?? {}
    if (pid !== undefined && running.has(id)) return { kind: 'running', pid }
    if (pid === undefined) {
      await remove(id)
      return { kind: 'absent' }
    }
    const status = await lastWord(paths.events, id)
    const outOfMemory = cgroups.sawOutOfMemory(id)
    return { kind: 'exited', exit: { containerId: id, outOfMemory, ...(status === undefined ? {} : { status }) } }
  }
  return new Map(await Promise.all(ids.map(async (id) => [id, await find(id)] as const)))
}

/** The status that a supervisor tells; waits for one that has not come to it yet. */
async function lastWord(events: string, id: string): Promise<number | undefined> {
  for (let waitedMs = 0; ; waitedMs += 20) {
    const { status, supervisor } = readSupervisors(events).get(id) ?? {}
    if (status !== undefined || !isSupervisor(supervisor, id) || waitedMs > lastWordMs) return status
    await pause(20)
  }
}
