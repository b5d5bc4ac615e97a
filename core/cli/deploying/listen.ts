import { setTimeout as pause } from 'node:timers/promises'
import { type Api, isRecord } from '../api.ts'

/** Before a stream that broke is opened again: the master that had it may be gone. */
const againMs = 250

/** Server-sent events of the services, one JSON object after another, until the stream ends. @throws when it breaks */
export async function* readEvents(
  api: Api,
  types: readonly string[],
  { signal }: { readonly signal: AbortSignal },
): AsyncGenerator<Record<string, unknown>> {
  const query = types.map((type) => `event_type=${type}`).join('&')
  const url = new URL(`/v2/events?plan-format=light&${query}`, api.url)
  const response = await fetch(url, { signal, headers: { accept: 'text/event-stream' } })
  if (response.body === null) return
  yield {} // it is open
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

/** How a deployment ended, as its event says it. */
export type Ending = { readonly kind: 'success' } | { readonly kind: 'failed'; readonly reason: string }

/** An ear on one deployment. */
export interface Ear {
  ending(): Ending | undefined
  /** Resolves at the next event of the deployment, when the stream begins or breaks, or after `ms`. */
  next(ms: number): Promise<void>
}

const types = ['deployment_success', 'deployment_failed', 'deployment_step_success']

/** Listens until aborted; a stream that breaks is opened again. */
export function listenTo(api: Api, id: string, { signal }: { readonly signal: AbortSignal }): Ear {
  let ending: Ending | undefined
  let wake = () => {}
  const hear = (event: Record<string, unknown>) => {
    const plan = isRecord(event['plan']) ? event['plan']['id'] : undefined
    if (event['id'] === id && event['eventType'] === 'deployment_success') ending = { kind: 'success' }
    if (event['id'] === id && event['eventType'] === 'deployment_failed') {
      ending = { kind: 'failed', reason: String(event['reason'] ?? 'no reason was told') }
    }
    if (event['eventType'] === undefined || event['id'] === id || plan === id) wake()
  }
  const run = async () => {
    while (!signal.aborted) {
      try {
        for await (const event of readEvents(api, types, { signal })) hear(event)
      } catch {
        // Broken or aborted: the list of deployments is read all the same.
      }
      wake()
      await pause(againMs, undefined, { signal }).catch(() => undefined)
    }
  }
  void run()
  return {
    ending: () => ending,
    next: (ms) =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, ms)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      }),
  }
}
