import { type ClientDuplexStream, connectivityState } from '@grpc/grpc-js'
import { type Clock } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import { applyDelta, diffSnapshots, isEmptyDelta } from '../model/delta.ts'
import { type ClusterSnapshot, type SnapshotDelta } from '../model/snapshot.ts'
import { channelOptions, connectMs, firstAnswerMs, insecureChannel } from './channel.ts'
import { decodeDelta, decodeSnapshot } from './convert-snapshot.ts'
import {
  type Delta as DeltaProto,
  type Hello,
  type NodeMessage,
  NodesClient,
  type RelayRefused,
  type SnapshotMessage,
} from './gen/cluster.ts'

/** From the snapshot that the client had to the one that it shall have. */
export interface SnapshotUpdate {
  /** `full`: the master sent all of it (`delta` is then computed here); `delta`: only what changed. */
  readonly kind: 'full' | 'delta'
  readonly previous: ClusterSnapshot
  readonly next: ClusterSnapshot
  readonly delta: SnapshotDelta
}

/** What a client has, over all its connections. */
export interface SnapshotPosition {
  current: ClusterSnapshot
  /** Version to resume after; 0 asks for a full snapshot. */
  resumeAfter: number
  /** Of the leaders whose snapshots it got; a lower one is refused. 0: none yet. */
  highestTerm: number
}

/** One connection to one master. */
export interface SubscriptionOptions {
  readonly master: string
  /** Who we are; what we have is added from the position. */
  readonly hello: Omit<Hello, 'resumeAfter' | 'highestTerm'>
  /** Called once with a way to send more, after the Hello. */
  readonly onOpen: (write: (message: NodeMessage) => void) => void
  /** For standbys: a node that they serve is refused. */
  readonly onRelayRefused?: (refusal: RelayRefused) => void
  /** The first message came, from a leader that is not deposed (or a standby of it). */
  readonly onServed?: () => void
  /** A leader of a later term than any before was heard; nothing of it is passed on before this has returned. */
  readonly onTerm?: (term: number) => void
  readonly signal: AbortSignal
  readonly clock: Clock
}

type Call = ClientDuplexStream<NodeMessage, SnapshotMessage>

/**
 * Subscribes once, from Hello to the stream's end; `position` is moved along.
 * @throws ERR_API_REFUSED (`details.leader` when the master told one), ERR_API_TERM for a deposed leader, ERR_API_INVALID,
 *   and what broke the stream
 */
export async function* subscribe(
  options: SubscriptionOptions,
  position: SnapshotPosition,
): AsyncGenerator<SnapshotUpdate, void> {
  const { signal, clock } = options
  const client = new NodesClient(options.master, insecureChannel(), channelOptions)
  const call = client.subscribe()
  call.on('error', () => undefined) // for await below has it; this is for one that comes after the loop
  const cancel = () => call.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  const timers = [
    clock.after(firstAnswerMs, cancel),
    clock.after(connectMs, () => {
      if (client.getChannel().getConnectivityState(false) !== connectivityState.READY) cancel()
    }),
  ]
  try {
    const { resumeAfter, highestTerm } = position
    call.write({ body: { $case: 'hello', value: { ...options.hello, resumeAfter, highestTerm } } })
    options.onOpen((message) => void call.write(message))
    for await (const message of messagesOf(call)) {
      for (const stop of timers.splice(0)) stop()
      const update = advance(position, message, options)
      options.onServed?.()
      if (update !== undefined) yield update
    }
  } finally {
    for (const stop of timers) stop()
    signal.removeEventListener('abort', cancel)
    call.cancel()
    client.close()
  }
}

/** Gives the untyped stream its type. */
function messagesOf(call: Call): AsyncIterable<SnapshotMessage> {
  return call
}

/** The step that a message makes; undefined when it changes nothing. */
function advance(
  position: SnapshotPosition,
  { body, term }: SnapshotMessage,
  options: SubscriptionOptions,
): SnapshotUpdate | undefined {
  const previous = position.current
  if (body?.$case === 'refused') {
    const { code, reason, leader } = body.value
    throw new AppError('ERR_API_REFUSED', `${code}: ${reason}`, leader === '' ? {} : { details: { leader } })
  }
  if (term !== 0 && term < position.highestTerm) {
    throw new AppError('ERR_API_TERM', `the master's term ${term} is over: ${position.highestTerm} has been seen`)
  }
  if (term > position.highestTerm) {
    position.highestTerm = term
    options.onTerm?.(term)
  }
  if (body === undefined) return undefined
  if (body.$case === 'relayRefused') {
    options.onRelayRefused?.(body.value)
    return undefined
  }
  const update = body.$case === 'full' ? fullUpdate(previous, decodeSnapshot(body.value)) : step(previous, body.value)
  position.current = update.next
  position.resumeAfter = update.next.version
  return isEmptyDelta(update.delta) && update.next.version === previous.version ? undefined : update
}

function fullUpdate(previous: ClusterSnapshot, next: ClusterSnapshot): SnapshotUpdate {
  return { kind: 'full', previous, next, delta: diffSnapshots(previous, next) }
}

function step(previous: ClusterSnapshot, proto: DeltaProto): SnapshotUpdate {
  const delta = decodeDelta(proto)
  if (delta.version < previous.version) {
    throw new AppError('ERR_API_INVALID', `delta ${delta.version} is older than ${previous.version}, which is applied`)
  }
  return { kind: 'delta', previous, next: applyDelta(previous, delta), delta }
}
