import { openBackoff } from '../base/backoff.ts'
import { type Clock } from '../base/clock.ts'
import { errorMessage } from '../base/errors.ts'
import { type Logger } from '../base/log.ts'

/** Why a round runs. `audit`: read the real thing back and compare all of it; also the round after a failed one. */
export type RoundReason = 'trigger' | 'audit'

/** How a loop runs its rounds. */
export interface LoopOptions {
  /** One round. It throws when something of it failed; the next round is then an audit, after a backoff. */
  readonly run: (signal: AbortSignal, reason: RoundReason) => Promise<void>
  /** Longest time between two audits; undefined: audits come only after failures. */
  readonly auditEveryMs?: number
  readonly clock: Clock
  readonly log: Logger
}

/** A loop that brings something to its wanted state. */
export interface ReconcileLoop {
  /** Something changed: run soon. Calls during a round, however many, make one more round. */
  trigger(reason?: RoundReason): void
  /** Resolves when no round runs and none is due at once (a failed one that waits for its backoff is not idle). */
  idle(): Promise<void>
  /** Aborts the running round and waits for it. */
  close(): Promise<void>
}

interface LoopState {
  pending: RoundReason | undefined
  running: Promise<void> | undefined
  cancelAudit: () => void
  /** Set while a failed round waits for its backoff. */
  cancelRetry: (() => void) | undefined
}

/**
 * Opens a loop: one round at a time, at most one pending, whatever triggers it. Nothing runs before the first trigger or
 * the first audit. A trigger during a backoff runs at once: the change may be what repairs the failure.
 */
export function openLoop(options: LoopOptions): ReconcileLoop {
  const { clock, log, auditEveryMs } = options
  const abort = new AbortController()
  const backoff = openBackoff(100, 10_000)
  const idleWaiters: (() => void)[] = []
  const state: LoopState = {
    pending: undefined,
    running: undefined,
    cancelAudit: () => undefined,
    cancelRetry: undefined,
  }
  const scheduleAudit = () => {
    state.cancelAudit()
    if (auditEveryMs !== undefined) state.cancelAudit = clock.after(auditEveryMs, () => trigger('audit'))
  }
  const fail = (error: unknown) => {
    const retryMs = backoff.next()
    log.warn({ reason: errorMessage(error), retryMs: Math.round(retryMs) }, 'reconcile round failed')
    state.cancelRetry = clock.after(retryMs, () => trigger('audit'))
  }
  const round = async (reason: RoundReason) => {
    try {
      await options.run(abort.signal, reason)
      backoff.reset()
    } catch (error) {
      if (!abort.signal.aborted) fail(error)
    }
    if (reason === 'audit' && !abort.signal.aborted) scheduleAudit()
  }
  const drain = async () => {
    while (state.pending !== undefined && !abort.signal.aborted) {
      const reason = state.cancelRetry === undefined ? state.pending : 'audit'
      state.pending = undefined
      state.cancelRetry?.()
      state.cancelRetry = undefined
      await round(reason)
    }
    state.running = undefined
    if (state.cancelRetry === undefined || abort.signal.aborted) for (const wake of idleWaiters.splice(0)) wake()
  }
  const trigger = (reason: RoundReason = 'trigger') => {
    if (abort.signal.aborted) return
    if (state.pending !== 'audit') state.pending = reason
    state.running ??= Promise.resolve().then(drain)
  }
  const idle = () =>
    state.running === undefined && state.cancelRetry === undefined
      ? Promise.resolve()
      : new Promise<void>((resolve) => idleWaiters.push(resolve))
  const close = async () => {
    abort.abort()
    state.cancelAudit()
    state.cancelRetry?.()
    await state.running
    for (const wake of idleWaiters.splice(0)) wake()
  }
  scheduleAudit()
  return { trigger, idle, close }
}
