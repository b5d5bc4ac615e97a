import { setTimeout as sleepMs } from 'node:timers/promises'

/** Time as an argument, so that tests never sleep. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch: for what people read; it may jump. */
  nowMs(): number
  /** Milliseconds since some start; never goes back: for deadlines and durations. */
  monotonicMs(): number
  /** Resolves after `ms`. @throws AbortError when `signal` aborts first */
  sleep(ms: number, options: { readonly signal: AbortSignal }): Promise<void>
  /** Calls `task` once after `ms`; the returned function cancels it. Does not keep the process alive. */
  after(ms: number, task: () => void): () => void
}

/** The machine's clock. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, { signal }) => {
    await sleepMs(ms, undefined, { signal })
  },
  after: (ms, task) => {
    const timer = setTimeout(task, ms)
    timer.unref()
    return () => clearTimeout(timer)
  },
}
