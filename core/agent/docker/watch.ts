import { setTimeout as pause } from 'node:timers/promises'
import { errorMessage, hasCode } from '../../base/errors.ts'
import { type Logger } from '../../base/log.ts'
import { type ContainerExit } from '../containerizer/containerizer.ts'
import { type DockerClient } from './client.ts'
import { copyLogs } from './logs.ts'
import { type ContainerState, parseState } from './parse.ts'

/** How long after a failure the Engine is asked again. */
const retryMs = 1000

/** A container that is watched. */
export interface WatchTarget {
  readonly containerId: string
  readonly name: string
  readonly sandbox: string
}

/** State of a container now. @throws as DockerClient.call */
export async function inspectContainer(
  client: DockerClient,
  name: string,
  options: { readonly signal: AbortSignal },
): Promise<ContainerState> {
  return parseState(await client.call({ method: 'GET', path: `/containers/${name}/json` }, options))
}

/** How it ended, as far as its state tells: one that never started says nothing. */
export function exitOf(containerId: string, state: ContainerState): ContainerExit {
  if (state.kind !== 'exited') return { containerId, outOfMemory: false }
  return { containerId, status: state.exitCode, outOfMemory: state.outOfMemory }
}

/** Waits for a container's end, over restarts of the Engine too. @throws the signal's reason */
export async function waitForExit(
  at: { readonly client: DockerClient; readonly log: Logger },
  { containerId, name }: WatchTarget,
  options: { readonly signal: AbortSignal },
): Promise<ContainerExit> {
  for (;;) {
    try {
      const query = { condition: 'not-running' }
      await at.client.call({ method: 'POST', path: `/containers/${name}/wait`, query }, options)
      const state = await inspectContainer(at.client, name, options)
      if (state.kind !== 'running') return exitOf(containerId, state)
    } catch (error) {
      options.signal.throwIfAborted()
      if (hasCode(error, 'ERR_AGENT_DOCKER_NOT_FOUND')) return { containerId, outOfMemory: false }
      at.log.warn({ container: containerId, error: errorMessage(error) }, 'can not wait for container, trying again')
    }
    await pause(retryMs, undefined, options)
  }
}

/** Copies the output until the container has ended and all is there; never throws. */
export async function followOutput(
  at: { readonly client: DockerClient; readonly log: Logger },
  target: WatchTarget,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  while (!options.signal.aborted) {
    try {
      await copyLogs(at.client, target, options)
      // The stream ends with the Engine too.
      const state = await inspectContainer(at.client, target.name, options)
      if (state.kind !== 'running') return
    } catch (error) {
      if (options.signal.aborted || hasCode(error, 'ERR_AGENT_DOCKER_NOT_FOUND')) return
      const { containerId } = target
      at.log.warn({ container: containerId, error: errorMessage(error) }, 'can not copy output, trying again')
    }
    await pause(retryMs, undefined, options).catch(() => undefined) // AbortError: the loop's condition tells it
  }
}
