import { AppError } from '../../base/errors.ts'
import { type FetchUri } from '../../model/container.ts'

/** How an archive is unpacked. */
export type ArchiveKind = 'tar' | 'zip' | 'gzip'

/** A file to fetch, as it was understood. */
export interface FetchPlan {
  readonly source: FetchSource
  /** For messages: without password. */
  readonly label: string
  /** Parts of the path in the sandbox; the last one is the file's name. */
  readonly output: readonly string[]
  readonly executable: boolean
  readonly cache: boolean
  /** Absent: not unpacked. */
  readonly archive?: ArchiveKind
}

/** Where it is. */
export type FetchSource =
  | { readonly kind: 'http'; readonly url: string; readonly authorization?: string }
  | { readonly kind: 'file'; readonly path: string }

/** Written by the supervisor: nothing may take their place. */
const reserved: ReadonlySet<string> = new Set(['stdout', 'stderr'])

/** @throws ERR_AGENT_FETCH naming the URI and what is wrong with it */
export function planFetch({ uri, executable, extract, cache, outputFile }: FetchUri): FetchPlan {
  const { source, label, path } = readSource(uri)
  const output = outputPath(outputFile ?? decodedName(path), label)
  const archive = extract ? archiveKind(output.at(-1) ?? '') : undefined
  return { source, label, output, executable, cache, ...(archive === undefined ? {} : { archive }) }
}

/** By its name, as in Mesos (src/launcher/fetcher.cpp), and zst beside; undefined: no archive. */
export function archiveKind(name: string): ArchiveKind | undefined {
  if (/\.(tar|tgz|tbz2|txz|tzst)$|\.tar\.(gz|bz2|xz|zst)$/.test(name)) return 'tar'
  if (name.endsWith('.zip')) return 'zip'
  return name.endsWith('.gz') ? 'gzip' : undefined
}

/** @throws ERR_AGENT_FETCH */
export function readSource(uri: string): {
  readonly source: FetchSource
  readonly label: string
  readonly path: string
} {
  if (uri.startsWith('/')) return { source: { kind: 'file', path: uri }, label: uri, path: uri }
  const url = URL.canParse(uri) ? new URL(uri) : undefined
  if (url?.protocol === 'file:') {
    const path = decodeURIComponent(url.pathname)
    if (url.host === '' && !path.includes('\0')) return { source: { kind: 'file', path }, label: uri, path }
    throw failed(uri, 'a file: URI names no host')
  }
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw failed(withoutPassword(uri), 'give http:, https:, file: or an absolute path of the node')
  }
  const { username, password, pathname } = url
  const login = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')
  url.username = ''
  url.password = ''
  const authorization = username === '' ? {} : { authorization: `Basic ${login}` }
  return { source: { kind: 'http', url: url.href, ...authorization }, label: url.href, path: pathname }
}

/** An error about one URI. */
export function failed(label: string, problem: string, cause?: unknown): AppError {
  return new AppError('ERR_AGENT_FETCH', `can't fetch ${label}: ${problem}`, cause === undefined ? {} : { cause })
}

function outputPath(path: string, label: string): readonly string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  if (path.startsWith('/') || path.includes('\0') || parts.includes('..')) {
    throw failed(label, `output file "${path}" must be a path within the sandbox`)
  }
  if (parts.length === 0) throw failed(label, 'it has no file name: give an output file')
  if (parts.length === 1 && reserved.has(parts[0] ?? '')) throw failed(label, `"${path}" is the task's own output`)
  return parts
}

function decodedName(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1)
  try {
    return decodeURIComponent(name).replaceAll('/', '_')
  } catch {
    return name // a malformed escape: as it is
  }
}

function withoutPassword(uri: string): string {
  return uri.replace(/\/\/[^/@]*@/, '//')
}
