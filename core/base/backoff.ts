/** Waiting times between attempts, each about twice the one before. */
export interface Backoff {
  /** How long to wait before the next attempt, in milliseconds. */
  next(): number
  /** An attempt succeeded: begin again at the smallest. */
  reset(): void
}

/**
 * Exponential backoff between `minMs` and `maxMs`, with jitter (half to all of it), so that a thousand clients that lost
 * one server do not come back in the same instant. `random` gives numbers from 0 to 1.
 */
export function openBackoff(minMs: number, maxMs: number, random: () => number = Math.random): Backoff {
  let attempt = 0
  return {
    next: () => {
      const ceiling = Math.min(maxMs, minMs * 2 ** attempt)
      attempt = Math.min(attempt + 1, 30)
      return ceiling / 2 + (ceiling / 2) * random()
    },
    reset: () => {
      attempt = 0
    },
  }
}
