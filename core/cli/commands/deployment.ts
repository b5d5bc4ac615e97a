import { AppError } from '../../base/errors.ts'
import { type Api } from '../api.ts'
import { formatReasons, rowsOf } from '../deploying/progress.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { finish, followDeployment, type WaitOptions } from './finish.ts'
import { targetApi } from './target.ts'

type Row = Record<string, unknown>

/** `weft deployment list`: those that are not over. */
export async function listDeployments(globals: GlobalOptions): Promise<void> {
  const deployments = rowsOf(await targetApi(globals).get('/v2/deployments'))
  const row = (one: Row) => [
    String(one['id']),
    `${String(one['currentStep'])} of ${String(one['totalSteps'])}`,
    Array.isArray(one['affectedApps']) ? one['affectedApps'].join(' ') : '-',
    formatReasons(one['waitingFor'])[0] ?? '-',
  ]
  print(deployments, () => formatTable(['ID', 'STEP', 'APPS', 'WAITS FOR'], deployments.map(row)), globals)
}

/** `weft deployment show ID`: steps, and what waits for what. */
export async function showDeployment(globals: GlobalOptions, id: string): Promise<void> {
  const deployment = await requireDeployment(targetApi(globals), id)
  print(deployment, () => formatDeployment(deployment), globals)
}

function formatDeployment(deployment: Row): string {
  const steps = rowsOf(deployment['steps']).map((step, i) => {
    const mark = i + 1 === deployment['currentStep'] ? '>' : ' '
    const actions = rowsOf(step['actions']).map(({ action, app }) => `${String(action)} ${String(app)}`)
    return `${mark} ${i + 1}. ${actions.join(', ')}`
  })
  const reasons = formatReasons(deployment['waitingFor']).map((reason) => `  waits: ${reason}`)
  return [`deployment ${String(deployment['id'])}, since ${String(deployment['version'])}`, ...steps, ...reasons].join(
    '\n',
  )
}

/** `weft deployment wait ID`: exits with 1 when it was given up, or not done in time. */
export async function waitDeployment(options: GlobalOptions & { readonly timeout: string }, id: string): Promise<void> {
  const api = targetApi(options)
  await requireDeployment(api, id)
  await followDeployment(api, id, options)
  print({ id, done: true }, () => `deployment ${id} is done`, options)
}

/** `weft deployment rollback ID`: what it changed becomes what it was, by a new deployment. */
export async function rollBackDeployment(options: GlobalOptions & WaitOptions, id: string): Promise<void> {
  const api = targetApi(options)
  const { body } = await api.send('DELETE', `/v2/deployments/${encodeURIComponent(id)}`)
  await finish({ api, options, what: `deployment ${id} rolled back`, body })
}

/** `weft deployment cancel ID`: gives it up where it is. */
export async function cancelDeployment(globals: GlobalOptions, id: string): Promise<void> {
  await targetApi(globals).send('DELETE', `/v2/deployments/${encodeURIComponent(id)}?force=true`)
  print({ id, cancelled: true }, () => `deployment ${id} given up: a rolling update stays as far as it was`, globals)
}

/** @throws ERR_CLI_NO_DEPLOYMENT */
async function requireDeployment(api: Api, id: string): Promise<Row> {
  const all = rowsOf(await api.get('/v2/deployments'))
  const found = all.find((deployment) => deployment['id'] === id)
  if (found !== undefined) return found
  const others = all.map((deployment) => `\n  ${String(deployment['id'])}`).join('')
  const rest = others === '' ? 'none is under way' : `under way are:${others}`
  throw new AppError('ERR_CLI_NO_DEPLOYMENT', `deployment ${id} is over, or never was; ${rest}`)
}
