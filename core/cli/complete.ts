import { get } from 'node:http'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { clusterDirectory } from './up/layout.ts'

/** From the start of the process: a key was pressed, and nobody waits longer for a list of names. */
const limitMs = 150

type Row = Readonly<Record<string, unknown>>

/** Where the names of a kind are, and how they are written. */
interface Source {
  readonly path: string
  /** The list is under this key of the answer; absent: the answer is the list. */
  readonly key?: string
  readonly name: (row: Row) => unknown
}

const idOf = ({ id }: Row) => id
const nameOf = ({ name }: Row) => name

const sources: Readonly<Record<string, Source>> = {
  app: { path: '/v2/apps', key: 'apps', name: idOf },
  pod: { path: '/v2/pods', name: idOf },
  group: { path: '/v2/groups', key: 'groups', name: idOf },
  deployment: { path: '/v2/deployments', name: idOf },
  job: { path: '/v1/jobs', name: idOf },
  task: { path: '/weft/v1/tasks', key: 'tasks', name: idOf },
  network: { path: '/weft/v1/networks', key: 'networks', name: nameOf },
  node: { path: '/weft/v1/nodes', key: 'nodes', name: nameOf },
  vip: { path: '/weft/v1/vips', key: 'vips', name: ({ name, framework }) => `${name}.${framework}` },
  policy: { path: '/weft/v1/policies', key: 'policies', name: nameOf },
}

/**
 * `weft __complete KIND [--cluster NAME] [--master URL]`, for shells: the names of a kind, one in a line, within 150 ms of
 * the process's start, or nothing.
 */
export async function complete(args: readonly string[]): Promise<void> {
  const [kind = ''] = args
  const source = sources[kind]
  const option = (flag: string) => (args.includes(flag) ? args[args.indexOf(flag) + 1] : undefined)
  const urls = option('--master') ?? process.env['WEFT_MASTER'] ?? apiOf(option('--cluster') ?? 'local')
  const url = urls?.split(',')[0]
  if (source === undefined || url === undefined || !URL.canParse(url)) return
  const answer = parse(await read(new URL(source.path, url)))
  const list = source.key === undefined ? answer : isRow(answer) ? answer[source.key] : undefined
  const names = Array.isArray(list) ? list.filter(isRow).map(source.name) : []
  process.stdout.write(names.map((name) => `${String(name)}\n`).join(''))
}

/** The record is not checked here: that takes half of the time that there is. */
function apiOf(cluster: string): string | undefined {
  try {
    const record = parse(readFileSync(join(clusterDirectory(cluster), 'cluster.json'), 'utf8'))
    return isRow(record) && typeof record['api'] === 'string' ? record['api'] : undefined
  } catch {
    return undefined // ENOENT: no such cluster
  }
}

/** Empty when there is no answer in time. */
function read(url: URL): Promise<string> {
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(Math.max(1, Math.floor(limitMs - performance.now())))
    const request = get(url, { signal, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => resolve(response.statusCode === 200 ? text : ''))
      response.on('error', () => resolve(''))
    })
    request.on('error', () => resolve(''))
  })
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // no answer, or a proxy's page
  }
}

function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
