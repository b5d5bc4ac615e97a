import { type ServerDuplexStream } from '@grpc/grpc-js'
import { encodeDelta, encodeSnapshot } from '../../api/convert-snapshot.ts'
import { type Hello, type NodeMessage, type SnapshotMessage } from '../../api/gen/cluster.ts'
import { type Clock } from '../../base/clock.ts'
import { AppError, errorMessage } from '../../base/errors.ts'
import { type Logger } from '../../base/log.ts'
import { type ClusterSnapshot, type SnapshotDelta } from '../../model/snapshot.ts'
import { type SnapshotFeed, type Subscription } from '../snapshot/feed.ts'
import { type SnapshotMail } from '../snapshot/mailbox.ts'
import { firstMessageMs } from './agents.ts'
import { type Guest, type GuestEvents } from './guest.ts'

type Call = ServerDuplexStream<NodeMessage, SnapshotMessage>

/** What serves node streams: a leader with its own snapshot, or a standby with the leader's. */
export interface NodeOffice {
  readonly clock: Clock
  readonly log: Logger
  /** Of the leader whose snapshot it is. */
  term(): number
  view(): ClusterSnapshot
  subscribe: SnapshotFeed['subscribe']
  openGuest(events: GuestEvents): Guest
  /** A standby master says Hello; absent where standbys are not served. What it says later goes to the returned one. */
  readonly openStandby?: (hello: Hello, stream: StandbyStream) => StandbyGuest
  /** A stream was refused. */
  refused(error: unknown): void
}

/** A standby's stream, as its guest sees it. */
export interface StandbyStream {
  write(message: SnapshotMessage): void
  /** It may follow: snapshots are sent from now on. */
  admitted(): void
  /** It may not, or another stream of the same standby has come. */
  refused(error: unknown): void
}

/** A standby master, and the nodes that it serves. */
export interface StandbyGuest {
  receive(message: NodeMessage): void
  leave(): void
}

interface Stream {
  readonly call: Call
  state: 'new' | 'pending' | 'subscribed' | 'closed'
  guest: Guest | undefined
  standby: StandbyGuest | undefined
  subscription: Subscription | undefined
}

/** All streams of one office. */
export interface NodeStreams {
  serve(call: Call): void
  /** Ends all of them; with an error: tells it. */
  close(error?: AppError): void
}

/** Serves `Nodes.Subscribe`. */
export function openNodeStreams(office: NodeOffice): NodeStreams {
  const open = new Set<Stream>()
  const encode = openEncoder(office)
  const end = (stream: Stream) => {
    if (stream.state === 'closed') return
    stream.state = 'closed'
    open.delete(stream)
    stream.subscription?.close()
    stream.call.end()
    stream.guest?.leave()
    stream.standby?.leave()
  }
  const refuse = (stream: Stream, error: unknown) => {
    if (stream.state === 'closed') return
    office.refused(error)
    stream.call.write({ body: { $case: 'refused', value: refusalOf(error) }, term: 0 })
    end(stream)
  }
  const subscribe = (stream: Stream, resumeAfter: number) => {
    if (stream.state === 'closed') return
    stream.state = 'subscribed'
    stream.subscription = office.subscribe(resumeAfter, (mail) => stream.call.write(encode(mail)))
  }
  const openGuest = (stream: Stream) =>
    office.openGuest({
      admitted: (node, { resumeAfter }) => {
        subscribe(stream, resumeAfter)
        office.log.info({ node, resumeAfter }, 'node subscribed')
      },
      refused: (error) => refuse(stream, error),
      replaced: () => end(stream),
    })
  const greetStandby = (stream: Stream, hello: Hello) => {
    const refused = (error: unknown) => refuse(stream, error)
    if (office.openStandby === undefined)
      return refused(new AppError('ERR_MASTER_STANDBY', 'this master does not lead'))
    const write = (message: SnapshotMessage) => void stream.call.write(message)
    stream.standby = office.openStandby(hello, { write, refused, admitted: () => subscribe(stream, hello.resumeAfter) })
  }
  const receive = (stream: Stream, message: NodeMessage) => {
    const { body } = message
    if (body?.$case === 'hello') {
      if (stream.state !== 'new') return
      stream.state = 'pending'
      if (body.value.standby) greetStandby(stream, body.value)
      else stream.guest?.hello(body.value)
    } else if (body?.$case === 'applied') stream.guest?.applied(body.value)
    else if (body?.$case === 'usage') stream.guest?.usage(body.value)
    else stream.standby?.receive(message)
  }
  const serve = (call: Call) => {
    const stream: Stream = { call, state: 'new', guest: undefined, standby: undefined, subscription: undefined }
    stream.guest = openGuest(stream)
    open.add(stream)
    call.on('data', (message: NodeMessage) => receive(stream, message))
    call.on('drain', () => stream.subscription?.drained())
    const cancel = office.clock.after(firstMessageMs, () => (stream.state === 'new' ? end(stream) : undefined))
    call.on('close', cancel)
    // After each of these the stream is over; which one comes depends on how the node went away.
    for (const event of ['end', 'close', 'cancelled', 'error']) call.on(event, () => end(stream))
  }
  const close = (error?: AppError) => {
    for (const stream of [...open])
      if (error === undefined) end(stream)
      else refuse(stream, error)
  }
  return { serve, close }
}

function openEncoder(office: NodeOffice): (mail: SnapshotMail) => SnapshotMessage {
  const messages = new WeakMap<SnapshotDelta, SnapshotMessage>()
  return (mail) => {
    const term = office.term()
    if (mail.kind === 'full') return { body: { $case: 'full', value: encodeSnapshot(office.view()) }, term }
    const known = messages.get(mail.delta) // most nodes get the very same delta
    if (known !== undefined) return known
    const message: SnapshotMessage = { body: { $case: 'delta', value: encodeDelta(mail.delta) }, term }
    messages.set(mail.delta, message)
    return message
  }
}

/** An error as it travels; `details.leader` names the master to go to instead. */
export function refusalOf(error: unknown): { code: string; reason: string; leader: string } {
  const code = error instanceof AppError ? error.code : 'ERR_MASTER_INTERNAL'
  const leader = error instanceof AppError ? error.details['leader'] : undefined
  return { code, reason: errorMessage(error), leader: typeof leader === 'string' ? leader : '' }
}
