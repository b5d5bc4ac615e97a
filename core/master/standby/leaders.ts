import { type Clock } from '../../base/clock.ts'
import { type Store } from '../../store/store.ts'
import { type Candidate, parseCandidate } from './candidate.ts'

/** Who leads, as a standby knows it. */
export interface Leaders {
  /** The store's word, which is late by up to a lease when a leader died; undefined: nobody leads, or we do. */
  named(): Candidate | undefined
  /** Who certainly serves now: the one that the store names, while we are connected to it; or we ourselves. */
  serving(): Candidate | undefined
  /**
   * Waits until somebody serves. After `timeoutMs`: whom the store names, if it names anybody.
   * @throws AbortError
   */
  wait(options: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<Candidate | undefined>
  /** The connection to the one that the store names is there, or is gone. */
  reached(candidate: Candidate, state: 'connected' | 'lost'): void
  /** We lead and serve. */
  leadOurselves(): void
  /** Calls now, and whenever the store names another; the returned function ends it. */
  onNamed(listener: (candidate: Candidate | undefined) => void): () => void
}

/** Watches the store until `signal` aborts. */
export function openLeaders(
  { store, self, clock }: { readonly store: Store; readonly self: Candidate; readonly clock: Clock },
  { signal }: { readonly signal: AbortSignal },
): Leaders {
  let named: Candidate | undefined
  let connectedTo: string | undefined
  let leading = false
  const listeners = new Set<(candidate: Candidate | undefined) => void>()
  const waiters = new Set<() => void>()
  const serving = () => {
    if (leading) return self
    return named !== undefined && named.id === connectedTo ? named : undefined
  }
  const wake = () => {
    if (serving() !== undefined) for (const waiter of [...waiters]) waiter()
  }
  const name = (text: string | undefined) => {
    const candidate = parseCandidate(text)
    const next = candidate?.id === self.id ? undefined : candidate
    if (next?.id === named?.id) return
    named = next
    for (const listener of [...listeners]) listener(named)
  }
  const watch = async () => {
    for await (const text of store.watchLeader({ signal })) name(text)
  }
  void watch().catch(() => undefined) // ERR_STORE_CLOSED at the end; the last word stands
  const wait: Leaders['wait'] = ({ timeoutMs, signal: waiting }) =>
    new Promise((resolve, reject) => {
      waiting.throwIfAborted()
      const finish = (settle: () => void) => {
        waiters.delete(look)
        cancel()
        waiting.removeEventListener('abort', abort)
        settle()
      }
      const look = () => finish(() => resolve(serving() ?? named))
      const abort = () => finish(() => reject(waiting.reason))
      const cancel = clock.after(timeoutMs, look)
      waiting.addEventListener('abort', abort, { once: true })
      waiters.add(look)
      if (serving() !== undefined) look()
    })
  return {
    named: () => named,
    serving,
    wait,
    reached: ({ id }, state) => {
      if (state === 'connected') connectedTo = id
      else if (connectedTo === id) connectedTo = undefined
      wake()
    },
    leadOurselves: () => {
      leading = true
      wake()
    },
    onNamed: (listener) => {
      listeners.add(listener)
      listener(named)
      return () => listeners.delete(listener)
    },
  }
}
