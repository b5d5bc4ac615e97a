import { type Clock } from '../../base/clock.ts'
import { type HealthCheck } from '../../model/task.ts'
import { type ProbeResult } from './probe.ts'
import { type HealthState, stepHealth } from './step.ts'

/** First wait of the quick tries. A command costs a process inside the container each time. */
const firstRetryMs = { http: 10, tcp: 10, command: 100 } as const

/** What a checker watches and whom it tells. */
export interface CheckerOptions {
  readonly check: HealthCheck
  readonly initial: HealthState
  readonly probe: (options: { readonly signal: AbortSignal }) => Promise<ProbeResult>
  readonly onReport: (health: 'healthy' | 'unhealthy') => void
  readonly onKill: (message: string) => void
  readonly clock: Clock
}

/** Asks at once, and again as {@link stepHealth} says, until closed or until the task is to be killed. */
export function openHealthChecker(options: CheckerOptions): { readonly close: () => void } {
  const { check, clock } = options
  const closing = new AbortController()
  let state = options.initial
  let cancelNext: () => void = () => undefined
  const ask = async () => {
    const result = await probeInTime(options, closing.signal)
    if (closing.signal.aborted) return
    const policy = { ...check, firstRetryMs: firstRetryMs[check.probe.kind] }
    const step = stepHealth(policy, state, { kind: result.kind, atMs: clock.monotonicMs() })
    state = step.state
    if (step.report !== undefined) options.onReport(step.report)
    if (closing.signal.aborted) return
    if (step.next.kind === 'check') cancelNext = clock.after(step.next.inMs, () => void ask())
    else options.onKill(killMessage(state.consecutiveFailures, result))
  }
  void ask()
  return {
    close: () => {
      closing.abort()
      cancelNext()
    },
  }
}

async function probeInTime({ check, probe, clock }: CheckerOptions, closed: AbortSignal): Promise<ProbeResult> {
  const late = new AbortController()
  const cancel = clock.after(check.timeoutMs, () => late.abort())
  try {
    return await probe({ signal: AbortSignal.any([late.signal, closed]) })
  } finally {
    cancel()
  }
}

function killMessage(failures: number, result: ProbeResult): string {
  const reason = result.kind === 'failed' ? `: ${result.reason}` : ''
  return `the health check failed ${failures} times in a row${reason}`
}
