import { type HealthCheck } from '../../model/task.ts'

/** What is known of a task's health. */
export interface HealthState {
  readonly verdict: 'unknown' | 'healthy' | 'unhealthy'
  /** It was healthy once: the grace period is over for good. */
  readonly hasPassed: boolean
  readonly consecutiveFailures: number
  readonly startedAtMs: number
  readonly lastCountedAtMs: number
  /** Last wait between quick tries. */
  readonly retryMs: number
}

/** A probe has come back. Times are of one monotonic clock. */
export type HealthEvent =
  | { readonly kind: 'passed'; readonly atMs: number }
  | { readonly kind: 'failed'; readonly atMs: number }

/** What follows from a probe. */
export interface HealthStep {
  readonly state: HealthState
  /** To be told: the verdict has changed. */
  readonly report?: 'healthy' | 'unhealthy'
  readonly next: { readonly kind: 'check'; readonly inMs: number } | { readonly kind: 'kill' }
}

/** Before the first probe, which is made at once. `healthy`: what an earlier agent had found. */
export function initialHealth(startedAtMs: number, healthy?: boolean): HealthState {
  return {
    verdict: healthy === undefined ? 'unknown' : healthy ? 'healthy' : 'unhealthy',
    hasPassed: healthy === true,
    consecutiveFailures: 0,
    startedAtMs,
    lastCountedAtMs: startedAtMs,
    retryMs: 0,
  }
}

/**
 * Quick tries until the first success (`firstRetryMs`, doubling up to the interval), so that a new task is served soon;
 * then one try each interval. A failure counts only after the grace period (or after a first success), and once an
 * interval at most: quick tries must not use up the allowed failures. Source: mesos, docs/health-checks.md.
 */
export function stepHealth(
  check: HealthCheck & { readonly firstRetryMs: number },
  state: HealthState,
  event: HealthEvent,
): HealthStep {
  if (event.kind === 'passed') {
    const after = {
      ...state,
      verdict: 'healthy',
      hasPassed: true,
      consecutiveFailures: 0,
      lastCountedAtMs: event.atMs,
    } as const
    return { state: after, ...changed(state, 'healthy'), next: { kind: 'check', inMs: check.intervalMs } }
  }
  const retryMs = Math.min(check.intervalMs, state.retryMs === 0 ? check.firstRetryMs : state.retryMs * 2)
  const wait = { kind: 'check', inMs: state.hasPassed ? check.intervalMs : retryMs } as const
  if (!counts(check, state, event.atMs)) return { state: { ...state, retryMs }, next: wait }
  const consecutiveFailures = state.consecutiveFailures + 1
  const after = { ...state, verdict: 'unhealthy', consecutiveFailures, lastCountedAtMs: event.atMs, retryMs } as const
  const limit = check.maxConsecutiveFailures
  const kill = limit > 0 && consecutiveFailures >= limit
  return { state: after, ...changed(state, 'unhealthy'), next: kill ? { kind: 'kill' } : wait }
}

function counts(check: HealthCheck, state: HealthState, atMs: number): boolean {
  if (state.hasPassed) return true
  return atMs - state.startedAtMs >= check.gracePeriodMs && atMs - state.lastCountedAtMs >= check.intervalMs
}

function changed(state: HealthState, verdict: 'healthy' | 'unhealthy'): { readonly report?: 'healthy' | 'unhealthy' } {
  return state.verdict === verdict ? {} : { report: verdict }
}
