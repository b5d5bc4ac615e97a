import { leaderOfRefusal, pause, streamEnd } from '../../api/channel.ts'
import { type NodeMessage, type Relayed, type RelayRefused } from '../../api/gen/cluster.ts'
import { type SnapshotPosition, subscribe } from '../../api/subscription.ts'
import { openBackoff } from '../../base/backoff.ts'
import { type Clock } from '../../base/clock.ts'
import { AppError, hasCode } from '../../base/errors.ts'
import { type Logger } from '../../base/log.ts'
import { type ClusterSnapshot, emptySnapshot } from '../../model/snapshot.ts'
import { openFeed, type SnapshotFeed } from '../snapshot/feed.ts'
import { type Candidate } from './candidate.ts'
import { type Leaders } from './leaders.ts'

/** What a node said last, to be told to each leader anew. */
export type NodeWord = NonNullable<Relayed['body']>

/** The leader's snapshot at a standby, and the way of its nodes' words to the leader. */
export interface Relay {
  /** Version 0 before the first one came. It stays while nobody leads. */
  view(): ClusterSnapshot
  /** Of the leader that it came from. */
  term(): number
  readonly feed: Omit<SnapshotFeed, 'publish'>
  /** Calls once the relay has a snapshot; at once when it has. The returned function gives it up. */
  whenReady(task: () => void): () => void
  /** A node is served here: its words go to the leader, again after each change of leader. */
  enter(nodeName: string, refused: (error: AppError) => void): RelayedNode
  close(): void
}

/** A node that a standby serves. */
export interface RelayedNode {
  say(word: NodeWord): void
  leave(): void
}

/** What a relay works with. */
export interface RelayOptions {
  readonly self: Candidate
  readonly leaders: Leaders
  readonly clock: Clock
  readonly log: Logger
}

interface Guest {
  readonly words: Map<NodeWord['$case'], NodeWord>
  readonly refused: (error: AppError) => void
}

interface RelayState extends SnapshotPosition {
  readonly guests: Map<string, Guest>
  readonly feed: SnapshotFeed
  readonly waiting: Set<() => void>
  /** Set while connected. */
  write: ((message: NodeMessage) => void) | undefined
}

/** A lost leader is tried again quickly: until the store names the next one there is nothing better to do. */
const retryMs = { first: 50, most: 1_000 } as const

/** Follows whoever leads, until closed. What it has stays when nobody does: nodes go on with that. */
export function openRelay(options: RelayOptions): Relay {
  const size = () =>
    Object.values(state.current).reduce((sum, table) => sum + (table instanceof Map ? table.size : 0), 0)
  const state: RelayState = {
    ...{ current: emptySnapshot, resumeAfter: 0, highestTerm: 0, write: undefined },
    guests: new Map(),
    feed: openFeed(0, { snapshotSize: size }),
    waiting: new Set(),
  }
  let following: AbortController | undefined
  const stop = options.leaders.onNamed((candidate) => {
    following?.abort()
    following = undefined
    if (candidate === undefined) return
    following = new AbortController()
    void follow(options, state, { candidate, signal: following.signal })
  })
  return {
    view: () => state.current,
    term: () => state.highestTerm,
    feed: state.feed,
    whenReady: (task) => {
      if (state.current.version > 0) task()
      else state.waiting.add(task)
      return () => state.waiting.delete(task)
    },
    enter: (nodeName, refused) => enter(state, nodeName, refused),
    close: () => {
      stop()
      following?.abort()
      state.waiting.clear()
    },
  }
}

function enter(state: RelayState, nodeName: string, refused: (error: AppError) => void): RelayedNode {
  const guest: Guest = { words: new Map(), refused }
  state.guests.set(nodeName, guest)
  return {
    say: (word) => {
      guest.words.set(word.$case, word)
      state.write?.(relayed(nodeName, word))
    },
    leave: () => {
      if (state.guests.get(nodeName) !== guest) return
      state.guests.delete(nodeName)
      state.write?.(relayed(nodeName, { $case: 'left', value: {} }))
    },
  }
}

function relayed(nodeName: string, body: NodeWord): NodeMessage {
  return { body: { $case: 'relayed', value: { nodeName, body } } }
}

interface Following {
  readonly candidate: Candidate
  readonly signal: AbortSignal
}

/** Until the store names another, or we lead. */
async function follow(options: RelayOptions, state: RelayState, { candidate, signal }: Following): Promise<void> {
  const { leaders, clock, log } = options
  const backoff = openBackoff(retryMs.first, retryMs.most)
  while (!signal.aborted) {
    let failure: unknown
    try {
      await connect(options, state, { candidate, signal })
      backoff.reset()
    } catch (error) {
      failure = error
      if (hasCode(error, 'ERR_API_INVALID')) state.resumeAfter = 0 // what we have may be why: begin again
    } finally {
      state.write = undefined
      leaders.reached(candidate, 'lost')
    }
    if (signal.aborted) return
    const told = leaderOfRefusal(failure)
    log.warn({ leader: candidate.nodeName, reason: streamEnd(failure), told }, 'connection to the leader ended')
    await pause(clock, backoff.next(), signal)
  }
}

async function connect(options: RelayOptions, state: RelayState, { candidate, signal }: Following): Promise<void> {
  const { self, leaders, clock, log } = options
  const { nodeName, underlay, http } = self
  const onOpen = (write: (message: NodeMessage) => void) => {
    state.write = write
    // In the order in which a node says them: hello, then what it has.
    for (const [name, { words }] of state.guests) for (const word of words.values()) write(relayed(name, word))
  }
  let served = false
  const onServed = () => {
    if (served) return
    served = true
    log.info({ leader: candidate.nodeName, version: state.resumeAfter }, 'following the leader')
    leaders.reached(candidate, 'connected')
  }
  const onRelayRefused = (refusal: RelayRefused) => refuseNode(state, refusal)
  const hello = { nodeName, underlay, standby: true, http }
  const at = { master: candidate.grpc, hello, onOpen, onServed, onRelayRefused, signal, clock }
  for await (const { delta } of subscribe(at, state)) {
    state.feed.publish(delta)
    for (const task of [...state.waiting]) {
      state.waiting.delete(task)
      task()
    }
  }
}

function refuseNode(state: RelayState, { nodeName, refused }: RelayRefused): void {
  const { code = 'ERR_MASTER_INTERNAL', reason = '' } = refused ?? {}
  state.guests.get(nodeName)?.refused(new AppError(code, reason))
}
