import { AppError, errorMessage } from '../../core/base/errors.ts'

/** How a master is asked. */
export interface MasterClient {
  /** JSON of the first of the paths that there is, and the `host:port` that answered. @throws ERR_MESOS_MASTER */
  get(base: string, paths: readonly string[], options: { readonly signal: AbortSignal }): Promise<MasterAnswer>
  /** The event stream; `undefined` where the master has none. @throws ERR_MESOS_MASTER */
  subscribe(base: string, options: { readonly signal: AbortSignal }): Promise<MasterStream | undefined>
}

/** A JSON answer. */
export interface MasterAnswer {
  readonly value: unknown
  readonly from: string
}

/** An open event stream. */
export interface MasterStream {
  readonly chunks: AsyncIterable<Uint8Array>
  readonly from: string
}

/** A standby master sends its clients on to the leader; it may be wrong about it for a moment. */
const maxRedirects = 5

/** Answers of a master without the operator API, or that keeps it from us. */
const noStream: ReadonlySet<number> = new Set([400, 401, 403, 404, 405, 406, 415, 501])

/** A client that follows redirects to the leader, also `//host:port/path`. `timeoutMs`: for the headers of an answer. */
export function openMasterClient(options: {
  readonly timeoutMs: number
  readonly credentials?: { readonly principal: string; readonly secret: string }
}): MasterClient {
  const { timeoutMs, credentials } = options
  const authorization: Readonly<Record<string, string>> =
    credentials === undefined
      ? {}
      : { authorization: `Basic ${Buffer.from(`${credentials.principal}:${credentials.secret}`).toString('base64')}` }
  const ask = async (url: URL, init: RequestInit, signal: AbortSignal) => {
    let at = url
    for (let i = 0; i <= maxRedirects; i++) {
      const late = new AbortController()
      const timer = setTimeout(() => late.abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
      const headers = { ...authorization, 'user-agent': 'Mesos-DNS', ...init.headers }
      const request = { ...init, headers, redirect: 'manual', signal: AbortSignal.any([signal, late.signal]) } as const
      const response = await fetch(at, request)
        .catch((cause: unknown) => {
          throw unreachableMaster(at, cause)
        })
        .finally(() => clearTimeout(timer))
      const to = response.headers.get('location')
      if (response.status < 300 || response.status > 399 || to === null) return { response, at }
      await response.body?.cancel()
      at = new URL(to, at)
    }
    throw new AppError('ERR_MESOS_MASTER', `${url.host} and others send each other on: is a leader elected?`)
  }
  return {
    get: async (base, paths, { signal }) => {
      for (const path of paths) {
        const { response, at } = await ask(
          new URL(path, base),
          {},
          AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
        )
        if (response.status === 200) return { value: await response.json(), from: at.host }
        await response.body?.cancel()
        if (response.status !== 404) throw new AppError('ERR_MESOS_MASTER', `${at} was answered ${response.status}`)
      }
      throw new AppError('ERR_MESOS_MASTER', `${base} has none of ${paths.join(', ')}`)
    },
    subscribe: async (base, { signal }) => {
      const headers = { 'content-type': 'application/json', accept: 'application/json' }
      const call = { method: 'POST', headers, body: '{"type":"SUBSCRIBE"}' }
      const { response, at } = await ask(new URL('/api/v1', base), call, signal)
      if (response.status === 200 && response.body !== null) return { chunks: response.body, from: at.host }
      await response.body?.cancel()
      if (noStream.has(response.status)) return undefined
      throw new AppError('ERR_MESOS_MASTER', `${at} was answered ${response.status}`)
    },
  }
}

function unreachableMaster(url: URL, cause: unknown): AppError {
  const reason = cause instanceof Error && cause.cause !== undefined ? errorMessage(cause.cause) : errorMessage(cause)
  return new AppError('ERR_MESOS_MASTER', `no answer from ${url.host}: ${reason}`, { cause })
}
