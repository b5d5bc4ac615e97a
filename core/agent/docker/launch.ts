import { AppError, errorMessage } from '../../base/errors.ts'
import { writeImageFiles } from '../containerizer/bundle.ts'
import { type ContainerRequest, type PrepareRequest } from '../containerizer/containerizer.ts'
import { containerHostname } from '../containerizer/files.ts'
import { provideSandbox, type Provisions } from '../containerizer/provision.ts'
import { cpuPeriodUs, cpuQuotaUs, type OciUser, sandboxMount } from '../containerizer/spec.ts'
import { prepareVolumes } from '../containerizer/volumes.ts'
import { type PullProgress } from '../image/skopeo.ts'
import { containerPaths } from '../paths.ts'
import { type DockerClient, type EngineVersion } from './client.ts'
import { dockerUser, engineImageName, provideDockerImage } from './image.ts'
import { markDocker } from './mark.ts'
import { agentLabel, containerLabel, type DockerNames } from './names.ts'
import { checkHostNetwork, startPause } from './pause.ts'
import { type DockerImage } from './parse.ts'
import { dockerSpec } from './spec.ts'
import { hostname } from 'node:os'

/** What containers of Docker are made with. */
export interface DockerLaunchOptions extends Provisions {
  readonly client: DockerClient
  readonly socketPath: string
  readonly names: DockerNames
  /** Pins the network namespace of a process at a path. */
  readonly pinNetwork: (pid: number, path: string) => void
}

/** What a container got. */
export interface DockerProvisioned {
  readonly engine: EngineVersion
  readonly image: DockerImage
  readonly user: OciUser
  /** It has a network namespace that a container of its own keeps. */
  readonly network: 'kept' | 'none'
}

/** Image, sandbox and network namespace of a container. @throws ERR_AGENT_IMAGE, ERR_AGENT_FETCH, ERR_AGENT_DOCKER… */
export async function prepareDocker(
  options: DockerLaunchOptions,
  request: PrepareRequest,
  progress: PullProgress,
): Promise<DockerProvisioned> {
  const { client, names, paths } = options
  const { containerId, info, netns, sharedSandbox } = request
  if (sharedSandbox !== undefined) throw noGroup()
  const name = engineImageName(info.container?.image)
  const engine = await client.version(progress)
  markDocker(paths, containerId, options.socketPath)
  const wanted = info.container?.image
  const forcePull = wanted?.kind === 'oci' && wanted.forcePull
  const image = await provideDockerImage(client, { name, forcePull }, progress)
  const labels = labelsOf(names, containerId)
  const user = await dockerUser(client, { image, user: info.command.user ?? image.user, labels }, progress)
  await provideSandbox(options, { ...request, user }, progress)
  if (netns === undefined) return { engine, image, user, network: 'none' }
  const pause = {
    name: names.network(containerId),
    hostname: containerHostname(containerId),
    network: 'none' as const,
    labels,
  }
  options.pinNetwork(await startPause(client, pause, progress), netns)
  return { engine, image, user, network: 'kept' }
}

/** Makes and starts the container. @throws ERR_AGENT_CONTAINER, ERR_AGENT_VOLUME, ERR_AGENT_DOCKER… */
export async function startDocker(
  options: DockerLaunchOptions,
  request: ContainerRequest,
  { engine, image, user, network }: DockerProvisioned,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const { client, names, paths } = options
  const { containerId } = request
  if (request.network.kind === 'own' && network === 'none') throw unprepared()
  const own = containerPaths(paths, containerId)
  const hostName = request.network.kind === 'host' ? hostname() : containerHostname(containerId)
  const { hostVolumes, host } = options
  const body = dockerSpec({
    request,
    image: image.id,
    mounts: [
      { source: own.sandbox, destination: sandboxMount, mode: 'rw' },
      ...prepareVolumes({ paths, hostVolumes, hidden: host.hidden }, request, user),
      ...(request.extra?.binds ?? []),
      ...writeImageFiles(own, hostName, request.network).map((file) => ({ ...file, mode: 'ro' as const })),
    ],
    labels: labelsOf(names, containerId),
    networkMode: request.network.kind === 'host' ? 'host' : `container:${names.network(containerId)}`,
    engine,
  })
  const name = names.task(containerId)
  try {
    await client.call({ method: 'POST', path: '/containers/create', query: { name }, body }, { signal })
    await client.call({ method: 'POST', path: `/containers/${name}/start` }, { signal })
  } catch (error) {
    signal.throwIfAborted()
    const message = `Docker can't start the container: ${errorMessage(error)}`
    throw new AppError('ERR_AGENT_CONTAINER', message, { cause: error })
  }
}

/** Sets the hard limit of CPU time; before the start it would throttle the runtime's own. @throws as DockerClient.call */
export async function limitDockerCpu(
  { client, names }: Pick<DockerLaunchOptions, 'client' | 'names'>,
  { containerId, info }: ContainerRequest,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  const body = { CpuPeriod: cpuPeriodUs, CpuQuota: Math.round(cpuQuotaUs(info.resources.cpuMillis)) }
  await client.call({ method: 'POST', path: `/containers/${names.task(containerId)}/update`, body }, options)
}

/** @throws ERR_AGENT_DOCKER_NAMESPACE when the Engine's host network is not the agent's */
export function checkDockerHost(
  { client, names }: Pick<DockerLaunchOptions, 'client' | 'names'>,
  containerId: string,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  const pause = { name: `${names.task(containerId)}.host`, labels: labelsOf(names, containerId) }
  return checkHostNetwork(client, pause, options)
}

function labelsOf({ agent }: DockerNames, containerId: string): Readonly<Record<string, string>> {
  return { [agentLabel]: agent, [containerLabel]: containerId }
}

/** As Mesos: the network namespace of a group is not Docker's. */
function noGroup(): AppError {
  return new AppError('ERR_AGENT_DOCKER_GROUP', 'a task of a group can not be a container of Docker: use type MESOS')
}

function unprepared(): AppError {
  return new AppError('ERR_AGENT_CONTAINER', 'a container of Docker on a network must be prepared first')
}
