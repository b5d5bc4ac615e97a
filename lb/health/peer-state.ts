/** What a node knows of another one that carries backends. Times are monotonic, in milliseconds. */
export type PeerState =
  | { readonly kind: 'up'; readonly sinceMs: number; readonly misses: number; readonly needed: number }
  /** Bypassed. `answers` in a row so far, of the `needed` ones. */
  | { readonly kind: 'down'; readonly sinceMs: number; readonly answers: number; readonly needed: number }

/** What became of a probe. */
export interface PeerEvent {
  readonly kind: 'answer' | 'silence'
  readonly nowMs: number
}

/** Probes in a row without answer that make a peer down. */
export const missesToFail = 3
/** Answers in a row that bring it up again; doubled each time that it fails again soon. */
const answersToReturn = { first: 5, most: 80 } as const
/** A peer that has been up for less has returned too early. */
const steadyMs = 60_000

/** A peer of which nothing is known yet counts as up. */
export function newPeer(nowMs: number): PeerState {
  return { kind: 'up', sinceMs: nowMs - steadyMs, misses: 0, needed: answersToReturn.first }
}

/** The next state. One that comes and goes is taken back later each time, so that connections don't flap with it. */
export function stepPeer(state: PeerState, { kind, nowMs }: PeerEvent): PeerState {
  if (state.kind === 'down') {
    if (kind === 'silence') return { ...state, answers: 0 }
    const answers = state.answers + 1
    return answers < state.needed
      ? { ...state, answers }
      : { kind: 'up', sinceMs: nowMs, misses: 0, needed: state.needed }
  }
  if (kind === 'answer') return state.misses === 0 ? state : { ...state, misses: 0 }
  const misses = state.misses + 1
  if (misses < missesToFail) return { ...state, misses }
  const isSteady = nowMs - state.sinceMs >= steadyMs
  const needed = isSteady ? answersToReturn.first : Math.min(answersToReturn.most, state.needed * 2)
  return { kind: 'down', sinceMs: nowMs, answers: 0, needed }
}
