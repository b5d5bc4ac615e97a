import { type IncomingMessage, request as httpRequest } from 'node:http'
import { AppError, errorMessage, hasCode } from '../../base/errors.ts'
import { field, textOf } from './parse.ts'

/** One request of the Engine API. */
export interface DockerCall {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** Without the version; parts of it percent-encoded. */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  /** JSON, or octets of a tar archive. */
  readonly body?: object | Buffer
}

/** What is known of an Engine. */
export interface EngineVersion {
  /** Which version of the API is spoken with it. */
  readonly api: string
  /** As Go names it: `amd64`, `arm64`. */
  readonly arch: string
  /** It can put its own first process into containers. */
  readonly hasInit: boolean
}

/** The Engine API over its socket. Source: docs.docker.com/engine/api, v1.41. */
export interface DockerClient {
  /** Asked once; again after a failure. @throws ERR_AGENT_DOCKER_AWAY, ERR_AGENT_DOCKER_VERSION */
  version(options: { readonly signal: AbortSignal }): Promise<EngineVersion>
  /** @returns the answer's JSON @throws ERR_AGENT_DOCKER, ERR_AGENT_DOCKER_NOT_FOUND, ERR_AGENT_DOCKER_AWAY; AbortError */
  call(call: DockerCall, options: { readonly signal: AbortSignal }): Promise<unknown>
  /** The answer as it comes. @throws as `call` */
  stream(call: DockerCall, options: { readonly signal: AbortSignal }): Promise<AsyncIterable<Buffer>>
}

/** The API as it is used here: 1.41 is that of Engine 20.10. */
const spoken = 1.41

/** Most octets of an answer that is read as a whole. */
const maxAnswerOctets = 16 * 1024 * 1024

/** Opens a client; nothing is connected until something is asked. */
export function openDockerClient(socketPath: string): DockerClient {
  let known: Promise<EngineVersion> | undefined
  const version = (options: { readonly signal: AbortSignal }) => {
    known ??= ask(socketPath, { method: 'GET', path: '/version' }, options).then(readAll).then(parseVersion)
    known.catch(() => {
      known = undefined
    })
    return known
  }
  const versioned = async (call: DockerCall, options: { readonly signal: AbortSignal }) => {
    const { api } = await version(options)
    return ask(socketPath, { ...call, path: `/v${api}${call.path}` }, options)
  }
  return {
    version,
    stream: versioned,
    call: async (call, options) => readAll(await versioned(call, options)),
  }
}

/** The version to speak. @throws ERR_AGENT_DOCKER_VERSION when the Engine is too old */
export function parseVersion(answer: unknown): EngineVersion {
  const [api, min] = ['ApiVersion', 'MinAPIVersion'].map((name) => Number(textOf(field(answer, name))))
  if (api === undefined || !(api >= spoken)) {
    const found = textOf(field(answer, 'Version'))
    const problem = `Docker Engine ${found} speaks API ${api}: install 20.10 or later, which speaks ${spoken}`
    throw new AppError('ERR_AGENT_DOCKER_VERSION', problem)
  }
  const components = field(answer, 'Components')
  const init = Array.isArray(components) ? components.find((each) => field(each, 'Name') === 'docker-init') : undefined
  const initVersion = textOf(field(init, 'Version'))
  return {
    api: `${Math.max(spoken, min ?? spoken)}`,
    arch: textOf(field(answer, 'Arch')),
    hasInit: initVersion !== '' && initVersion !== 'N/A',
  }
}

function ask(socketPath: string, call: DockerCall, { signal }: { readonly signal: AbortSignal }) {
  const { method, query = {}, body } = call
  const path = Object.keys(query).length === 0 ? call.path : `${call.path}?${new URLSearchParams(query)}`
  const isTar = Buffer.isBuffer(body)
  const payload = body === undefined || isTar ? body : Buffer.from(JSON.stringify(body))
  const type = isTar ? 'application/x-tar' : 'application/json'
  const headers = {
    host: 'docker',
    ...(payload === undefined ? {} : { 'content-type': type, 'content-length': payload.length }),
  }
  return new Promise<IncomingMessage>((resolve, reject) => {
    const request = httpRequest({ socketPath, method, path, headers, signal, agent: false }, (response) => {
      const { statusCode = 0 } = response
      // 304: started or stopped already.
      if (statusCode < 400) resolve(response)
      else readAll(response).then((answer) => reject(refusal(call, statusCode, answer)), reject)
    })
    request.once('error', (error) => reject(signal.aborted ? signal.reason : away(socketPath, error)))
    request.end(payload)
  })
}

async function readAll(response: AsyncIterable<Buffer>): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response) {
    size += chunk.length
    if (size > maxAnswerOctets) throw new AppError('ERR_AGENT_DOCKER', 'the answer of Docker is too long')
    chunks.push(chunk)
  }
  const text = Buffer.concat(chunks).toString('utf8')
  try {
    return text === '' ? undefined : JSON.parse(text)
  } catch {
    return text // a page of something else, or lines of JSON
  }
}

function refusal({ method, path }: DockerCall, status: number, answer: unknown): AppError {
  const message = textOf(field(answer, 'message')) || `status ${status} to ${method} ${path}`
  const code = status === 404 ? 'ERR_AGENT_DOCKER_NOT_FOUND' : 'ERR_AGENT_DOCKER'
  return new AppError(code, `Docker: ${message}`, { details: { status } })
}

function away(socketPath: string, cause: Error): AppError {
  const advice =
    hasCode(cause, 'ENOENT') || hasCode(cause, 'ECONNREFUSED')
      ? 'is it installed and running (`apt-get install docker.io`)? --docker-host says where'
      : errorMessage(cause)
  const message = `no Docker Engine answers at ${socketPath}: ${advice}; container type MESOS runs images without it`
  return new AppError('ERR_AGENT_DOCKER_AWAY', message, { cause })
}
