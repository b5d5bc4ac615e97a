import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { constants } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../../base/errors.ts'
import { writeDurably } from '../identity.ts'
import { expiredImages, type KeepPolicy } from '../image/plan.ts'
import { download, type DownloadCall, type Validators } from './download.ts'

/**
 * Files that were fetched before, by URI: `HASH/content` and `HASH/validators`. Each use asks the server whether the copy
 * is still right (ETag, Last-Modified); a server that has neither gets the file fetched each time.
 */
export interface FetchCache {
  /** As {@link download}, through the cache. @throws ERR_AGENT_FETCH */
  get(call: DownloadCall, options: { readonly signal: AbortSignal }): Promise<void>
}

/** Opens a folder; removes what an earlier agent left half done. */
export function openFetchCache(dir: string, keep: KeepPolicy): FetchCache {
  const work = join(dir, 'work')
  rmSync(work, { recursive: true, force: true })
  mkdirSync(work, { recursive: true, mode: 0o700 })
  const get: FetchCache['get'] = async (call, options) => {
    const entry = join(dir, createHash('sha256').update(call.source.url).digest('hex'))
    const known = readValidators(entry)
    const result = await download({ ...call, ...(known === undefined ? {} : { known }) }, options)
    if (result.kind === 'unchanged') {
      const nowSeconds = Date.now() / 1000
      await copyFile(join(entry, 'content'), call.to, constants.COPYFILE_FICLONE)
      utimesSync(join(entry, 'validators'), nowSeconds, nowSeconds)
      return
    }
    const { validators } = result
    if (validators.etag === '' && validators.lastModified === '') return
    await store(entry, { work, call, validators })
    evict(dir, keep)
  }
  return { get }
}

async function store(
  entry: string,
  { work, call, validators }: { readonly work: string; readonly call: DownloadCall; readonly validators: Validators },
): Promise<void> {
  const fresh = join(work, randomBytes(8).toString('hex'))
  mkdirSync(fresh, { mode: 0o700 })
  await copyFile(call.to, join(fresh, 'content'), constants.COPYFILE_FICLONE)
  writeDurably(join(fresh, 'validators'), JSON.stringify(validators))
  rmSync(entry, { recursive: true, force: true })
  renameSync(fresh, entry)
}

function evict(dir: string, keep: KeepPolicy): void {
  const entries = readdirSync(dir).filter((key) => existsSync(join(dir, key, 'validators')))
  const stored = entries.map((key) => ({
    key,
    inUse: false,
    sizeBytes: statSync(join(dir, key, 'content')).size,
    usedAtMs: statSync(join(dir, key, 'validators')).mtimeMs,
  }))
  for (const key of expiredImages(stored, keep, Date.now())) rmSync(join(dir, key), { recursive: true, force: true })
}

function readValidators(entry: string): Validators | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(join(entry, 'validators'), 'utf8'))
    if (typeof value !== 'object' || value === null || !('etag' in value) || !('lastModified' in value))
      return undefined
    return { etag: String(value.etag), lastModified: String(value.lastModified) }
  } catch (error) {
    if (hasCode(error, 'ENOENT') || error instanceof SyntaxError) return undefined
    throw error
  }
}
