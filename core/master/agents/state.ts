/** Pings that may be missed in a row before an agent counts as unreachable. Source: mesos, src/master/constants.hpp. */
export const missedPingsLimit = 5

/**
 * Whether an agent can be talked to. `recovered`: in the registry of an earlier master, not back yet. In all states but
 * `unreachable` its tasks count as running.
 */
export type AgentState =
  | { readonly kind: 'recovered' | 'connected' | 'disconnected'; readonly missedPings: number }
  | { readonly kind: 'unreachable' }

/** What happens to an agent's connection. `ping-due` comes every ping interval, connected or not. */
export type AgentEvent = { readonly kind: 'registered' | 'session-lost' | 'ping-due' | 'pong' }

/** The next state. Source: reference/mesos-core.md, Agent liveness. */
export function stepAgent(state: AgentState, event: AgentEvent): AgentState {
  if (event.kind === 'registered') return { kind: 'connected', missedPings: 0 }
  if (state.kind === 'unreachable') return state
  switch (event.kind) {
    case 'session-lost':
      return state.kind === 'connected' ? { ...state, kind: 'disconnected' } : state
    case 'pong':
      return { ...state, missedPings: 0 }
    case 'ping-due':
      return state.missedPings + 1 >= missedPingsLimit
        ? { kind: 'unreachable' }
        : { ...state, missedPings: state.missedPings + 1 }
  }
}
