import { type ServerDuplexStream } from '@grpc/grpc-js'
import { decodeAgentMessage, encodeAgentCommand } from '../../api/convert-agent.ts'
import { type AgentCommand, type AgentMessage } from '../../api/gen/cluster.ts'
import { type AgentMessage as Message, type AgentOrder, type Registration } from '../../api/messages.ts'
import { AppError, errorMessage } from '../../base/errors.ts'
import { type AgentSessionHandle, registerAgent } from '../agents/sessions.ts'
import { type AgentLink, type MasterContext } from '../context.ts'

/** Who opens a stream and says nothing is not kept. */
export const firstMessageMs = 10_000

type Call = ServerDuplexStream<AgentMessage, AgentCommand>

interface Session {
  readonly call: Call
  readonly link: AgentLink
  /** `new`: nothing heard yet. `pending`: the registry is being written. */
  state: 'new' | 'pending' | 'registered' | 'closed'
  handle: AgentSessionHandle | undefined
}

/** Serves one `Agents.Session`: the first message registers, the others are reports. */
export function serveAgent(context: MasterContext, call: Call): void {
  const send = (order: AgentOrder) => {
    if (session.state !== 'closed') call.write(encodeAgentCommand({ ...order, term: context.term }))
  }
  const link: AgentLink = { send, isOpen: () => session.state !== 'closed', close: () => end(session) }
  const session: Session = { call, link, state: 'new', handle: undefined }
  call.on('data', (message: AgentMessage) => receive(context, session, message))
  const cancel = context.clock.after(firstMessageMs, () => (session.state === 'new' ? end(session) : undefined))
  call.on('close', cancel)
  // After each of these the stream is over; which one comes depends on how the agent went away.
  for (const event of ['end', 'close', 'cancelled', 'error']) call.on(event, () => end(session))
}

function receive(context: MasterContext, session: Session, proto: AgentMessage): void {
  try {
    const message = decodeAgentMessage(proto)
    if (message !== undefined) handle(context, session, message)
  } catch (error) {
    refuse(context, session, error)
  }
}

function handle(context: MasterContext, session: Session, message: Message): void {
  if (message.kind !== 'register') {
    session.handle?.report(message)
    return
  }
  if (session.state !== 'new') throw new AppError('ERR_MASTER_SESSION', 'the agent has registered already')
  session.state = 'pending'
  void register(context, session, message.registration)
}

async function register(context: MasterContext, session: Session, registration: Registration): Promise<void> {
  try {
    session.handle = await registerAgent(context, registration, session.link)
  } catch (error) {
    refuse(context, session, error)
    return
  }
  if (session.state === 'closed') session.handle.lost()
  else session.state = 'registered'
}

function refuse(context: MasterContext, session: Session, error: unknown): void {
  if (session.state === 'closed') return
  const code = error instanceof AppError ? error.code : 'ERR_MASTER_INTERNAL'
  const reason = errorMessage(error)
  context.counters.refusals++
  context.log.warn({ peer: session.call.getPeer(), code, reason }, 'agent refused')
  session.link.send({ kind: 'refused', code, reason })
  end(session)
}

function end(session: Session): void {
  if (session.state === 'closed') return
  session.state = 'closed'
  session.handle?.lost()
  session.call.end()
}
