import { AppError } from '../../base/errors.ts'
import { type Api, isRecord } from '../api.ts'

/** How long a deployment may take before the command gives the reasons and ends. */
const limitMs = 120_000

/** Server-sent events of the services scheduler, one parsed JSON object after another, until aborted. */
async function* events(api: Api, signal: AbortSignal): AsyncGenerator<Record<string, unknown>> {
  const response = await fetch(new URL('/v2/events', api.url), { signal, headers: { accept: 'text/event-stream' } })
  if (response.body === null) return
  let rest = ''
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (!line.startsWith('data:')) continue
      const value: unknown = JSON.parse(line.slice('data:'.length))
      if (isRecord(value)) yield value
    }
  }
}

/**
 * Resolves when the deployment is over and its last version has reached every node.
 * @throws ERR_CLI_DEPLOYMENT with what each waiting task waits for, after two minutes
 */
export async function waitForDeployment(api: Api, id: string): Promise<void> {
  const aborter = new AbortController()
  const timer = setTimeout(() => aborter.abort(new Error('time-out')), limitMs)
  try {
    while ((await follow(api, id, aborter.signal)) === 'stream-ended') {
      // the master that had the stream has gone: the next one goes on with the deployment
    }
    await converge(api)
  } catch (error) {
    if (aborter.signal.aborted) throw await stuck(api, id)
    throw error
  } finally {
    clearTimeout(timer)
    aborter.abort()
  }
}

/** @throws ERR_CLI_DEPLOYMENT when it failed */
async function follow(api: Api, id: string, signal: AbortSignal): Promise<'done' | 'stream-ended'> {
  const stream = events(api, signal)
  const next = () => stream.next().catch(() => undefined) // a broken stream
  const first = next() // subscribed before the list is read, so that no end is missed
  if (!(await isDeploying(api, id))) return 'done'
  for (let event = await first; event !== undefined && !event.done; event = await next()) {
    if (event.value['id'] === id && String(event.value['eventType']).startsWith('deployment_success')) return 'done'
    if (event.value['id'] === id && event.value['eventType'] === 'deployment_failed') throw await stuck(api, id)
    if (!(await isDeploying(api, id))) return 'done'
  }
  signal.throwIfAborted()
  return 'stream-ended'
}

async function isDeploying(api: Api, id: string): Promise<boolean> {
  const list = await api.get('/v2/deployments')
  return Array.isArray(list) && list.some((deployment) => isRecord(deployment) && deployment['id'] === id)
}

async function converge(api: Api): Promise<void> {
  await api.get('/weft/v1/converge?timeoutMs=10000')
}

async function stuck(api: Api, id: string): Promise<AppError> {
  const queue = await api.get('/v2/queue')
  const text = `deployment ${id} is not done; what waits, and why: ${JSON.stringify(queue, undefined, 2)}`
  return new AppError('ERR_CLI_DEPLOYMENT', text)
}
