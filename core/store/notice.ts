/** One value that changes, and those who want to know each newest one. */
export interface Notice<T> {
  /** Equal to the present value: nothing happens. */
  set(value: T): void
  /** The present value, then every later one; a slow reader gets the newest only. Ends with the signal or `close`. */
  watch(signal: AbortSignal): AsyncIterable<T>
  close(): void
}

/** @returns a notice that says `value` until it is set */
export function openNotice<T>(value: T): Notice<T> {
  let present = value
  let closed = false
  let change = 0
  const sleepers = new Set<() => void>()
  const wakeAll = () => {
    for (const wake of [...sleepers]) wake()
  }
  const sleep = (signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      const wake = () => {
        sleepers.delete(wake)
        signal.removeEventListener('abort', wake)
        resolve()
      }
      sleepers.add(wake)
      signal.addEventListener('abort', wake, { once: true })
    })
  async function* watch(signal: AbortSignal): AsyncGenerator<T> {
    let seen = -1
    while (!closed && !signal.aborted) {
      if (seen === change) {
        await sleep(signal)
        continue
      }
      seen = change
      yield present
    }
  }
  const set = (next: T) => {
    if (next === present) return
    present = next
    change++
    wakeAll()
  }
  const close = () => {
    closed = true
    wakeAll()
  }
  return { set, watch, close }
}
