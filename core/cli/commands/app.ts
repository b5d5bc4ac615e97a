import { AppError } from '../../base/errors.ts'
import { type Api, isRecord } from '../api.ts'
import { rowsOf } from '../deploying/progress.ts'
import { idPath } from '../deploying/wanted.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { finish, type ForceOptions, type WaitOptions } from './finish.ts'
import { targetApi } from './target.ts'

type DeployOptions = GlobalOptions & WaitOptions & ForceOptions
type Row = Record<string, unknown>

/** `weft app scale ID INSTANCES`. */
export async function scaleApp(options: DeployOptions, id: string, instances: string): Promise<void> {
  if (!/^\d{1,6}$/.test(instances)) throw new AppError('ERR_CLI_USAGE', `"${instances}" is not a number of instances`)
  await change(options, { id, body: { instances: Number(instances) }, what: `scaled to ${instances}` })
}

/** `weft app stop ID`: no instances; the app stays, and can be scaled again. */
export async function stopApp(options: DeployOptions, id: string): Promise<void> {
  await change(options, { id, body: { instances: 0 }, what: 'stopped' })
}

/** `weft app rollback ID [VERSION]`: to the one before, when none is named. */
export async function rollBackApp(options: DeployOptions, id: string, version?: string): Promise<void> {
  const api = targetApi(options)
  const wanted = version ?? (await versionsOf(api, id))[1]
  if (wanted === undefined) {
    throw new AppError('ERR_CLI_NO_VERSION', `${id} has had one version only: there is nothing to go back to`)
  }
  await change(options, { id, body: { version: wanted }, what: `is what it was at ${wanted}` })
}

interface Change {
  readonly id: string
  readonly body: unknown
  readonly what: string
}

/** Of an app that is there: a typing error makes no new one. */
async function change(options: DeployOptions, { id, body, what }: Change): Promise<void> {
  const api = targetApi(options)
  await requireApp(api, id)
  const answer = await api.send('PUT', `${idPath('apps', id)}?force=${options.force}`, body)
  await finish({ api, options, what: `${id} ${what}`, body: { ...toRecord(answer.body), id } })
}

/** `weft app restart ID`: new instances for old, by the upgrade strategy. */
export async function restartApp(options: DeployOptions, id: string): Promise<void> {
  const api = targetApi(options)
  const answer = await api.send('POST', `${idPath('apps', id)}/restart?force=${options.force}`)
  await finish({ api, options, what: `${id} restarted`, body: { ...toRecord(answer.body), id } })
}

/** `weft app remove ID`: also in the middle of a deployment, which it ends. */
export async function removeApp(options: GlobalOptions & WaitOptions, id: string): Promise<void> {
  const api = targetApi(options)
  const answer = await api.send('DELETE', `${idPath('apps', id)}?force=true`)
  await finish({ api, options, what: `${id} removed`, body: { ...toRecord(answer.body), id } })
}

/** `weft app list`. */
export async function listApps(globals: GlobalOptions): Promise<void> {
  const body = toRecord(await targetApi(globals).get('/v2/apps'))
  const apps = rowsOf(body['apps'])
  const head = ['ID', 'INSTANCES', 'RUNNING', 'HEALTHY', 'CPUS', 'MEM', 'DEPLOYMENT']
  print(apps, () => formatTable(head, apps.map(appRow)), globals)
}

function appRow(app: Row): readonly string[] {
  const keys = ['id', 'instances', 'tasksRunning', 'tasksHealthy', 'cpus', 'mem']
  return [...keys.map((key) => String(app[key] ?? '-')), String(rowsOf(app['deployments'])[0]?.['id'] ?? '-')]
}

/** `weft app show ID`. */
export async function showApp(globals: GlobalOptions, id: string): Promise<void> {
  const body = await targetApi(globals).get(idPath('apps', id))
  const app = toRecord(toRecord(body)['app'])
  print(app, () => JSON.stringify(app, undefined, 2), globals)
}

/** `weft app versions ID`: the newest first. */
export async function listVersions(globals: GlobalOptions, id: string): Promise<void> {
  const versions = await versionsOf(targetApi(globals), id)
  print(versions, () => versions.map((version, i) => (i === 0 ? `${version}  (now)` : version)).join('\n'), globals)
}

async function versionsOf(api: Api, id: string): Promise<readonly string[]> {
  const { versions } = toRecord(await api.get(`${idPath('apps', id)}/versions`))
  return Array.isArray(versions) ? versions.map(String) : []
}

/** An app as the API tells it. @throws ERR_CLI_REFUSED when there is none, naming near ones */
export async function requireApp(api: Api, id: string): Promise<Row> {
  const path = idPath('apps', id)
  const { status, body } = await api.request('GET', path)
  if (status === 404) {
    const all = rowsOf(toRecord(await api.get('/v2/apps'))['apps']).map((app) => String(app['id']))
    const last = id.split('/').at(-1) ?? id
    const near = all.filter((other) => other.includes(last)).slice(0, 5)
    const advice = near.length === 0 ? 'weft app list shows all' : `did you mean ${near.join(' or ')}?`
    throw new AppError('ERR_CLI_REFUSED', `there is no app ${id}: ${advice}`)
  }
  return toRecord(toRecord(body)['app'])
}

function toRecord(value: unknown): Row {
  return isRecord(value) ? value : {}
}
