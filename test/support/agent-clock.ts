import { type Clock } from '../../core/base/clock.ts'

/** A clock that a test moves. */
export interface ManualClock extends Clock {
  /** Runs what falls due within `ms`, in order, letting promises settle in between. */
  advance(ms: number): Promise<void>
}

/** Opens one at time 0 (wall clock: 1,000,000 ms). */
export function openManualClock(): ManualClock {
  let now = 0
  let timers: readonly { readonly dueMs: number; readonly task: () => void }[] = []
  const after = (ms: number, task: () => void) => {
    const timer = { dueMs: now + ms, task }
    timers = [...timers, timer]
    return () => {
      timers = timers.filter((each) => each !== timer)
    }
  }
  const settle = async () => {
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
  }
  const advance = async (ms: number) => {
    const end = now + ms
    await settle()
    for (;;) {
      const next = timers.filter(({ dueMs }) => dueMs <= end).toSorted((a, b) => a.dueMs - b.dueMs)[0]
      if (next === undefined) break
      now = next.dueMs
      timers = timers.filter((each) => each !== next)
      next.task()
      await settle()
    }
    now = end
  }
  return {
    nowMs: () => 1_000_000 + now,
    monotonicMs: () => now,
    sleep: (ms) => new Promise((resolve) => after(ms, resolve)),
    after,
    advance,
  }
}
