import { type ServerDuplexStream } from '@grpc/grpc-js'
import { encodeDelta, encodeSnapshot } from '../../api/convert-snapshot.ts'
import { decodeUsage } from '../../api/convert-usage.ts'
import { type Hello, type LeaseUsage, type NodeMessage, type SnapshotMessage } from '../../api/gen/cluster.ts'
import { parsed } from '../../api/parse.ts'
import { AppError, errorMessage } from '../../base/errors.ts'
import { type Ip, parseIp } from '../../base/ip.ts'
import { type NodeName, parseNodeName } from '../../model/ids.ts'
import { type SnapshotDelta } from '../../model/snapshot.ts'
import { type SubnetUsage } from '../../model/usage.ts'
import { type MasterContext } from '../context.ts'
import { decideNode } from '../networks/nodes.ts'
import { type Subscription } from '../snapshot/keeper.ts'
import { type SnapshotMail } from '../snapshot/mailbox.ts'
import { type AppliedVersion } from '../snapshot/progress.ts'
import { firstMessageMs } from './agents.ts'

type Call = ServerDuplexStream<NodeMessage, SnapshotMessage>

interface Stream {
  readonly call: Call
  state: 'new' | 'pending' | 'subscribed' | 'closed'
  node: NodeName | undefined
  subscription: Subscription | undefined
  /** An acknowledgement that came before the subscription was made. */
  early: AppliedVersion | undefined
  /** The same for the usage of its subnets. */
  earlyUsage: readonly SubnetUsage[] | undefined
}

const nothingEarly = { early: undefined, earlyUsage: undefined } as const

/** Serves `Nodes.Subscribe` of all nodes; a node's newer stream ends its older one. */
export function openNodeStreams(context: MasterContext): (call: Call) => void {
  const current = new Map<NodeName, Stream>()
  const messages = new WeakMap<SnapshotDelta, SnapshotMessage>()
  const encode = (mail: SnapshotMail): SnapshotMessage => {
    if (mail.kind === 'full') return { body: { $case: 'full', value: encodeSnapshot(context.keeper.view()) } }
    const known = messages.get(mail.delta) // most nodes get the very same delta
    if (known !== undefined) return known
    const message: SnapshotMessage = { body: { $case: 'delta', value: encodeDelta(mail.delta) } }
    messages.set(mail.delta, message)
    return message
  }
  const end = (stream: Stream) => {
    if (stream.state === 'closed') return
    stream.state = 'closed'
    stream.subscription?.close()
    stream.call.end()
    const { node } = stream
    if (node === undefined || current.get(node) !== stream) return
    current.delete(node)
    context.progress.disconnected(node)
  }
  const refuse = (stream: Stream, error: unknown) => {
    if (stream.state === 'closed') return
    const code = error instanceof AppError ? error.code : 'ERR_MASTER_INTERNAL'
    const reason = errorMessage(error)
    context.counters.refusals++
    context.log.warn({ peer: stream.call.getPeer(), code, reason }, 'node refused')
    stream.call.write({ body: { $case: 'refused', value: { code, reason } } })
    end(stream)
  }
  const subscribe = async (stream: Stream, hello: Hello) => {
    try {
      const name = parsed(hello.nodeName, parseNodeName, 'hello.node_name')
      const underlay = parsed(hello.underlay, parseIp, 'hello.underlay')
      refuseNamesake(context, name, underlay)
      await context.registrar.apply(decideNode(context.profile, { name, underlay, by: 'daemon' }))
      if (stream.state === 'closed') return
      const older = current.get(name)
      stream.state = 'subscribed'
      stream.node = name
      current.set(name, stream)
      if (older !== undefined) end(older)
      context.progress.connected(name)
      if (stream.early !== undefined) context.progress.applied(name, stream.early)
      if (stream.earlyUsage !== undefined) context.usage.set(name, stream.earlyUsage)
      const send = (mail: SnapshotMail) => stream.call.write(encode(mail))
      stream.subscription = context.keeper.subscribe(hello.resumeAfter, send)
      context.log.info({ node: name, resumeAfter: hello.resumeAfter }, 'node subscribed')
    } catch (error) {
      refuse(stream, error)
    }
  }
  const takeUsage = (stream: Stream, proto: LeaseUsage) => {
    try {
      const usage = decodeUsage(proto)
      if (stream.node === undefined) stream.earlyUsage = usage
      else context.usage.set(stream.node, usage)
    } catch (error) {
      refuse(stream, error)
    }
  }
  const receive = (stream: Stream, { body }: NodeMessage) => {
    if (body?.$case === 'hello' && stream.state === 'new') {
      stream.state = 'pending'
      void subscribe(stream, body.value)
    } else if (body?.$case === 'applied') {
      if (stream.node === undefined) stream.early = body.value
      else context.progress.applied(stream.node, body.value)
    } else if (body?.$case === 'usage') {
      takeUsage(stream, body.value)
    }
  }
  return (call) => {
    const stream: Stream = { call, state: 'new', node: undefined, subscription: undefined, ...nothingEarly }
    call.on('data', (message: NodeMessage) => receive(stream, message))
    call.on('drain', () => stream.subscription?.drained())
    const cancel = context.clock.after(firstMessageMs, () => (stream.state === 'new' ? end(stream) : undefined))
    call.on('close', cancel)
    // After each of these the stream is over; which one comes depends on how the node went away.
    for (const event of ['end', 'close', 'cancelled', 'error']) call.on(event, () => end(stream))
  }
}

/** Two machines of one name would take each other's place again and again. */
function refuseNamesake({ registrar, progress }: MasterContext, name: NodeName, underlay: Ip): void {
  const known = registrar.state.nodes.get(name)
  if (known === undefined || known.underlay === underlay || !progress.of(name).connected) return
  const advice = 'give each machine its own --node-name'
  throw new AppError('ERR_MASTER_NODE_NAME', `node name "${name}" is in use at ${known.underlay}: ${advice}`)
}
