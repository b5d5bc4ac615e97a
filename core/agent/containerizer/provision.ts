import { chownSync, closeSync, constants, fchownSync, mkdirSync, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type FetchOptions, fetchAll } from '../fetch/fetcher.ts'
import { writeDurably } from '../identity.ts'
import { type ReadyImage } from '../image/image-files.ts'
import { type Images } from '../image/images.ts'
import { existsInside, readInside } from '../image/inside.ts'
import { type PullProgress } from '../image/skopeo.ts'
import { findIdentity } from '../image/users.ts'
import { type AgentPaths, containerPaths } from '../paths.ts'
import { type PrepareRequest } from './containerizer.ts'
import { findUser, type HostView, type ImageView, type OciUser } from './spec.ts'
import { type HostVolumeRoot } from './volumes.ts'

/** What the agent provides for containers beside networks. */
export interface Provisions {
  readonly paths: AgentPaths
  readonly host: HostView
  readonly images: Images
  readonly fetch: FetchOptions
  readonly hostVolumes: readonly HostVolumeRoot[]
}

/** What a container got. */
export interface Provisioned {
  readonly user: OciUser
  /** Absent: the host's directories. */
  readonly image?: { readonly ready: ReadyImage; readonly view: ImageView }
}

/** Largest file that is fetched for a task without a limit of disk. */
const fetchLimitBytes = 10 * 1024 ** 3

/** Image, user, sandbox and fetched files of a container. @throws ERR_AGENT_IMAGE, ERR_AGENT_USER, ERR_AGENT_FETCH */
export async function provision(
  provisions: Provisions,
  request: PrepareRequest,
  progress: PullProgress,
): Promise<Provisioned> {
  const { paths, host, images } = provisions
  const { containerId, info } = request
  const own = containerPaths(paths, containerId)
  const wanted = info.container?.image
  const ready = wanted === undefined ? undefined : await images.provide(wanted, progress)
  mkdirSync(own.root, { recursive: true, mode: 0o700 })
  if (ready !== undefined) writeDurably(own.image, ready.key)
  const { user, view } =
    ready === undefined ? { user: findUser(info.command.user, host.passwd) } : viewOf(ready, info.command.user)
  await provideSandbox(provisions, { ...request, user }, progress)
  return { user, ...(ready === undefined || view === undefined ? {} : { image: { ready, view } }) }
}

/** The sandbox of a container with the files that its task wants fetched. @throws ERR_AGENT_FETCH */
export async function provideSandbox(
  { paths, fetch }: Pick<Provisions, 'paths' | 'fetch'>,
  { containerId, info, user }: PrepareRequest & { readonly user: OciUser },
  progress: PullProgress,
): Promise<void> {
  const { sandbox } = containerPaths(paths, containerId)
  makeSandbox(sandbox, user)
  const uris = info.fetch ?? []
  const limitBytes = info.resources.diskMb > 0 ? info.resources.diskMb * 1024 ** 2 : fetchLimitBytes
  const work = join(paths.fetching, containerId)
  if (uris.length > 0) mkdirSync(paths.fetching, { recursive: true, mode: 0o711 })
  await fetchAll(fetch, { uris, target: { directory: sandbox, work, user, limitBytes } }, progress)
  rmSync(work, { recursive: true, force: true })
}

function viewOf(
  { rootfs, config }: ReadyImage,
  wanted: string | undefined,
): { readonly user: OciUser; readonly view: ImageView } {
  const bases = { passwd: readInside(rootfs, '/etc/passwd'), group: readInside(rootfs, '/etc/group') }
  const { uid, gid, home = '/' } = findIdentity(wanted ?? config.user, bases)
  const init = existsInside(rootfs, '/bin/sh') ? 'shell' : 'none'
  return { user: { uid, gid }, view: { config, home, init } }
}

/** With the files of its output: made before anything is fetched, so that nothing can take their place. */
function makeSandbox(sandbox: string, { uid, gid }: OciUser): void {
  mkdirSync(sandbox, { recursive: true, mode: 0o755 })
  if (uid !== 0) chownSync(sandbox, uid, gid)
  for (const name of ['stdout', 'stderr']) closeSync(openOutput(sandbox, name, { uid, gid }))
}

/** Opens a file of a task's output for appending; a link there is not followed. */
export function openOutput(sandbox: string, name: string, { uid, gid }: OciUser): number {
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_WRONLY } = constants
  const fd = openSync(join(sandbox, name), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0o644)
  if (uid !== 0) fchownSync(fd, uid, gid)
  return fd
}
