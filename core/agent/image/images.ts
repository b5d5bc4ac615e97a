import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, realpathSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, errorMessage } from '../../base/errors.ts'
import { type Logger } from '../../base/log.ts'
import { type Image } from '../../model/container.ts'
import { diskUsageBytes } from '../disk-usage.ts'
import { type ArchiveFetcher } from '../fetch/fetcher.ts'
import { noConfig } from './config.ts'
import { type ImageFiles, type ReadyImage } from './image-files.ts'
import { openFlights } from './flights.ts'
import { expiredImages, type KeepPolicy } from './plan.ts'
import { type ImageSource, parseImageSource } from './reference.ts'
import { type ImagePuller, type PullProgress } from './skopeo.ts'

/** Root file systems for containers. */
export interface Images {
  /**
   * Makes an image ready; those who want the same one at once wait for one pull.
   * @throws ERR_AGENT_IMAGE, ERR_AGENT_IMAGE_NAME saying what is wrong
   */
  provide(image: Image, progress: PullProgress): Promise<ReadyImage>
  /** Removes what {@link expiredImages} says. `inUse` are the keys of containers' images. */
  collect(inUse: ReadonlySet<string>, nowMs: number): void
}

/** What images are made with. */
export interface ImagesOptions {
  readonly files: ImageFiles
  readonly puller: ImagePuller
  readonly archives: ArchiveFetcher
  /** Directories that must not be seen in a container. */
  readonly hidden: readonly string[]
  readonly keep: KeepPolicy
  readonly log: Logger
}

/** Opens them. */
export function openImages(options: ImagesOptions): Images {
  const { files, keep, log } = options
  const flights = openFlights<ReadyImage>()
  const provide = async (image: Image, progress: PullProgress): Promise<ReadyImage> => {
    switch (image.kind) {
      case 'directory':
        return directoryImage(image.path, options.hidden)
      case 'tarball':
        return flights.join(`tarball ${image.uri}`, progress, (shared) => tarball(options, image.uri, shared))
      case 'oci': {
        const source = parseImageSource(image.reference)
        const known = image.forcePull || source.kind === 'file' ? undefined : files.keyOf(source.name)
        const ready = known === undefined ? undefined : files.find(known)
        return ready ?? flights.join(source.name, progress, (shared) => pull(options, source, shared))
      }
    }
  }
  const collect = (inUse: ReadonlySet<string>, nowMs: number) => {
    for (const key of expiredImages(files.list(inUse), keep, nowMs)) {
      log.info({ image: key }, 'unused image removed')
      files.remove(key)
    }
  }
  return { provide, collect }
}

async function pull(
  { files, puller }: ImagesOptions,
  source: ImageSource,
  progress: PullProgress,
): Promise<ReadyImage> {
  const digest = await puller.digestOf(source, progress)
  const key = digest.replace('sha256:', '')
  const ready =
    files.find(key) ??
    (await make(files, key, (work) => {
      const rootfs = join(work, 'rootfs')
      return puller.pull(source, { digest, work, rootfs }, progress)
    }))
  files.remember(source.name, key)
  return ready
}

async function tarball({ files, archives }: ImagesOptions, uri: string, progress: PullProgress): Promise<ReadyImage> {
  progress.onProgress(`fetching root file system ${uri}`)
  const key = createHash('sha256')
    .update(await archives.versionOf(uri, progress))
    .digest('hex')
  return (
    files.find(key) ??
    make(files, key, async (work) => {
      const rootfs = join(work, 'rootfs')
      mkdirSync(rootfs, { mode: 0o755 })
      await archives.unpack(uri, { work, directory: rootfs }, progress)
      return noConfig
    })
  )
}

async function make(
  files: ImageFiles,
  key: string,
  fill: (work: string) => Promise<ReadyImage['config']>,
): Promise<ReadyImage> {
  const work = files.begin()
  try {
    const config = await fill(work)
    rmSync(join(work, 'layout'), { recursive: true, force: true })
    const sizeBytes = await diskUsageBytes([work], { signal: AbortSignal.timeout(sizeTimeoutMs) })
    return files.commit(work, { key, config, sizeBytes })
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

const sizeTimeoutMs = 60_000

/** A directory is used as it is. @throws ERR_AGENT_IMAGE when it is none, or shows what must stay hidden */
function directoryImage(path: string, hidden: readonly string[]): ReadyImage {
  const refuse = (problem: string) => new AppError('ERR_AGENT_IMAGE', `root file system ${path}: ${problem}`)
  if (!path.startsWith('/')) throw refuse('the path must be absolute')
  if (!existsSync(path)) throw refuse('there is no such directory on this node')
  try {
    const rootfs = realpathSync(path)
    if (!statSync(rootfs).isDirectory()) throw refuse('it is no directory')
    if (isNear(rootfs, hidden)) throw refuse("it has the agent's own state in it, or is part of it")
    return { key: '', rootfs, config: noConfig }
  } catch (error) {
    if (error instanceof AppError) throw error
    throw new AppError('ERR_AGENT_IMAGE', `root file system ${path}: ${errorMessage(error)}`, { cause: error })
  }
}

/** True when `path` lies in one of them, or one of them in it. */
export function isNear(path: string, directories: readonly string[]): boolean {
  const within = (inner: string, outer: string) => outer === '/' || inner === outer || inner.startsWith(`${outer}/`)
  return directories.some((each) => within(path, each) || within(each, path))
}
