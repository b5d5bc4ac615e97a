import { chownSync, existsSync, lchownSync, mkdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { AppError, errorMessage } from '../../base/errors.ts'
import { type VolumeMount } from '../../model/container.ts'
import { makeFolders } from '../fetch/extract.ts'
import { type AgentPaths } from '../paths.ts'
import { taskVolumes, type TaskVolume } from '../reservations.ts'
import { cgroupSuffix } from './cgroup.ts'
import { type PrepareRequest } from './containerizer.ts'
import { type OciUser, sandboxMount, type VolumeBind } from './spec.ts'

/** Directories of the node that tasks may have as volumes. */
export interface HostVolumeRoot {
  readonly path: string
  /** `ro`: only read-only. */
  readonly mode: 'ro' | 'rw'
}

/** What volumes are made with. */
export interface VolumeOptions {
  readonly paths: AgentPaths
  readonly hostVolumes: readonly HostVolumeRoot[]
  readonly hidden: readonly string[]
}

/** Where memory files are; a restart of the machine empties it. */
const memoryRoot = '/dev/shm'

/** Never a mount point of a task: what makes a container one is there. */
const reserved = ['/proc', '/sys', '/dev'] as const

/**
 * The volumes of a task: persistent ones that its resources name, then those of its ContainerInfo. In the order of their
 * mount points, so that none covers another by accident.
 * @throws ERR_AGENT_VOLUME naming the volume and what to do
 */
export function prepareVolumes(options: VolumeOptions, request: PrepareRequest, user: OciUser): readonly VolumeBind[] {
  const persistent = taskVolumes(options.paths.volumes, request.info)
  const given = request.info.container?.volumes ?? []
  const named = new Set(given.flatMap(({ source }) => (source.kind === 'persistent' ? [source.id] : [])))
  const implied = persistent.filter(({ id }) => !named.has(id))
  for (const { source } of user.uid === 0 ? [] : persistent) chownSync(source, user.uid, user.gid)
  const binds = [
    ...implied.map(({ source, containerPath }) => ({
      source,
      destination: destination(containerPath),
      mode: 'rw' as const,
    })),
    ...given.map((volume, index) => ({
      source: sourceOf(options, { request, persistent, user, index }, volume),
      destination: destination(volume.containerPath),
      mode: volume.source.kind === 'secret' ? ('ro' as const) : volume.mode,
    })),
  ]
  return binds.toSorted((a, b) => a.destination.split('/').length - b.destination.split('/').length)
}

/** Removes the secrets of a container from memory. */
export function removeSecrets(paths: AgentPaths, containerId: string): void {
  rmSync(join(secretsRoot(paths), containerId), { recursive: true, force: true })
}

/** Where all secrets of an agent are. */
export function secretsRoot(paths: Pick<AgentPaths, 'root'>): string {
  return join(memoryRoot, `weft-${cgroupSuffix(paths.root)}`)
}

interface SourceContext {
  readonly request: PrepareRequest
  readonly persistent: readonly TaskVolume[]
  readonly user: OciUser
  readonly index: number
}

function sourceOf(options: VolumeOptions, at: SourceContext, volume: VolumeMount): string {
  const { source } = volume
  switch (source.kind) {
    case 'host':
      return hostSource(options, source.path, volume.mode)
    case 'persistent': {
      const found = at.persistent.find(({ id }) => id === source.id)
      if (found === undefined) throw refuse(source.id, 'the task has no resources with that persistent volume')
      return found.source
    }
    case 'shared':
      return sharedSource(at, source.path)
    case 'secret':
      return writeSecret(options.paths, at, source.value)
  }
}

/** The real path, so that no link leads out of what is allowed. */
function hostSource({ hostVolumes, hidden }: VolumeOptions, path: string, mode: 'ro' | 'rw'): string {
  if (!path.startsWith('/')) throw refuse(path, 'the host path must be absolute')
  if (!existsSync(path)) throw refuse(path, 'there is no such path on this node')
  const real = realpathSync(path)
  const below = (root: string) => root === '/' || real === root || real.startsWith(`${root}/`)
  const allowed = hostVolumes.filter(({ path: root }) => existsSync(root) && below(realpathSync(root)))
  if (allowed.length === 0) {
    throw refuse(path, `host paths are not allowed there: start the agent with --host-volume ${path}`)
  }
  if (mode === 'rw' && !allowed.some((root) => root.mode === 'rw'))
    throw refuse(path, 'it may be mounted read-only only')
  if (hidden.some((each) => below(each) || each.startsWith(`${real === '/' ? '' : real}/`))) {
    throw refuse(path, "it has the agent's own state in it, or is part of it")
  }
  return real
}

function sharedSource({ request, user }: SourceContext, path: string): string {
  const { sharedSandbox } = request
  if (sharedSandbox === undefined) throw refuse(path, 'only tasks of a group share a sandbox')
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  if (path.startsWith('/') || parts.length === 0 || parts.includes('..')) {
    throw refuse(path, 'a shared path is relative to the sandbox of the group')
  }
  try {
    // Real folders only: a task of the group may have put a link there. Each member must be able to write.
    return makeFolders(sharedSandbox, parts, (made) => lchownSync(made, user.uid, user.gid))
  } catch (error) {
    throw refuse(path, errorMessage(error))
  }
}

/** A file of memory, of the task's user alone. */
function writeSecret(paths: AgentPaths, { request, user, index }: SourceContext, value: string): string {
  const folder = join(secretsRoot(paths), request.containerId)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const file = join(folder, `${index}`)
  rmSync(file, { force: true })
  writeFileSync(file, value, { mode: 0o400, flag: 'wx' })
  chownSync(file, user.uid, user.gid)
  return file
}

function destination(containerPath: string): string {
  const whole = posix.resolve(sandboxMount, containerPath)
  const isReserved = reserved.some((path) => whole === path || whole.startsWith(`${path}/`))
  if (containerPath === '' || containerPath.includes('\0') || containerPath.split('/').includes('..')) {
    throw refuse(containerPath, 'the container path must be a path without ".."')
  }
  if (whole === '/' || whole === sandboxMount || isReserved) throw refuse(containerPath, 'nothing can be mounted there')
  return whole
}

function refuse(volume: string, problem: string): AppError {
  return new AppError('ERR_AGENT_VOLUME', `volume "${volume}": ${problem}`)
}
