import { lstatSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, hasCode } from '../../base/errors.ts'

/** Most links that are followed. Source: MAXSYMLINKS, include/linux/namei.h. */
const maxLinks = 40

/**
 * Where `path` leads for somebody whose root is `root`: links are followed as seen from inside, so that none leads out.
 * What does not exist is taken as it is named. @throws ERR_AGENT_PATH for a loop of links
 */
export function resolveInside(root: string, path: string): string {
  let rest = path.split('/')
  let inside: readonly string[] = []
  for (let links = 0; rest.length > 0; ) {
    const [part = '', ...after] = rest
    rest = after
    if (part === '' || part === '.') continue
    if (part === '..') {
      inside = inside.slice(0, -1)
      continue
    }
    const target = readLink(join(root, ...inside, part))
    if (target === undefined) {
      inside = [...inside, part]
      continue
    }
    if (++links > maxLinks) throw new AppError('ERR_AGENT_PATH', `${path}: too many links lead on`)
    if (target.startsWith('/')) inside = []
    rest = [...target.split('/'), ...rest]
  }
  return join(root, ...inside)
}

/** Text of a file inside; empty when there is none. */
export function readInside(root: string, path: string): string {
  try {
    const found = resolveInside(root, path)
    return lstatSync(found).isFile() ? readFileSync(found, 'utf8') : ''
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR') || hasCode(error, 'ERR_AGENT_PATH')) return ''
    throw error
  }
}

/** True when there is something at `path` inside. */
export function existsInside(root: string, path: string): boolean {
  try {
    lstatSync(resolveInside(root, path))
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR') || hasCode(error, 'ERR_AGENT_PATH')) return false
    throw error
  }
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch (error) {
    // EINVAL: no link
    if (hasCode(error, 'EINVAL') || hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return undefined
    throw error
  }
}
