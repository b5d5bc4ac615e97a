import { closeSync, createReadStream } from 'node:fs'
import { type RequestListener, type ServerResponse } from 'node:http'
import { basename } from 'node:path'
import { AppError, errorMessage } from '../../base/errors.ts'
import { formatMetrics, type MetricFamily } from '../../base/metrics.ts'
import { type SandboxFiles } from './sandbox-files.ts'
import { type AgentView, containersView, metricsView, stateView } from './views.ts'

/** What the agent's HTTP interface tells. */
export interface AgentPages {
  readonly files: SandboxFiles
  readonly view: () => AgentView
}

/** Answers GET; a path that begins with `/slave(1)` is the same without it. */
export function servePages(pages: AgentPages): RequestListener {
  return (request, response) => {
    try {
      const url = new URL(request.url ?? '/', 'http://agent')
      const path = decodeURIComponent(url.pathname).replace(/^\/slave\(1\)/, '')
      if (request.method !== 'GET' && request.method !== 'HEAD')
        return refuse(response, 405, 'only GET is answered here')
      answer(pages, { path, query: url.searchParams }, response)
    } catch (error) {
      refuse(response, statusOf(error), errorMessage(error))
    }
  }
}

interface Asked {
  readonly path: string
  readonly query: URLSearchParams
}

function answer(pages: AgentPages, { path, query }: Asked, response: ServerResponse): void {
  if (path === '/metrics') {
    response.setHeader('Content-Type', 'text/plain; version=0.0.4')
    response.end(formatMetrics(metricsView(pages.view())))
  } else if (path === '/files/download') download(pages.files, pathOf(query), response)
  else {
    const page = documents[path]
    if (page === undefined) refuse(response, 404, `there is no ${path}`)
    else send(response, page(pages, query))
  }
}

/** What is answered as JSON. */
const documents: Readonly<Record<string, (pages: AgentPages, query: URLSearchParams) => unknown>> = {
  '/health': () => ({ healthy: true }),
  '/state': ({ view }) => stateView(view()),
  '/state.json': ({ view }) => stateView(view()),
  '/containers': ({ view }) => containersView(view()),
  '/metrics/snapshot': ({ view }) => metricsSnapshot(metricsView(view())),
  '/files/browse': ({ files }, query) => files.browse(pathOf(query)),
  '/files/read': ({ files }, query) => files.read(pathOf(query), range(query)),
}

function pathOf(query: URLSearchParams): string {
  const path = query.get('path') ?? ''
  if (path !== '') return path
  throw new AppError('ERR_AGENT_FILE_PATH', "Expecting 'path=value' in query.")
}

/** Mesos: an offset of -1, and none, ask for the size; a length of -1 is none. */
function range(query: URLSearchParams): { readonly offset?: number; readonly length?: number } {
  const number = (name: 'offset' | 'length') => {
    const text = query.get(name) ?? '-1'
    if (/^-?\d{1,15}$/.test(text) && Number(text) >= -1) return text === '-1' ? {} : { [name]: Number(text) }
    throw new AppError('ERR_AGENT_FILE_PATH', `${name} "${text}" must be a number`)
  }
  return { ...number('offset'), ...number('length') }
}

function download(files: SandboxFiles, path: string, response: ServerResponse): void {
  const { fd, size } = files.open(path)
  response.setHeader('Content-Type', 'application/octet-stream')
  response.setHeader('Content-Length', size)
  response.setHeader('Content-Disposition', `attachment; filename*=UTF-8''${encodeURIComponent(basename(path))}`)
  if (size === 0) {
    closeSync(fd)
    response.end()
    return
  }
  // A log may grow meanwhile: no more than was announced.
  const stream = createReadStream('', { fd, start: 0, end: size - 1 })
  stream.on('error', () => response.destroy())
  response.on('close', () => stream.destroy())
  stream.pipe(response)
}

/** Families without labels, under Mesos's kind of name. */
function metricsSnapshot(families: readonly MetricFamily[]): Readonly<Record<string, number>> {
  const entries = families.flatMap(({ name, samples }) =>
    samples.map(
      ({ labels = {}, value }) => [[name.replace('_', '/'), ...Object.values(labels)].join('/'), value] as const,
    ),
  )
  return Object.fromEntries(entries)
}

function statusOf(error: unknown): number {
  if (error instanceof URIError) return 400
  if (!(error instanceof AppError)) return 500
  return error.code === 'ERR_AGENT_FILE_UNKNOWN' ? 404 : 400
}

function send(response: ServerResponse, body: unknown): void {
  response.setHeader('Content-Type', 'application/json')
  response.end(JSON.stringify(body))
}

function refuse(response: ServerResponse, status: number, message: string): void {
  response.statusCode = status
  response.setHeader('Content-Type', 'text/plain; charset=utf-8')
  response.end(`${message}\n`)
}
