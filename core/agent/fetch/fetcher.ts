import {
  chmodSync,
  closeSync,
  lchownSync,
  mkdirSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { AppError, errorMessage } from '../../base/errors.ts'
import { type FetchUri } from '../../model/container.ts'
import { type PullProgress } from '../image/skopeo.ts'
import { runProgram } from '../run-program.ts'
import { type FetchCache } from './cache.ts'
import { askVersion, download } from './download.ts'
import { extract, makeFolders, mergeTree } from './extract.ts'
import { archiveKind, failed, type FetchPlan, type FetchSource, planFetch, readSource } from './uri.ts'

/** Where fetched files go. */
export interface FetchTarget {
  /** The sandbox. */
  readonly directory: string
  /** A folder of the same file system that users may pass through; made, and removed. */
  readonly work: string
  readonly user: { readonly uid: number; readonly gid: number }
  /** Of each file, and of each unpacked archive. */
  readonly limitBytes: number
}

/** What fetching needs of the agent. */
export interface FetchOptions {
  readonly cache: FetchCache
  /** Directories that tasks must not read. */
  readonly hidden: readonly string[]
}

/** Archives as root file systems. */
export interface ArchiveFetcher {
  /** Differs when the archive has changed, as far as that can be told. @throws ERR_AGENT_FETCH */
  versionOf(uri: string, options: { readonly signal: AbortSignal }): Promise<string>
  /** Unpacks with owners and modes. @throws ERR_AGENT_FETCH */
  unpack(
    uri: string,
    at: { readonly work: string; readonly directory: string },
    options: { readonly signal: AbortSignal },
  ): Promise<void>
}

/** Largest root file system. */
const maxRootfsBytes = 32 * 1024 ** 3

const ownFiles: ReadonlySet<string> = new Set(['stdout', 'stderr'])

/**
 * Puts files into a sandbox, one after the other, before its task starts. Fetching happens in the agent's network
 * namespace; files of the node are read as the task's user. @throws ERR_AGENT_FETCH with the URI and the reason
 */
export async function fetchAll(
  options: FetchOptions,
  { uris, target }: { readonly uris: readonly FetchUri[]; readonly target: FetchTarget },
  { signal, onProgress }: PullProgress,
): Promise<void> {
  const plans = uris.map(planFetch)
  for (const [index, plan] of plans.entries()) {
    const work = join(target.work, `${index}`)
    mkdirSync(work, { recursive: true, mode: 0o711 })
    try {
      onProgress(`fetching ${plan.label} (${index + 1} of ${plans.length})`)
      await fetchOne(options, { plan, target: { ...target, work } }, { signal })
    } catch (error) {
      signal.throwIfAborted()
      throw error instanceof AppError && error.code === 'ERR_AGENT_FETCH'
        ? error
        : failed(plan.label, errorMessage(error), error)
    } finally {
      rmSync(target.work, { recursive: true, force: true })
    }
  }
}

/** The same, for root file systems. */
export function openArchives(options: FetchOptions): ArchiveFetcher {
  return {
    versionOf: async (uri, { signal }) => {
      const { source, label } = readSource(uri)
      if (source.kind === 'http') return JSON.stringify([uri, await askVersion({ source, label }, { signal })])
      const { size, mtimeMs, ino } = statSync(readable(source.path, label, options.hidden))
      return JSON.stringify([uri, size, mtimeMs, ino])
    },
    unpack: async (uri, { work, directory }, { signal }) => {
      const { source, label, path } = readSource(uri)
      const name = archiveKind(path) === 'tar' ? path.slice(path.lastIndexOf('/') + 1) : 'rootfs.tar'
      const archive = join(work, name)
      const user = { uid: 0, gid: 0 }
      await getFile(options, { source, label, to: archive, limitBytes: maxRootfsBytes, user, cache: false }, { signal })
      await extract({ kind: 'tar', archive, directory, limitBytes: maxRootfsBytes }, { signal }).catch(
        (error: unknown) => {
          signal.throwIfAborted()
          throw failed(label, errorMessage(error), error)
        },
      )
      rmSync(archive)
    },
  }
}

async function fetchOne(
  options: FetchOptions,
  { plan, target }: { readonly plan: FetchPlan; readonly target: FetchTarget },
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const { work, directory, user, limitBytes } = target
  const folders = plan.output.slice(0, -1)
  const name = plan.output.at(-1) ?? ''
  const file = join(work, name)
  await getFile(options, { ...plan, to: file, limitBytes, user }, { signal })
  const own = (path: string) => lchownSync(path, user.uid, user.gid)
  const into = makeFolders(directory, folders, own)
  if (plan.archive !== undefined) {
    const unpacked = join(work, ' unpacked')
    mkdirSync(unpacked, { mode: 0o700 })
    own(unpacked)
    await extract({ kind: plan.archive, archive: file, directory: unpacked, user, limitBytes }, { signal })
    mergeTree(unpacked, into, folders.length === 0 ? ownFiles : new Set())
  }
  chmodSync(file, plan.executable ? 0o755 : 0o644)
  own(file)
  renameSync(file, join(into, name))
}

async function getFile(
  { cache, hidden }: FetchOptions,
  call: Pick<FetchTarget, 'user' | 'limitBytes'> & {
    readonly source: FetchSource
    readonly label: string
    readonly to: string
    readonly cache: boolean
  },
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const { source, label, to, limitBytes, user } = call
  if (source.kind === 'http') {
    const http = { source, label, to, limitBytes }
    await (call.cache ? cache.get(http, { signal }) : download(http, { signal }))
    return
  }
  const path = readable(source.path, label, hidden)
  if (statSync(path).size > limitBytes) {
    throw failed(label, `it is larger than ${Math.floor(limitBytes / 1_048_576)} MB`)
  }
  const fd = openSync(to, 'wx', 0o644)
  const identity = user.uid === 0 ? {} : { user }
  try {
    // As the task's user: the agent may read more than the task may.
    await runProgram({ program: 'cat', args: ['--', path], install: 'coreutils', stdout: fd, ...identity }, { signal })
  } finally {
    closeSync(fd)
  }
}

/** The real path of a file that tasks may read. @throws ERR_AGENT_FETCH */
function readable(path: string, label: string, hidden: readonly string[]): string {
  try {
    const real = realpathSync(path)
    if (hidden.some((each) => real === each || real.startsWith(`${each}/`))) throw failed(label, 'it is not for tasks')
    if (!statSync(real).isFile()) throw failed(label, 'it is no file')
    return real
  } catch (error) {
    throw error instanceof AppError ? error : failed(label, errorMessage(error), error)
  }
}
