import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { AppError, errorMessage, hasCode } from '../../base/errors.ts'
import { type Logger } from '../../base/log.ts'
import { unlessAborted } from '../abort.ts'
import {
  type ContainerExit,
  type ContainerFinding,
  type Containerizer,
  type ContainerRequest,
  type PrepareRequest,
  type RunningContainer,
} from '../containerizer/containerizer.ts'
import { removeSecrets } from '../containerizer/volumes.ts'
import { diskUsageBytes } from '../disk-usage.ts'
import { type PullProgress } from '../image/skopeo.ts'
import { containerPaths } from '../paths.ts'
import { openDockerClient } from './client.ts'
import { execInDocker } from './exec.ts'
import {
  checkDockerHost,
  type DockerLaunchOptions,
  type DockerProvisioned,
  limitDockerCpu,
  prepareDocker,
  startDocker,
} from './launch.ts'
import { engineOf } from './mark.ts'
import { agentLabel, containerLabel, dockerNames } from './names.ts'
import { field, numberOf, parseList } from './parse.ts'
import { removeContainer } from './pause.ts'
import { exitOf, followOutput, inspectContainer, waitForExit, type WatchTarget } from './watch.ts'

/** Longest wait for the rest of the output of a container that has ended. */
const outputMs = 3000

/** Longest wait for an answer that is not bound to a launch. */
const answerMs = 30_000

/** What the containerizer works with. */
export interface DockerOptions extends DockerLaunchOptions {
  readonly onExit: (exit: ContainerExit) => void
  readonly log: Logger
  /** Ends the watch; containers go on. */
  readonly signal: AbortSignal
}

interface Tracked {
  readonly stop: AbortController
  /** Resolves when all output is in the sandbox. */
  readonly output: Promise<void>
}

/** Containers by a Docker Engine on this machine. Nothing is asked of it before a task needs it. */
export function openDockerContainerizer(options: Omit<DockerOptions, 'client' | 'names'>): Containerizer {
  const client = openDockerClient(options.socketPath)
  return new DockerContainerizer({ ...options, client, names: dockerNames(options.paths.root) })
}

class DockerContainerizer implements Containerizer {
  readonly #options: DockerOptions
  readonly #tracked = new Map<string, Tracked>()
  readonly #provisions = new Map<string, Promise<DockerProvisioned>>()
  #hostNetwork: Promise<void> | undefined

  constructor(options: DockerOptions) {
    this.#options = options
  }

  async prepare(request: PrepareRequest, progress: PullProgress): Promise<void> {
    await this.#provide(request, progress)
  }

  async launch(request: ContainerRequest, options: { readonly signal: AbortSignal }): Promise<RunningContainer> {
    const { containerId } = request
    try {
      options.signal.throwIfAborted()
      const provisioned = await this.#provide(request, { ...options, onProgress: () => undefined })
      if (request.network.kind === 'host') await this.#checkHost(containerId, options)
      await startDocker(this.#options, request, provisioned, options)
      const state = await inspectContainer(this.#options.client, this.#target(containerId).name, options)
      void this.#limitCpu(request)
      this.#track(containerId)
      return { pid: state.pid }
    } catch (error) {
      await this.remove(containerId)
      throw error
    }
  }

  signal(containerId: string, name: 'TERM' | 'KILL'): void {
    const { client, names, log, signal } = this.#options
    const call = {
      method: 'POST',
      path: `/containers/${names.task(containerId)}/kill`,
      query: { signal: `SIG${name}` },
    } as const
    client.call(call, { signal }).catch((error: unknown) => {
      const hasEnded = error instanceof AppError && [404, 409].includes(numberOf(error.details['status']))
      if (!hasEnded) log.warn({ container: containerId, signal: name, error: errorMessage(error) }, 'can not signal')
    })
  }

  async recover(containerIds: readonly string[]): Promise<ReadonlyMap<string, ContainerFinding>> {
    const { paths, log } = this.#options
    if (engineOf(paths) === undefined) return new Map(containerIds.map((id) => [id, { kind: 'absent' }]))
    try {
      await this.#removeUnknown(new Set(containerIds))
    } catch (error) {
      log.warn({ error: errorMessage(error) }, 'can not look for containers of earlier agents')
    }
    const found = containerIds.map(async (id) => [id, await this.#find(id)] as const)
    return new Map(await Promise.all(found))
  }

  exec(containerId: string, argv: readonly string[], options: { readonly signal: AbortSignal }): Promise<number> {
    const { client, names } = this.#options
    return execInDocker(client, { name: names.task(containerId), argv }, options)
  }

  async diskUsage(containerId: string, options: { readonly signal: AbortSignal }): Promise<number> {
    const { client } = this.#options
    const { name, sandbox } = this.#target(containerId)
    const call = { method: 'GET', path: `/containers/${name}/json`, query: { size: '1' } } as const
    const [own, written] = await Promise.all([diskUsageBytes([sandbox], options), client.call(call, options)])
    return own + numberOf(field(written, 'SizeRw'))
  }

  async remove(containerId: string): Promise<void> {
    const { client, names, paths } = this.#options
    const tracked = this.#tracked.get(containerId)
    if (tracked !== undefined) {
      await this.#killForOutput(containerId, tracked.output)
      tracked.stop.abort()
    }
    await removeContainer(client, names.task(containerId))
    await removeContainer(client, names.network(containerId))
    this.#tracked.delete(containerId)
    this.#provisions.delete(containerId)
    removeSecrets(paths, containerId)
    await rm(join(paths.fetching, containerId), { recursive: true, force: true })
  }

  #provide(request: PrepareRequest, progress: PullProgress): Promise<DockerProvisioned> {
    const { containerId } = request
    const provisioned = this.#provisions.get(containerId) ?? prepareDocker(this.#options, request, progress)
    this.#provisions.set(containerId, provisioned)
    return provisioned
  }

  /** Found out once; again after a failure, as the Engine may be started elsewhere. */
  #checkHost(containerId: string, options: { readonly signal: AbortSignal }): Promise<void> {
    this.#hostNetwork ??= checkDockerHost(this.#options, containerId, options)
    this.#hostNetwork.catch(() => {
      this.#hostNetwork = undefined
    })
    return this.#hostNetwork
  }

  async #limitCpu(request: ContainerRequest): Promise<void> {
    const { log, signal } = this.#options
    const { containerId } = request
    try {
      await limitDockerCpu(this.#options, request, { signal })
    } catch (error) {
      // One that has ended already can't be limited.
      if (this.#tracked.has(containerId))
        log.debug({ container: containerId, error: errorMessage(error) }, 'no cpu limit')
    }
  }

  #target(containerId: string): WatchTarget {
    const { names, paths } = this.#options
    return { containerId, name: names.task(containerId), sandbox: containerPaths(paths, containerId).sandbox }
  }

  #track(containerId: string): void {
    if (this.#tracked.has(containerId)) return
    const stop = new AbortController()
    const signal = AbortSignal.any([stop.signal, this.#options.signal])
    const target = this.#target(containerId)
    const output = followOutput(this.#options, target, { signal })
    this.#tracked.set(containerId, { stop, output })
    const tell = async () => {
      const exit = await waitForExit(this.#options, target, { signal })
      await atMost(output, outputMs)
      if (!signal.aborted) this.#options.onExit(exit)
    }
    tell().catch((error: unknown) => {
      if (!signal.aborted)
        this.#options.log.error({ container: containerId, error: errorMessage(error) }, 'watch ended')
    })
  }

  /** Removing it drops what of its output is not copied yet. */
  async #killForOutput(containerId: string, output: Promise<void>): Promise<void> {
    this.signal(containerId, 'KILL')
    await atMost(output, outputMs)
  }

  async #find(containerId: string): Promise<ContainerFinding> {
    const { client, log } = this.#options
    const target = this.#target(containerId)
    const options = { signal: AbortSignal.timeout(answerMs) }
    try {
      const state = await inspectContainer(client, target.name, options)
      if (state.kind === 'running') {
        this.#track(containerId)
        return { kind: 'running', pid: state.pid }
      }
      if (state.kind === 'exited') {
        await unlessAborted(followOutput(this.#options, target, options), AbortSignal.timeout(outputMs)).catch(
          (error: unknown) =>
            log.warn({ container: containerId, error: errorMessage(error) }, 'output may be cut short'),
        )
        return { kind: 'exited', exit: exitOf(containerId, state) }
      }
    } catch (error) {
      if (!hasCode(error, 'ERR_AGENT_DOCKER_NOT_FOUND')) {
        // The Engine may be away while its containers go on: the watch finds out what became of this one.
        log.warn({ container: containerId, error: errorMessage(error) }, 'container taken as running')
        this.#track(containerId)
        return { kind: 'running', pid: 0 }
      }
    }
    await this.remove(containerId)
    return { kind: 'absent' }
  }

  async #removeUnknown(known: ReadonlySet<string>): Promise<void> {
    const { client, names } = this.#options
    await removeLabelled(client, names.agent, (containerId) => !known.has(containerId))
  }
}

/** Removes the containers of an agent of which `wanted` says so. @throws as DockerClient */
export async function removeLabelled(
  client: DockerOptions['client'],
  agent: string,
  wanted: (containerId: string) => boolean,
): Promise<void> {
  const filters = JSON.stringify({ label: [`${agentLabel}=${agent}`] })
  const query = { all: '1', filters }
  const call = { method: 'GET', path: '/containers/json', query } as const
  const listed = parseList(await client.call(call, { signal: AbortSignal.timeout(answerMs) }))
  for (const { id, labels } of listed.toReversed()) {
    if (wanted(labels(containerLabel))) await removeContainer(client, id)
  }
}

async function atMost(promise: Promise<void>, ms: number): Promise<void> {
  const ending = new AbortController()
  await Promise.race([promise, pause(ms, undefined, { signal: ending.signal }).catch(() => undefined)])
  ending.abort()
}
