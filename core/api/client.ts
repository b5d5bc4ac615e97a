import { openBackoff } from '../base/backoff.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { hasCode } from '../base/errors.ts'
import { type Ip } from '../base/ip.ts'
import { type Logger } from '../base/log.ts'
import { type NodeHealth } from '../model/convergence.ts'
import { type NodeName } from '../model/ids.ts'
import { type ClusterSnapshot, emptySnapshot } from '../model/snapshot.ts'
import { type SubnetUsage } from '../model/usage.ts'
import { leaderOfRefusal, pause, streamEnd } from './channel.ts'
import { encodeUsage } from './convert-usage.ts'
import { type NodeMessage } from './gen/cluster.ts'
import { type SnapshotPosition, type SnapshotUpdate, subscribe } from './subscription.ts'
import { openTurns } from './turns.ts'

export type { SnapshotUpdate } from './subscription.ts'

/** What a node daemon needs to follow a cluster. */
export interface WatchOptions {
  /** `address:port` of each master; any of them will do. */
  readonly masters: readonly string[]
  readonly nodeName: NodeName
  readonly underlay: Ip
  /** What the node has already, from its disk: only what changed since is sent. */
  readonly resumeAfter?: ClusterSnapshot
  /** Highest term of a leader that the node knows of, and where a higher one is kept; absent: in memory only. */
  readonly terms?: { readonly heard: number; readonly keep: (term: number) => void }
  readonly signal: AbortSignal
  readonly log: Logger
  readonly clock?: Clock
}

/** A node's subscription. Iterate it once; it ends when the signal aborts, and never throws. */
export interface SnapshotWatch extends AsyncIterable<SnapshotUpdate> {
  /** Tells the masters which version is wholly programmed, or why it is not. Again after each reconnect. */
  ack(version: number, problem?: string, health?: NodeHealth): void
  /** Tells the masters how full this node's subnets are. The last word counts, also after a reconnect. */
  reportUsage(usage: readonly SubnetUsage[]): void
}

/** What outlives one connection. */
interface WatchState extends SnapshotPosition {
  lastAck: NodeMessage | undefined
  lastUsage: NodeMessage | undefined
  /** Set while connected. */
  write: ((message: NodeMessage) => void) | undefined
}

/**
 * Follows the cluster's snapshot: the first value leads from `resumeAfter` (or nothing) to the whole state, each later one
 * is a step. Reconnects forever, to the next master each time, and resumes; a master whose term is over is left. While the
 * caller works on a value nothing more is read, so that the master coalesces for a slow node.
 */
export function watchSnapshots(options: WatchOptions): SnapshotWatch {
  const current = options.resumeAfter ?? emptySnapshot
  const nothingSaid = { lastAck: undefined, lastUsage: undefined, write: undefined }
  const state: WatchState = {
    current,
    resumeAfter: current.version,
    highestTerm: options.terms?.heard ?? 0,
    ...nothingSaid,
  }
  const ack = (version: number, problem = '', health: NodeHealth = { warnings: [], repairs: {} }) => {
    const { warnings, repairs } = health
    const value = { version, problem, warnings: [...warnings], repairs: { ...repairs } }
    state.lastAck = { body: { $case: 'applied', value } }
    state.write?.(state.lastAck)
  }
  const reportUsage = (usage: readonly SubnetUsage[]) => {
    state.lastUsage = { body: { $case: 'usage', value: encodeUsage(usage) } }
    state.write?.(state.lastUsage)
  }
  return { ack, reportUsage, [Symbol.asyncIterator]: () => follow(options, state) }
}

async function* follow(options: WatchOptions, state: WatchState): AsyncGenerator<SnapshotUpdate, void> {
  const { nodeName, underlay, signal, log } = options
  const clock = options.clock ?? systemClock
  const backoff = openBackoff(100, 5_000)
  const turns = openTurns(options.masters)
  const onOpen = (write: (message: NodeMessage) => void) => {
    state.write = write
    if (state.lastAck !== undefined) write(state.lastAck)
    if (state.lastUsage !== undefined) write(state.lastUsage)
  }
  const onServed = () => {
    backoff.reset()
    turns.settled()
  }
  const hello = { nodeName, underlay, standby: false, http: '' }
  const { terms } = options
  const onTerm = (term: number) => terms?.keep(term)
  for (let master = turns.next(); !signal.aborted && master !== undefined; master = turns.next()) {
    let failure: unknown
    try {
      yield* subscribe({ master, hello, onOpen, onServed, onTerm, signal, clock }, state)
    } catch (error) {
      failure = error
      if (hasCode(error, 'ERR_API_INVALID')) state.resumeAfter = 0 // what we have may be why: begin again
    } finally {
      state.write = undefined
    }
    if (signal.aborted) return
    log.warn({ master, reason: streamEnd(failure) }, 'snapshot stream ended, reconnecting')
    const leader = leaderOfRefusal(failure)
    if (leader !== undefined && turns.hint(leader) === 'now') continue
    await pause(clock, backoff.next(), signal)
  }
}
