import { closeSync, lstatSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { AppError, errorMessage, hasCode } from '../../base/errors.ts'
import { diskUsageBytes } from '../disk-usage.ts'
import { runProgram } from '../run-program.ts'
import { type ArchiveKind } from './uri.ts'

/** How often the size of what was unpacked is looked at: an archive may unpack to a thousand times its size. */
const watchMs = 500

/** An archive and where it goes. */
export interface Extraction {
  readonly kind: ArchiveKind
  readonly archive: string
  /** An empty folder that whom it runs as may write to. */
  readonly directory: string
  /** Absent: as root, with owners and modes as archived. */
  readonly user?: { readonly uid: number; readonly gid: number }
  readonly limitBytes: number
}

/**
 * Unpacks by the node's own programs. GNU tar and unzip refuse members that lead out of the folder (`..`, links that
 * were unpacked before); the folder being a fresh one, no link of an earlier archive is there to be followed.
 * @throws ERR_AGENT_PROGRAM, ERR_AGENT_EXTRACT when it would be larger than allowed
 */
export async function extract(extraction: Extraction, { signal }: { readonly signal: AbortSignal }): Promise<void> {
  const { directory, limitBytes, user } = extraction
  const tooLarge = new AbortController()
  const both = AbortSignal.any([signal, tooLarge.signal])
  const tooMuch = () =>
    new AppError('ERR_AGENT_EXTRACT', `it unpacks to more than ${Math.floor(limitBytes / 1_048_576)} MB`)
  const check = async () => {
    const size = await diskUsageBytes([directory], { signal: both })
    if (size > limitBytes) tooLarge.abort(tooMuch())
  }
  let checking: Promise<void> = Promise.resolve()
  const timer = setInterval(() => {
    checking = checking.then(check).catch(() => undefined) // aborted: told by what it aborts
  }, watchMs)
  const stdout =
    extraction.kind === 'gzip' ? openSync(join(directory, gunzippedName(extraction)), 'wx', 0o644) : undefined
  const identity = user === undefined || user.uid === 0 ? {} : { user }
  try {
    const call = {
      ...extractCall(extraction),
      cwd: directory,
      ...identity,
      ...(stdout === undefined ? {} : { stdout }),
    }
    await runProgram(call, { signal: both })
    await check()
    both.throwIfAborted()
  } finally {
    clearInterval(timer)
    if (stdout !== undefined) closeSync(stdout)
  }
}

function extractCall({ kind, archive, user }: Extraction) {
  switch (kind) {
    case 'tar': {
      const owners =
        user === undefined ? ['--numeric-owner', '--same-permissions'] : ['--no-same-owner', '--no-same-permissions']
      const args = ['--extract', ...owners, '--delay-directory-restore', '--no-wildcards', '--file', archive]
      return { program: 'tar', args, install: 'tar xz-utils bzip2 zstd' }
    }
    case 'zip':
      return { program: 'unzip', args: ['-q', '-o', archive], install: 'unzip' }
    case 'gzip':
      return { program: 'gzip', args: ['--decompress', '--stdout', '--', archive], install: 'gzip' }
  }
}

function gunzippedName({ archive }: Extraction): string {
  return basename(archive).replace(/\.gz$/, '')
}

/**
 * Moves what is in `from` into `to`, folders merged, files replaced. Nothing of `to` that is a link is followed. `keep`:
 * names at the top that are left as they are.
 */
export function mergeTree(from: string, to: string, keep: ReadonlySet<string> = new Set()): void {
  for (const name of readdirSync(from)) {
    if (keep.has(name)) continue
    const [source, target] = [join(from, name), join(to, name)]
    if (isDirectory(source) && isDirectory(target)) {
      mergeTree(source, target)
      continue
    }
    rmSync(target, { recursive: true, force: true })
    renameSync(source, target)
  }
}

/** Makes a folder of the sandbox and those above it, following no link. @throws ERR_AGENT_EXTRACT when a file is in the way */
export function makeFolders(root: string, parts: readonly string[], own: (path: string) => void): string {
  let path = root
  for (const part of parts) {
    path = join(path, part)
    if (isDirectory(path)) continue
    try {
      mkdirSync(path, { mode: 0o755 })
      own(path)
    } catch (error) {
      throw new AppError('ERR_AGENT_EXTRACT', `can't make the folder ${part}: ${errorMessage(error)}`, { cause: error })
    }
  }
  return path
}

function isDirectory(path: string): boolean {
  try {
    return lstatSync(path).isDirectory()
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}
