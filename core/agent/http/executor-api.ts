import { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { acceptProblem, contentTypeProblem, type Refusal } from '../../api/mesos/media.ts'
import { openRecordStream } from '../../api/mesos/record-stream.ts'
import { type Clock } from '../../base/clock.ts'
import { AppError, errorMessage } from '../../base/errors.ts'
import { type CustomExecutor } from '../executors/custom.ts'
import { type ExecutorCall, parseExecutorCall } from '../executors/custom-call.ts'
import { type CustomExecutors } from '../executors/customs.ts'

/** Largest body: a subscription may bring many updates. */
const maxBodyBytes = 16 * 1024 * 1024

const path = '/api/v1/executor'

/** True when a request is for {@link serveExecutors}; a path that begins with `/slave(1)` is the same without it. */
export function isExecutorRequest({ url = '' }: IncomingMessage): boolean {
  const plain = (url.split('?')[0] ?? '').replaceAll('%28', '(').replaceAll('%29', ')')
  return plain.replace(/^\/slave\(1\)/, '') === path
}

/**
 * The v1 executor API: calls by POST, events as RecordIO on the answer to SUBSCRIBE. Status codes and texts are those of
 * mesos, src/slave/http.cpp, Http::executor; without its token nobody speaks for an executor (401, another's: 403).
 */
export function serveExecutors(options: {
  readonly executors: () => CustomExecutors
  readonly clock: Clock
}): RequestListener {
  return (request, response) => {
    answer(request, response, options).catch((error: unknown) => refuse(response, refusalOf(error)))
  }
}

interface Serving {
  readonly executors: () => CustomExecutors
  readonly clock: Clock
}

async function answer(request: IncomingMessage, response: ServerResponse, serving: Serving): Promise<void> {
  const { headers, method } = request
  if (!isExecutorRequest(request))
    return refuse(response, { status: 404, text: 'only the executor API is served here' })
  if (method !== 'POST') {
    response.setHeader('Allow', 'POST')
    return refuse(response, { status: 405, text: `Expecting one of { 'POST' }, but received '${method}'` })
  }
  const executor = bearer(headers.authorization, serving.executors())
  if (executor === undefined) {
    response.setHeader('WWW-Authenticate', 'Bearer realm="mesos-agent-executor"')
    return refuse(response, { status: 401, text: 'Expecting the token of MESOS_EXECUTOR_AUTHENTICATION_TOKEN' })
  }
  const wrongType = contentTypeProblem(headers['content-type'])
  if (wrongType !== undefined) return refuse(response, wrongType)
  const call = parseExecutorCall(parseJson(await readBody(request)))
  const wrongAccept = acceptProblem(headers.accept)
  if (wrongAccept !== undefined) return refuse(response, wrongAccept)
  const { record } = executor
  if (record.frameworkId !== call.frameworkId || record.info.id !== call.executorId) {
    return refuse(response, { status: 403, text: 'the token is that of another executor' })
  }
  obey(call, executor, { response, serving })
}

function bearer(header: string | undefined, executors: CustomExecutors): CustomExecutor | undefined {
  const token = /^Bearer +([\w.~+/=-]+) *$/i.exec(header ?? '')?.[1]
  return token === undefined ? undefined : executors.byToken(token)
}

function obey(
  call: ExecutorCall,
  executor: CustomExecutor,
  { response, serving }: { readonly response: ServerResponse; readonly serving: Serving },
): void {
  if (call.kind === 'subscribe') {
    const { clock } = serving
    executor.subscribe((onClose) => openRecordStream(response, {}, { clock, onClose }), call)
    return
  }
  if (!executor.isSubscribed) {
    refuse(response, { status: 403, text: 'Executor is not subscribed' })
    return
  }
  if (call.kind === 'update') void executor.update(call.update)
  if (call.kind === 'message') serving.executors().say(executor.record, call.data)
  response.writeHead(202).end()
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    const octets = Buffer.from(chunk)
    size += octets.length
    if (size > maxBodyBytes) throw new AppError('ERR_EXECUTOR_TOO_LARGE', `a call has at most ${maxBodyBytes} octets`)
    chunks.push(octets)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new AppError('ERR_SCHEDULER_JSON', `Failed to parse body into JSON: ${errorMessage(error)}`)
  }
}

/** Mesos's words before what was found. */
const prefixOf: Readonly<Record<string, string>> = {
  ERR_SCHEDULER_JSON: '',
  ERR_SCHEDULER_MALFORMED: 'Failed to convert JSON into Call protobuf: ',
  ERR_EXECUTOR_INVALID: 'Failed to validate Executor::Call: ',
}

function refusalOf(error: unknown): Refusal {
  if (!(error instanceof AppError)) return { status: 500, text: errorMessage(error) }
  if (error.code === 'ERR_EXECUTOR_TOO_LARGE') return { status: 413, text: errorMessage(error) }
  return { status: 400, text: `${prefixOf[error.code] ?? ''}${errorMessage(error)}` }
}

function refuse(response: ServerResponse, { status, text }: Refusal): void {
  if (response.headersSent || response.destroyed) return
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(text)
}
