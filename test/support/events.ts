import { type Api, isRecord } from '../../core/cli/api.ts'

/** Longest wait for an event. */
const limitMs = 30_000

/**
 * Subscribes to the services scheduler's events; `promise` resolves to when a task of the app was told to run, in
 * milliseconds since the epoch. Resolves itself once the subscription stands, so that nothing is missed.
 */
export async function runningAt(api: Api, app: string): Promise<{ readonly promise: Promise<number> }> {
  const abort = new AbortController()
  const url = new URL('/v2/events?event_type=status_update_event', api.url)
  const response = await fetch(url, { signal: abort.signal, headers: { accept: 'text/event-stream' } })
  const timer = setTimeout(() => abort.abort(new Error(`no task of ${app} ran within ${limitMs} ms`)), limitMs)
  const wait = async () => {
    let rest = ''
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      if (lines.some((line) => isRunning(line, app))) return performance.timeOrigin + performance.now()
    }
    throw new Error('the stream of events ended')
  }
  const promise = wait().finally(() => {
    clearTimeout(timer)
    abort.abort()
  })
  return { promise }
}

function isRunning(line: string, app: string): boolean {
  if (!line.startsWith('data:')) return false
  const event: unknown = JSON.parse(line.slice('data:'.length))
  return isRecord(event) && event['appId'] === `/${app}` && event['taskStatus'] === 'TASK_RUNNING'
}
