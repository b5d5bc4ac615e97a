import { readlinkSync } from 'node:fs'
import { AppError, hasCode } from '../../base/errors.ts'
import { type DockerClient } from './client.ts'
import { findImage } from './image.ts'
import { parseState } from './parse.ts'
import { pauseProgram } from './pause-program.ts'
import { tarOf } from './tar.ts'

const repository = 'weft-pause'
const tag = '1'

/** A container that does nothing. */
export interface PauseContainer {
  readonly name: string
  readonly hostname?: string
  /** `none`: a namespace of its own, with loopback alone. */
  readonly network: 'none' | 'host'
  readonly labels: Readonly<Record<string, string>>
}

/** Starts one. @returns its process @throws as DockerClient, ERR_AGENT_DOCKER_ARCH */
export async function startPause(
  client: DockerClient,
  { name, hostname, network, labels }: PauseContainer,
  options: { readonly signal: AbortSignal },
): Promise<number> {
  await ensureImage(client, options)
  const body = {
    Image: `${repository}:${tag}`,
    Cmd: ['/pause'],
    Labels: labels,
    // A first process ignores SIGTERM: an Engine that is restarted would wait for it.
    StopSignal: 'SIGKILL',
    ...(hostname === undefined ? {} : { Hostname: hostname }),
    HostConfig: { NetworkMode: network, RestartPolicy: { Name: 'no' }, LogConfig: { Type: 'none' } },
  }
  await client.call({ method: 'POST', path: '/containers/create', query: { name }, body }, options)
  await client.call({ method: 'POST', path: `/containers/${name}/start` }, options)
  const state = parseState(await client.call({ method: 'GET', path: `/containers/${name}/json` }, options))
  if (state.kind === 'running') return state.pid
  throw new AppError('ERR_AGENT_CONTAINER', `the container that keeps the network ended at once: ${state.error}`)
}

/**
 * Says that the Engine's `host` network is not the agent's, when it is not: found out by a container on it.
 * @throws ERR_AGENT_DOCKER_NAMESPACE
 */
export async function checkHostNetwork(
  client: DockerClient,
  pause: Omit<PauseContainer, 'network'>,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  try {
    const pid = await startPause(client, { ...pause, network: 'host' }, options)
    if (namespaceOf(pid) === namespaceOf('self')) return
    const problem = "Docker runs in another network namespace than the agent: its host network is not this node's"
    throw new AppError('ERR_AGENT_DOCKER_NAMESPACE', `${problem}; give the task a network (mode container)`)
  } finally {
    await removeContainer(client, pause.name)
  }
}

/** Ends and removes a container with its logs and anonymous volumes; none there is fine. @throws as DockerClient */
export async function removeContainer(client: DockerClient, name: string): Promise<void> {
  const query = { force: '1', v: '1' }
  try {
    await client.call(
      { method: 'DELETE', path: `/containers/${name}`, query },
      { signal: AbortSignal.timeout(removeTimeoutMs) },
    )
  } catch (error) {
    if (hasCode(error, 'ERR_AGENT_DOCKER_NOT_FOUND')) return
    const inProgress = error instanceof AppError && error.details['status'] === 409
    if (!inProgress) throw error // 409: someone else removes it
  }
}

const removeTimeoutMs = 60_000

/** Made here: its octets are in this program. */
async function ensureImage(client: DockerClient, options: { readonly signal: AbortSignal }): Promise<void> {
  if ((await findImage(client, `${repository}:${tag}`, options)) !== undefined) return
  const { arch } = await client.version(options)
  const body = tarOf('pause', pauseProgram(arch))
  const query = { fromSrc: '-', repo: repository, tag }
  await client.call({ method: 'POST', path: '/images/create', query, body }, options)
}

function namespaceOf(pid: number | 'self'): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`)
  } catch {
    return '' // ENOENT: its processes are not seen here, so it is elsewhere
  }
}
