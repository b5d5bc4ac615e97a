import { readFileSync } from 'node:fs'
import { AppError, hasCode } from '../../base/errors.ts'
import { type Api, isRecord } from '../api.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { targetApi } from './target.ts'
import { waitForDeployment } from './wait.ts'

/** Options of the commands that deploy. */
export interface WaitOptions {
  readonly wait: boolean
}

/** Options of commands that may interrupt a deployment. */
export interface ForceOptions {
  readonly force: boolean
}

/** `weft app add FILE`. */
export async function addApp(globals: GlobalOptions & WaitOptions, file: string): Promise<void> {
  const api = targetApi(globals)
  const answer = await api.send('POST', '/v2/apps', parseFile(file))
  await finish({ api, globals, what: 'deployed' }, answer.headers.get('marathon-deployment-id'), answer.body)
}

/** `weft app scale ID INSTANCES`. */
export async function scaleApp(
  globals: GlobalOptions & WaitOptions & ForceOptions,
  id: string,
  instances: string,
): Promise<void> {
  if (!/^\d{1,6}$/.test(instances)) throw new AppError('ERR_CLI_USAGE', `"${instances}" is not a number of instances`)
  const api = targetApi(globals)
  const answer = await api.send('PUT', `${appPath(id)}?force=${globals.force}`, { instances: Number(instances) })
  await finish({ api, globals, what: `scaled to ${instances}` }, deploymentOf(answer.body), {
    ...toRecord(answer.body),
    id,
  })
}

/** `weft app remove ID`: also in the middle of a deployment, which it ends. */
export async function removeApp(globals: GlobalOptions & WaitOptions, id: string): Promise<void> {
  const api = targetApi(globals)
  const answer = await api.send('DELETE', `${appPath(id)}?force=true`)
  await finish({ api, globals, what: 'removed' }, deploymentOf(answer.body), { ...toRecord(answer.body), id })
}

/** `weft app list`. */
export async function listApps(globals: GlobalOptions): Promise<void> {
  const body = toRecord(await targetApi(globals).get('/v2/apps'))
  const apps = Array.isArray(body['apps']) ? body['apps'].filter(isRecord) : []
  print(apps, () => formatTable(['ID', 'INSTANCES', 'RUNNING', 'HEALTHY', 'CPUS', 'MEM'], apps.map(appRow)), globals)
}

/** `weft app show ID`. */
export async function showApp(globals: GlobalOptions, id: string): Promise<void> {
  const body = await targetApi(globals).get(appPath(id))
  const app = toRecord(toRecord(body)['app'])
  print(app, () => JSON.stringify(app, undefined, 2), globals)
}

interface Finish {
  readonly api: Api
  readonly globals: GlobalOptions & WaitOptions
  readonly what: string
}

async function finish({ api, globals, what }: Finish, deployment: string | null, body: unknown): Promise<void> {
  if (globals.wait && deployment !== null) await waitForDeployment(api, deployment)
  print(body, () => `${String(toRecord(body)['id'])} ${globals.wait ? what : 'accepted'}`, globals)
}

function appRow(app: Record<string, unknown>): readonly string[] {
  return ['id', 'instances', 'tasksRunning', 'tasksHealthy', 'cpus', 'mem'].map((key) => String(app[key] ?? '-'))
}

function appPath(id: string): string {
  const path = id.replace(/^\/+/, '').split('/').map(encodeURIComponent).join('/')
  if (path === '') throw new AppError('ERR_CLI_USAGE', 'an app id is a path like /web')
  return `/v2/apps/${path}`
}

function deploymentOf(body: unknown): string | null {
  const id = toRecord(body)['deploymentId']
  return typeof id === 'string' ? id : null
}

function toRecord(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {}
}

function parseFile(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file === '-' ? 0 : file, 'utf8'))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw new AppError('ERR_CLI_USAGE', `no file "${file}"`, { cause: error })
    if (error instanceof SyntaxError) throw new AppError('ERR_CLI_USAGE', `"${file}" is not JSON: ${error.message}`)
    throw error
  }
}
