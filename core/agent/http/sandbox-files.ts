import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
  type Stats,
  statSync,
} from 'node:fs'
import { join, normalize } from 'node:path'
import { AppError, errorMessage, hasCode } from '../../base/errors.ts'

/** Most octets of one read. Source: mesos, src/files/files.cpp: 16 pages. */
const longestRead = 16 * 4096

/** A file of a sandbox as Mesos lists it. Source: mesos, src/common/http.cpp, model(FileInfo). */
export interface ListedFile {
  readonly path: string
  readonly nlink: number
  readonly size: number
  readonly mtime: number
  /** As `ls -l` writes it. */
  readonly mode: string
  readonly uid: string
  readonly gid: string
}

/** The sandboxes of an agent as its `/files` serves them. Tasks write there: no path, and no link, may lead out of one. */
export interface SandboxFiles {
  /** What is in a directory. @throws ERR_AGENT_FILE_PATH, ERR_AGENT_FILE_UNKNOWN */
  browse(path: string): readonly ListedFile[]
  /** Octets from an offset; without one only the size, as the offset. @throws as browse */
  read(
    path: string,
    range: { readonly offset?: number; readonly length?: number },
  ): { readonly data: string; readonly offset: number }
  /** A descriptor, which the caller closes, and how much may be read of it. @throws as browse */
  open(path: string): { readonly fd: number; readonly size: number }
}

/**
 * Opens it over the folder of sandboxes. Paths are `/tasks/TASK/…` (the latest run), Mesos's
 * `[/…/slaves/AGENT]/frameworks/F/executors/E/runs/CONTAINER|latest[/tasks/TASK]/…`, or those of the machine.
 */
export function openSandboxFiles(sandboxes: string): SandboxFiles {
  const open = (path: string, wanted: 'file' | 'directory') => {
    const { root, inside } = locate(sandboxes, path)
    // Never blocks on a pipe; what was really opened is looked at, so that nobody can swap it meanwhile.
    const fd = openOrThrow(join(root, inside), path)
    try {
      const real = readlinkSync(`/proc/self/fd/${fd}`)
      if (real !== root && !real.startsWith(`${root}/`)) throw leadsOut(path)
      const stat = fstatSync(fd)
      if (wanted === 'file' ? stat.isFile() : stat.isDirectory()) return { fd, stat }
      throw new AppError('ERR_AGENT_FILE_PATH', `"${path}" is no ${wanted}`)
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }
  return {
    browse: (path) => {
      const { fd } = open(path, 'directory')
      try {
        const names = readdirSync(`/proc/self/fd/${fd}`).toSorted()
        return names.flatMap((name) => listed(join(path, name), `/proc/self/fd/${fd}/${name}`))
      } finally {
        closeSync(fd)
      }
    },
    read: (path, { offset, length = longestRead }) => {
      const { fd, stat } = open(path, 'file')
      try {
        if (offset === undefined) return { data: '', offset: stat.size }
        const buffer = Buffer.alloc(Math.min(length, longestRead))
        const count = readSync(fd, buffer, 0, buffer.length, offset)
        return { data: buffer.toString('utf8', 0, wholeCharacters(buffer, count)), offset }
      } finally {
        closeSync(fd)
      }
    },
    open: (path) => {
      const { fd, stat } = open(path, 'file')
      return { fd, size: stat.size }
    },
  }
}

const mesosPath =
  /^(?:.*\/slaves\/[^/]+)?\/frameworks\/[^/]+\/executors\/([^/]+)\/runs\/([^/]+)(?:\/tasks\/([^/]+))?(\/.*)?$/
const taskPath = /^\/tasks\/([^/]+)(\/.*)?$/

/** The sandbox that a path means, and where in it. @throws ERR_AGENT_FILE_PATH, ERR_AGENT_FILE_UNKNOWN */
function locate(sandboxes: string, path: string): { readonly root: string; readonly inside: string } {
  if (path.includes('\0')) throw leadsOut(path)
  const [, ofTask, afterTask = '/'] = taskPath.exec(path) ?? []
  if (ofTask !== undefined) return { root: latest(sandboxes, ofTask, path), inside: within(afterTask, path) }
  const [, executor = '', run, nested, rest = '/'] = mesosPath.exec(path) ?? []
  if (nested !== undefined) return { root: latest(sandboxes, nested, path), inside: within(rest, path) }
  if (run === 'latest') return { root: latest(sandboxes, executor, path), inside: within(rest, path) }
  if (run !== undefined) return { root: existing(sandboxes, run, path), inside: within(rest, path) }
  const prefix = `${sandboxes}/`
  if (!path.startsWith(prefix)) throw unknown(path)
  const [name = '', ...parts] = path.slice(prefix.length).split('/')
  return { root: existing(sandboxes, name, path), inside: within(`/${parts.join('/')}`, path) }
}

/** The newest sandbox of a task: container ids are the beginning of its id and 8 hexadecimal digits. */
function latest(sandboxes: string, id: string, path: string): string {
  const beginning = `${id.slice(0, 64)}-`
  const names = existsSync(sandboxes) ? readdirSync(sandboxes) : []
  const own = names.filter((name) => name.startsWith(beginning) && /^[0-9a-f]{8}$/.test(name.slice(beginning.length)))
  const born = (name: string) => statSync(join(sandboxes, name)).birthtimeMs
  const newest = own.toSorted((a, b) => born(b) - born(a))[0]
  if (newest === undefined) throw unknown(path)
  return existing(sandboxes, newest, path)
}

function existing(sandboxes: string, name: string, path: string): string {
  if (name === '' || name === '.' || name === '..') throw leadsOut(path)
  try {
    return realpathSync(join(sandboxes, name))
  } catch {
    throw unknown(path) // ENOENT
  }
}

function within(rest: string, path: string): string {
  if (rest.split('/').includes('..')) throw leadsOut(path)
  return normalize(rest)
}

function openOrThrow(real: string, path: string): number {
  try {
    return openSync(real, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR') || hasCode(error, 'ELOOP')) throw unknown(path)
    throw new AppError('ERR_AGENT_FILE_PATH', `can't open "${path}": ${errorMessage(error)}`, { cause: error })
  }
}

/** A read may end in the middle of a character: the next one begins with it. */
function wholeCharacters(buffer: Buffer, count: number): number {
  for (let back = 1; back <= Math.min(3, count); back++) {
    const octet = buffer[count - back] ?? 0
    if ((octet & 0xc0) === 0x80) continue
    const needed = octet >= 0xf0 ? 4 : octet >= 0xe0 ? 3 : octet >= 0xc0 ? 2 : 1
    return needed > back && count > back ? count - back : count
  }
  return count
}

function listed(path: string, real: string): readonly ListedFile[] {
  try {
    const { nlink, size, mtimeMs, uid, gid, ...stat } = statsOf(real)
    return [
      {
        path,
        nlink,
        size,
        mtime: Math.floor(mtimeMs / 1000),
        mode: formatMode(stat.mode),
        uid: `${uid}`,
        gid: `${gid}`,
      },
    ]
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [] // gone since it was listed
    throw error
  }
}

function statsOf(path: string): Stats {
  return lstatSync(path)
}

/** Source: inode(7), the file type in the highest 4 bits: 4 is a directory, 8 a file, 10 a symbolic link, … */
const kinds = '?pc?d?b?-?l?s???'

function formatMode(mode: number): string {
  const bits = [...'rwxrwxrwx'].map((letter, i) => ((mode >> (8 - i)) & 1 ? letter : '-'))
  return `${kinds[(mode >> 12) & 0xf] ?? '?'}${bits.join('')}`
}

function leadsOut(path: string): AppError {
  return new AppError('ERR_AGENT_FILE_PATH', `"${path}" leads out of the sandbox`)
}

function unknown(path: string): AppError {
  return new AppError('ERR_AGENT_FILE_UNKNOWN', `there is no "${path}" on this agent`)
}
