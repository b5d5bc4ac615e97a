import { AppError, errorMessage, hasCode } from '../base/errors.ts'

/** An answer of the master's HTTP interface. */
export interface ApiAnswer {
  readonly status: number
  readonly body: unknown
  readonly headers: Headers
}

/** A small client of the master's HTTP interface. */
export interface Api {
  readonly url: string
  /** Any status comes back as an answer. @throws ERR_CLI_UNREACHABLE when nobody answers */
  request(method: string, path: string, body?: unknown): Promise<ApiAnswer>
  /** @throws ERR_CLI_REFUSED for a status that is not 2xx, with the server's reasons as text */
  get(path: string): Promise<unknown>
  send(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<ApiAnswer>
}

/**
 * Opens a client of one master, or of several (`http://a:5050,http://b:5050`): one that does not answer gives way to the
 * next. No connection is made before the first request. `timeoutMs` is for one request.
 */
export function openApi(urls: string, timeoutMs = 60_000): Api {
  const all = urls.split(',')
  let current = 0
  const url = () => all[current % all.length] ?? urls
  const targets = { url, count: all.length, next: () => void current++ }
  const request = async (method: string, path: string, body?: unknown): Promise<ApiAnswer> => {
    try {
      const response = await fetchAgain(targets, path, {
        method,
        signal: AbortSignal.timeout(timeoutMs),
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      })
      const text = await response.text()
      return { status: response.status, body: parseBody(text), headers: response.headers }
    } catch (error) {
      const reason =
        error instanceof Error && error.cause !== undefined ? errorMessage(error.cause) : errorMessage(error)
      const advice = 'is the cluster up? `weft up -d` starts one; --master URL names another'
      throw new AppError('ERR_CLI_UNREACHABLE', `no answer from ${urls} (${reason}): ${advice}`, { cause: error })
    }
  }
  const send = async (method: string, path: string, body?: unknown) => {
    const answer = await request(method, path, body)
    if (answer.status < 200 || answer.status > 299) throw refusal(method, path, answer)
    return answer
  }
  return {
    get url() {
      return url()
    },
    request,
    send,
    get: async (path) => (await send('GET', path)).body,
  }
}

interface Targets {
  readonly count: number
  url(): string
  next(): void
}

/** Connections that broke in a row before it is no change of master any more. */
const mostBroken = 5

/** Nothing was sent: any request may go to the next master. */
const neverSent = ['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT']

/**
 * A master that ends breaks its connections; another one answers. What may be repeated is (RFC 9110 section 9.2.2). A
 * standby's 307 is followed by fetch itself.
 */
async function fetchAgain(
  targets: Targets,
  path: string,
  init: RequestInit & { readonly method: string },
): Promise<Response> {
  for (let failed = 1; ; failed++) {
    try {
      return await fetch(new URL(path, targets.url()), init)
    } catch (error) {
      const cause = error instanceof Error ? error.cause : undefined
      const isBroken = hasCode(cause, 'ECONNRESET') || hasCode(cause, 'UND_ERR_SOCKET')
      const mayRepeat = isBroken && init.method !== 'POST' && failed < mostBroken
      const hasOthers = neverSent.some((code) => hasCode(cause, code)) && failed < targets.count
      if (!mayRepeat && !hasOthers) throw error
      targets.next()
    }
  }
}

function parseBody(text: string): unknown {
  if (text === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    return text // not JSON: a metrics page, or a proxy's error
  }
}

/** Marathon's shape of errors: a message, and for each wrong field its path and what is wrong. */
function refusal(method: string, path: string, { status, body }: ApiAnswer): AppError {
  const record = isRecord(body) ? body : {}
  const details = Array.isArray(record['details']) ? record['details'] : []
  const reasons = details.filter(isRecord).map((detail) => `  ${detail['path']}: ${String(detail['errors'])}`)
  const message = typeof record['message'] === 'string' ? record['message'] : `${method} ${path} was answered ${status}`
  return new AppError('ERR_CLI_REFUSED', [message, ...reasons].join('\n'), { details: { status, body } })
}

/** True for a JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
