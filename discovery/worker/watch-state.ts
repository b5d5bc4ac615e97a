/** What was seen of a DNS server since the last look. */
export interface Seen {
  /** Threads that showed no sign of life, though there was a question for them. */
  readonly silent: number
  /** It has changes to apply: a million names keep it busy for seconds. */
  readonly busy: boolean
}

/** What is known of a server that is looked at again and again. */
export interface WatchState {
  /** Looks in a row at which it was silent. */
  readonly silentLooks: number
  /** It answered since it was started last. */
  readonly proven: boolean
  /** Starts since it answered last. */
  readonly restarts: number
}

/** A server that was just started. */
export const newlyStarted: WatchState = { silentLooks: 0, proven: false, restarts: 0 }

/** Looks in a row without a sign of life until it counts as hung; one each second. */
const silentLooksLimit = 3

/** The same while it applies changes. */
const busyLooksLimit = 60

/**
 * The next state, and whether the server is to be started anew. Looks are counted, not seconds: when the machine sleeps or
 * is too busy, the one who looks does not look either. Where starting anew did not help, something keeps questions from
 * the server (a firewall), and starting again would not help either: once only, until an answer was seen.
 */
export function watchStep(
  state: WatchState,
  { silent, busy }: Seen,
): { readonly state: WatchState; readonly hung: boolean } {
  if (silent === 0) return { state: { silentLooks: 0, proven: true, restarts: 0 }, hung: false }
  const silentLooks = state.silentLooks + 1
  const limit = busy ? busyLooksLimit : silentLooksLimit
  if (silentLooks < limit || state.restarts > 0) return { state: { ...state, silentLooks }, hung: false }
  return { state: { silentLooks: 0, proven: false, restarts: state.restarts + 1 }, hung: true }
}
