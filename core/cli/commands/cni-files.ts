import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { AppError, errorMessage, hasCode } from '../../base/errors.ts'
import { isRecord } from '../api.ts'

/** A file that should be there. */
export interface CniFile {
  readonly path: string
  readonly content:
    | { readonly kind: 'copy'; readonly source: string }
    | { readonly kind: 'text'; readonly text: string }
}

/** What was done with a file. */
export interface CniFileChange {
  readonly action: 'created' | 'updated' | 'unchanged' | 'removed'
  readonly path: string
  readonly reason?: string
}

/** In every build of the plugin: see weft-cni.c and build.mjs. */
const pluginMarker = Buffer.from('weft-cni-plugin-marker')

/**
 * Writes the files, each atomically, folders as needed. None is written when one of the paths has a file of others.
 * @throws ERR_CLI_CNI_FOREIGN naming those files; ERR_CLI_CNI_FILE
 */
export function installCniFiles(files: readonly CniFile[]): readonly CniFileChange[] {
  const found = files.map((file) => ({ file, before: readIfThere(file.path) }))
  const foreign = found.filter(({ file, before }) => before !== undefined && !isOurs(file.path, before))
  if (foreign.length > 0) {
    const paths = foreign.map(({ file }) => file.path).join(', ')
    throw new AppError('ERR_CLI_CNI_FOREIGN', `not ours, and so not overwritten: ${paths}; move it, or choose a folder`)
  }
  return found.map(({ file, before }) => {
    const { path, content } = file
    const bytes =
      content.kind === 'text' ? Buffer.from(content.text) : attempt(path, () => readFileSync(content.source))
    if (before?.equals(bytes)) return { action: 'unchanged', path }
    writeAtomically(path, bytes, content.kind === 'text' ? 0o644 : 0o755)
    return { action: before === undefined ? 'created' : 'updated', path }
  })
}

/** Files of ours in these folders. A folder that is not there has none. @throws ERR_CLI_CNI_FILE */
export function listOwnCniFiles(folders: readonly string[]): readonly string[] {
  return folders.flatMap((folder) =>
    attempt(folder, () => readdirSync(folder, { withFileTypes: true }), [])
      .filter((entry) => entry.isFile())
      .map(({ name }) => join(folder, name))
      .filter((path) => {
        const bytes = readIfThere(path)
        return bytes !== undefined && isOurs(path, bytes)
      }),
  )
}

/** Removes the files. @throws ERR_CLI_CNI_FILE */
export function removeCniFiles(paths: readonly string[]): readonly CniFileChange[] {
  return paths.map((path) => {
    attempt(path, () => rmSync(path, { force: true }))
    return { action: 'removed', path, reason: path.endsWith('.conflist') ? 'configuration of ours' : 'plugin of ours' }
  })
}

/** A plugin by its marker; a configuration list by name and by its first plugin. */
function isOurs(path: string, bytes: Buffer): boolean {
  if (!path.endsWith('.conflist')) return /\/weft(-ipam)?$/.test(path) && bytes.includes(pluginMarker)
  if (!/\/50-weft-[^/]+\.conflist$/.test(path)) return false
  try {
    const list: unknown = JSON.parse(bytes.toString())
    const plugins = isRecord(list) && Array.isArray(list['plugins']) ? list['plugins'] : []
    return plugins.length === 1 && isRecord(plugins[0]) && plugins[0]['type'] === 'weft'
  } catch {
    return false // SyntaxError: somebody else's
  }
}

function readIfThere(path: string): Buffer | undefined {
  return attempt(path, () => readFileSync(path), undefined)
}

function writeAtomically(path: string, bytes: Buffer, mode: number): void {
  const temporary = join(dirname(path), `.weft-cni-${process.pid}`)
  attempt(path, () => {
    makeFolder(dirname(path))
    try {
      writeFileSync(temporary, bytes, { mode })
      chmodSync(temporary, mode)
      renameSync(temporary, path)
    } catch (error) {
      rmSync(temporary, { force: true })
      throw error
    }
  })
}

/** Not mkdirSync's `recursive`: below /proc, where nothing can be made, that never returns (Node 24). */
function makeFolder(path: string): void {
  try {
    mkdirSync(path)
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return
    if (!hasCode(error, 'ENOENT') || dirname(path) === path) throw error
    makeFolder(dirname(path))
    mkdirSync(path)
  }
}

/** `absent` is the result where nothing is there. */
function attempt<T>(path: string, work: () => T, ...absent: readonly [T] | readonly []): T {
  try {
    return work()
  } catch (cause) {
    if (absent.length === 1 && (hasCode(cause, 'ENOENT') || hasCode(cause, 'ENOTDIR'))) return absent[0]
    const advice = hasCode(cause, 'EACCES') ? '; run it as root, or choose other folders' : ''
    throw new AppError('ERR_CLI_CNI_FILE', `${path}: ${errorMessage(cause)}${advice}`, { cause })
  }
}
