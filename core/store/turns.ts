/** Those who want one thing, one after another in the order in which they came. */
export interface Turns {
  /**
   * Waits for its turn, then runs `task`, which hands its turn on by calling `leave`; a task that fails has left.
   * @throws what `task` throws, or the signal's reason when it aborts while waiting
   */
  take<T>(task: (turn: Turn) => Promise<T>, signal: AbortSignal): Promise<T>
}

/** A turn that has come. */
export interface Turn {
  readonly signal: AbortSignal
  /** Lets the next one in; further calls do nothing. */
  readonly leave: () => void
}

/** Opens a queue that nobody is in. */
export function openTurns(): Turns {
  let tail: Promise<void> = Promise.resolve()
  const take = async <T>(task: (turn: Turn) => Promise<T>, signal: AbortSignal): Promise<T> => {
    const before = tail
    const { promise, resolve: leave } = Promise.withResolvers<void>()
    tail = promise
    try {
      await orAborted(before, signal)
      return await task({ signal, leave })
    } catch (error) {
      void before.then(leave) // who gave up while waiting must not let the next one overtake
      throw error
    }
  }
  return { take }
}

/** Waits for `promise`. @throws the signal's reason when that is first */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const leave = () => reject(signal.reason)
    signal.addEventListener('abort', leave, { once: true })
    const done = () => signal.removeEventListener('abort', leave)
    promise.then(resolve, reject).finally(done)
  })
}
