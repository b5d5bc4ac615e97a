import { AppError, errorMessage, hasCode } from '../../base/errors.ts'
import { type Api, isRecord } from '../api.ts'
import { type Ear, listenTo } from '../deploying/listen.ts'
import {
  type AppProgress,
  appProgress,
  type DeploymentProgress,
  formatReasons,
  isComplete,
  type NodeProgress,
  podProgress,
  rowsOf,
} from '../deploying/progress.ts'

/** How a deployment is waited for. */
export interface WaitingOptions {
  /** When the command gives the reasons and ends; the deployment goes on. */
  readonly timeoutMs?: number
  /** Called with each look at the deployment. */
  readonly progress?: (progress: DeploymentProgress) => void
}

const defaultTimeoutMs = 120_000
/** Between two looks, when no event says to look sooner. */
const lookMs = 250
/** The event of the end may come a moment after the deployment has left the list. */
const endingMs = 500
/** Apps of one deployment that are looked at. */
const maxApps = 20

/** What every node has when a deployment is done; `missing`: nodes that lack it, because they are away. */
export interface Reached {
  readonly version: number
  readonly missing: readonly string[]
}

/**
 * Resolves when the deployment is over and its last version has reached every node.
 * @throws ERR_CLI_DEPLOYMENT when it was given up, and with what waits for what when the time is over
 */
export async function waitForDeployment(api: Api, id: string, options: WaitingOptions = {}): Promise<Reached> {
  const aborter = new AbortController()
  const endMs = performance.now() + (options.timeoutMs ?? defaultTimeoutMs)
  const ear = listenTo(api, id, { signal: aborter.signal })
  try {
    await ear.next(lookMs) // subscribed before the list is read, so that no end is missed
    await follow(api, { id, ear, endMs, progress: options.progress })
    const answer = await api.get('/weft/v1/converge?timeoutMs=10000')
    const { version, missing } = isRecord(answer) ? answer : {}
    return { version: Number(version), missing: rowsOf(missing).map(({ node }) => String(node)) }
  } finally {
    aborter.abort()
  }
}

interface Following {
  readonly id: string
  readonly ear: Ear
  readonly endMs: number
  readonly progress: WaitingOptions['progress']
}

async function follow(api: Api, { id, ear, endMs, progress }: Following): Promise<void> {
  const isStale = () => ear.ending() !== undefined
  for (let looks = 0; !isStale(); looks++) {
    const deployment = await readDeployment(api, id)
    if (deployment === undefined) {
      // Gone before it was ever seen: its event will not come again.
      if (looks > 0 && ear.ending() === undefined) await ear.next(endingMs)
      break
    }
    if (progress !== undefined) progress(await readProgress(api, id, deployment))
    if (performance.now() > endMs) throw stuck(id, deployment)
    await ear.next(lookMs)
  }
  const ending = ear.ending()
  if (ending?.kind === 'failed') {
    throw new AppError('ERR_CLI_DEPLOYMENT', `deployment ${id} was given up: ${ending.reason}`)
  }
}

type Row = Record<string, unknown>

/** Undefined: it is over. While no master leads it counts as going on. */
async function readDeployment(api: Api, id: string): Promise<Row | undefined> {
  try {
    return rowsOf(await api.get('/v2/deployments')).find((deployment) => deployment['id'] === id)
  } catch (error) {
    if (!hasCode(error, 'ERR_CLI_REFUSED') && !hasCode(error, 'ERR_CLI_UNREACHABLE')) throw error
    return { id, waitingFor: [{ app: 'the cluster', for: `a master (${errorMessage(error).split('\n')[0]})` }] }
  }
}

/** Everything that is shown of a deployment that goes on. */
async function readProgress(api: Api, id: string, deployment: Row): Promise<DeploymentProgress> {
  const ids = Array.isArray(deployment['affectedApps']) ? deployment['affectedApps'].map(String).slice(0, maxApps) : []
  const apps = await Promise.all(ids.map(async (app) => readApp(api, app)))
  const nodes = apps.some(isComplete) ? await readNodes(api) : undefined
  return {
    id,
    step: `${String(deployment['currentStep'] ?? '-')} of ${String(deployment['totalSteps'] ?? '-')}`,
    apps,
    ...(nodes === undefined ? {} : { nodes }),
    waitingFor: formatReasons(deployment['waitingFor']),
  }
}

async function readApp(api: Api, id: string): Promise<AppProgress> {
  const { body } = await api.request('GET', `/v2/apps${id}?embed=app.tasks`)
  if (isRecord(body) && isRecord(body['app'])) return appProgress(id, body['app'])
  const pod = await api.request('GET', `/v2/pods${id}::status`)
  return pod.status === 200 && isRecord(pod.body) ? podProgress(id, pod.body) : appProgress(id, undefined)
}

/** How many nodes have the present version. */
async function readNodes(api: Api): Promise<NodeProgress | undefined> {
  const [{ body: answer }, { body: list }] = await Promise.all([
    api.request('GET', '/weft/v1/converge?timeoutMs=0'),
    api.request('GET', '/weft/v1/nodes'),
  ])
  if (!isRecord(answer) || !isRecord(list)) return undefined
  const version = Number(answer['version'])
  const nodes = rowsOf(list['nodes'])
  const missing = rowsOf(answer['missing']).length
  return { version, nodes: nodes.length, reached: nodes.length - missing }
}

function stuck(id: string, deployment: Row): AppError {
  const reasons = formatReasons(deployment['waitingFor']).map((reason) => `  ${reason}`)
  const text = [
    `deployment ${id} is not done; what waits, and for what:`,
    ...(reasons.length === 0 ? ['  nothing that the master knows of'] : reasons),
    followAdvice(id),
  ]
  return new AppError('ERR_CLI_DEPLOYMENT', text.join('\n'))
}

/** What can be done about a deployment that goes on without the command. */
export function followAdvice(id: string): string {
  return `it goes on; follow it: weft deployment wait ${id}; go back: weft deployment rollback ${id}`
}
