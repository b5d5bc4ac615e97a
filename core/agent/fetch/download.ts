import { createWriteStream } from 'node:fs'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { AppError, errorMessage, hasCode } from '../../base/errors.ts'
import { failed, type FetchSource } from './uri.ts'

/** Nothing for so long: it is given up. Source: mesos, fetcher_stall_timeout. */
const stallMs = 60_000

/** What tells two contents of one URI apart; empty: the server says nothing. */
export interface Validators {
  readonly etag: string
  readonly lastModified: string
}

/** A download. */
export interface DownloadCall {
  readonly source: FetchSource & { readonly kind: 'http' }
  readonly label: string
  /** A file that does not exist yet. */
  readonly to: string
  readonly limitBytes: number
  /** Of a copy that is here: the answer may be that it is still right. */
  readonly known?: Validators
}

/** How a download ended. */
export type Downloaded = { readonly kind: 'unchanged' } | { readonly kind: 'new'; readonly validators: Validators }

/** Gets a file by HTTP into `to`, redirects followed, never decompressed. @throws ERR_AGENT_FETCH, AbortError */
export async function download(call: DownloadCall, { signal }: { readonly signal: AbortSignal }): Promise<Downloaded> {
  const { label, source, known } = call
  const stalled = new AbortController()
  const timer = setTimeout(() => stalled.abort(), stallMs)
  try {
    const both = AbortSignal.any([signal, stalled.signal])
    const response = await fetch(source.url, {
      headers: requestHeaders(source, known),
      redirect: 'follow',
      signal: both,
    })
    if (response.status === 304) return { kind: 'unchanged' }
    if (!response.ok || response.body === null) {
      await response.body?.cancel()
      throw failed(label, `the server answered ${response.status} ${response.statusText}`)
    }
    await save(Readable.from(response.body), call, { signal: both, alive: () => timer.refresh() })
    return { kind: 'new', validators: validatorsOf(response.headers) }
  } catch (error) {
    signal.throwIfAborted()
    if (stalled.signal.aborted) throw failed(label, `nothing came for ${stallMs / 1000} s`, error)
    throw error instanceof AppError ? error : failed(label, reasonOf(error), error)
  } finally {
    clearTimeout(timer)
  }
}

/** What a server says of a file now, without getting it; empty when it does not say. @throws ERR_AGENT_FETCH */
export async function askVersion(
  { source, label }: Pick<DownloadCall, 'source' | 'label'>,
  { signal }: { readonly signal: AbortSignal },
): Promise<Validators> {
  const both = AbortSignal.any([signal, AbortSignal.timeout(stallMs)])
  try {
    const response = await fetch(source.url, {
      method: 'HEAD',
      headers: requestHeaders(source, undefined),
      signal: both,
    })
    if (response.status === 404) throw failed(label, 'the server answered 404: there is no such file')
    return response.ok ? validatorsOf(response.headers) : { etag: '', lastModified: '' }
  } catch (error) {
    signal.throwIfAborted()
    throw error instanceof AppError ? error : failed(label, reasonOf(error), error)
  }
}

async function save(
  body: Readable,
  { label, to, limitBytes }: DownloadCall,
  { signal, alive }: { readonly signal: AbortSignal; readonly alive: () => void },
): Promise<void> {
  let size = 0
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      alive()
      size += chunk.length
      if (size > limitBytes) done(failed(label, `it is larger than ${Math.floor(limitBytes / 1_048_576)} MB`))
      else done(null, chunk)
    },
  })
  await pipeline(body, measure, createWriteStream(to, { flags: 'wx', mode: 0o644 }), { signal })
}

function requestHeaders(
  { authorization }: FetchSource & { readonly kind: 'http' },
  known: Validators | undefined,
): Record<string, string> {
  return {
    'accept-encoding': 'identity',
    ...(authorization === undefined ? {} : { authorization }),
    ...(known === undefined || known.etag === '' ? {} : { 'if-none-match': known.etag }),
    ...(known === undefined || known.lastModified === '' ? {} : { 'if-modified-since': known.lastModified }),
  }
}

function validatorsOf(headers: Headers): Validators {
  return { etag: headers.get('etag') ?? '', lastModified: headers.get('last-modified') ?? '' }
}

/** `fetch failed` has the reason in its cause. */
function reasonOf(error: unknown): string {
  if (hasCode(error, 'ENOSPC')) return 'the disk of the node is full'
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  return errorMessage(cause)
}
