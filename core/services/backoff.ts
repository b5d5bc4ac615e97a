import { type AppDefinition } from './app.ts'

/** What of an app decides how long it waits after failures. */
export type BackoffPolicy = Pick<AppDefinition, 'backoffSeconds' | 'backoffFactor' | 'maxLaunchDelaySeconds'>

/** Launches of an app wait until `untilMs` (monotonic). */
export interface Backoff {
  readonly delayMs: number
  readonly untilMs: number
}

/** No failure yet. */
export const noBackoff: Backoff = { delayMs: 0, untilMs: 0 }

/** An instance that served this long did start well: its end begins a new series of failures. */
const provenMs = 10_000

/**
 * After the unexpected end of an instance that had run for `ranMs`. Instances that end while the delay of an earlier end
 * still runs add nothing: when many of them end at once, that is one failure and not many.
 */
export function backoffAfterFailure(
  backoff: Backoff,
  policy: BackoffPolicy,
  { ranMs, nowMs }: { readonly ranMs: number; readonly nowMs: number },
): Backoff {
  if (nowMs < backoff.untilMs) return backoff
  const maxMs = policy.maxLaunchDelaySeconds * 1000
  const isFirst = backoff.delayMs === 0 || ranMs > Math.max(provenMs, backoff.delayMs)
  const grown = isFirst ? policy.backoffSeconds * 1000 : backoff.delayMs * policy.backoffFactor
  const delayMs = Math.min(grown, maxMs)
  return { delayMs, untilMs: nowMs + delayMs }
}
