import { type ClientDuplexStream } from '@grpc/grpc-js'
import { openBackoff } from '../base/backoff.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { AppError, hasCode } from '../base/errors.ts'
import { type Ip } from '../base/ip.ts'
import { type Logger } from '../base/log.ts'
import { applyDelta, diffSnapshots, isEmptyDelta } from '../model/delta.ts'
import { type NodeHealth } from '../model/convergence.ts'
import { type NodeName } from '../model/ids.ts'
import { type ClusterSnapshot, emptySnapshot, type SnapshotDelta } from '../model/snapshot.ts'
import { type SubnetUsage } from '../model/usage.ts'
import { channelOptions, firstAnswerMs, insecureChannel, pause, streamEnd } from './channel.ts'
import { decodeDelta, decodeSnapshot } from './convert-snapshot.ts'
import { encodeUsage } from './convert-usage.ts'
import { type NodeMessage, NodesClient, type SnapshotMessage } from './gen/cluster.ts'

/** From the snapshot that the node had to the one that it shall have. */
export interface SnapshotUpdate {
  /** `full`: the master sent all of it (`delta` is then computed here); `delta`: only what changed. */
  readonly kind: 'full' | 'delta'
  readonly previous: ClusterSnapshot
  readonly next: ClusterSnapshot
  readonly delta: SnapshotDelta
}

/** What a node daemon needs to follow a cluster. */
export interface WatchOptions {
  /** `address:port` of each master; any of them will do. */
  readonly masters: readonly string[]
  readonly nodeName: NodeName
  readonly underlay: Ip
  /** What the node has already, from its disk: only what changed since is sent. */
  readonly resumeAfter?: ClusterSnapshot
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

type Call = ClientDuplexStream<NodeMessage, SnapshotMessage>

/** What outlives one connection. */
interface WatchState {
  current: ClusterSnapshot
  /** Version to resume after; 0 asks for a full snapshot. */
  resumeAfter: number
  lastAck: NodeMessage | undefined
  lastUsage: NodeMessage | undefined
  call: Call | undefined
}

/**
 * Follows the cluster's snapshot: the first value leads from `resumeAfter` (or nothing) to the whole state, each later one
 * is a step. Reconnects forever, to the next master each time, and resumes. While the caller works on a value nothing
 * more is read, so that the master coalesces for a slow node.
 */
export function watchSnapshots(options: WatchOptions): SnapshotWatch {
  const current = options.resumeAfter ?? emptySnapshot
  const nothingSaid = { lastAck: undefined, lastUsage: undefined, call: undefined }
  const state: WatchState = { current, resumeAfter: current.version, ...nothingSaid }
  const ack = (version: number, problem = '', health: NodeHealth = { warnings: [], repairs: {} }) => {
    const { warnings, repairs } = health
    const value = { version, problem, warnings: [...warnings], repairs: { ...repairs } }
    state.lastAck = { body: { $case: 'applied', value } }
    state.call?.write(state.lastAck)
  }
  const reportUsage = (usage: readonly SubnetUsage[]) => {
    state.lastUsage = { body: { $case: 'usage', value: encodeUsage(usage) } }
    state.call?.write(state.lastUsage)
  }
  return { ack, reportUsage, [Symbol.asyncIterator]: () => follow(options, state) }
}

async function* follow(options: WatchOptions, state: WatchState): AsyncGenerator<SnapshotUpdate, void> {
  const { masters, signal, log } = options
  const clock = options.clock ?? systemClock
  const backoff = openBackoff(100, 5_000)
  for (let turn = 0; !signal.aborted && masters.length > 0; turn++) {
    const master = masters[turn % masters.length] ?? ''
    let failure: unknown
    try {
      for await (const update of subscribe(master, { ...options, clock }, state)) {
        backoff.reset()
        yield update
      }
    } catch (error) {
      failure = error
      if (hasCode(error, 'ERR_API_INVALID')) state.resumeAfter = 0 // what we have may be why: begin again
    }
    if (signal.aborted) return
    log.warn({ master, reason: streamEnd(failure) }, 'snapshot stream ended, reconnecting')
    await pause(clock, backoff.next(), signal)
  }
}

/** One connection, from Hello to its end. @throws what ended it */
async function* subscribe(
  master: string,
  options: WatchOptions & { readonly clock: Clock },
  state: WatchState,
): AsyncGenerator<SnapshotUpdate, void> {
  const { signal, nodeName, underlay, clock } = options
  const client = new NodesClient(master, insecureChannel(), channelOptions)
  const call = client.subscribe()
  call.on('error', () => undefined) // for await below has it; this is for one that comes after the loop
  const cancel = () => call.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  const stopWaiting = clock.after(firstAnswerMs, cancel)
  try {
    const { resumeAfter } = state
    call.write({ body: { $case: 'hello', value: { nodeName, underlay, resumeAfter } } })
    if (state.lastAck !== undefined) call.write(state.lastAck)
    if (state.lastUsage !== undefined) call.write(state.lastUsage)
    state.call = call
    for await (const message of messagesOf(call)) {
      stopWaiting()
      const update = advance(state, message)
      if (update !== undefined) yield update
    }
  } finally {
    stopWaiting()
    state.call = undefined
    signal.removeEventListener('abort', cancel)
    call.cancel()
    client.close()
  }
}

/** Gives the untyped stream its type. */
function messagesOf(call: Call): AsyncIterable<SnapshotMessage> {
  return call
}

/** The step that a message makes; undefined when it changes nothing. @throws ERR_API_INVALID, ERR_API_REFUSED */
function advance(state: WatchState, { body }: SnapshotMessage): SnapshotUpdate | undefined {
  const previous = state.current
  if (body?.$case === 'refused') throw new AppError('ERR_API_REFUSED', `${body.value.code}: ${body.value.reason}`)
  if (body === undefined) return undefined
  const update = body.$case === 'full' ? fullUpdate(previous, decodeSnapshot(body.value)) : step(previous, body.value)
  state.current = update.next
  state.resumeAfter = update.next.version
  return isEmptyDelta(update.delta) && update.next.version === previous.version ? undefined : update
}

function fullUpdate(previous: ClusterSnapshot, next: ClusterSnapshot): SnapshotUpdate {
  return { kind: 'full', previous, next, delta: diffSnapshots(previous, next) }
}

function step(previous: ClusterSnapshot, proto: Parameters<typeof decodeDelta>[0]): SnapshotUpdate {
  const delta = decodeDelta(proto)
  if (delta.version < previous.version) {
    throw new AppError('ERR_API_INVALID', `delta ${delta.version} is older than ${previous.version}, which is applied`)
  }
  return { kind: 'delta', previous, next: applyDelta(previous, delta), delta }
}
