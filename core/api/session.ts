import { type ClientDuplexStream, connectivityState } from '@grpc/grpc-js'
import { openBackoff } from '../base/backoff.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import { type Logger } from '../base/log.ts'
import {
  channelOptions,
  connectMs,
  firstAnswerMs,
  insecureChannel,
  leaderOfRefusal,
  pause,
  streamEnd,
} from './channel.ts'
import { decodeAgentCommand, encodeAgentMessage } from './convert-agent.ts'
import {
  type AgentCommand as AgentCommandProto,
  type AgentMessage as AgentMessageProto,
  AgentsClient,
} from './gen/cluster.ts'
import { type AgentCommand, type AgentReport, type Registration } from './messages.ts'
import { openTurns } from './turns.ts'

/** Pings that may be missed in a row before the other side is given up: 5 × 15 s. Source: mesos, src/slave/constants.hpp. */
export const missedPingsLimit = 5

/** Code of the refusal by a master that does not lead. */
export const standbyCode = 'ERR_MASTER_STANDBY'

/** What an agent needs to stand in a master's service. */
export interface SessionOptions {
  /** `address:port` of each master; tried in turn, and the leader that one of them names. */
  readonly masters: readonly string[]
  /** Asked at each connection: the tasks of this moment, the id once it is known, the highest term seen. */
  readonly register: () => Registration
  /**
   * Called in order, never before `register` was asked. Pings are answered here and not passed on; commands with a term
   * lower than one seen are dropped and the connection with them.
   */
  readonly onCommand: (command: AgentCommand) => void
  readonly signal: AbortSignal
  readonly log: Logger
  readonly clock?: Clock
}

/** An agent's standing connection to whichever master leads. */
export interface AgentSession {
  /** False when no master has registered us now: the report is not sent, and its owner tries again after `registered`. */
  send(report: AgentReport): boolean
  /** Resolves after `signal` aborted and the connection is closed. */
  readonly closed: Promise<void>
}

type Call = ClientDuplexStream<AgentMessageProto, AgentCommandProto>

interface SessionState {
  /** Set while registered. */
  call: Call | undefined
  highestTerm: number
}

/** Registers with a master and stays registered: reconnects with a backoff of 100 ms to 5 s until `signal` aborts. */
export function openAgentSession(options: SessionOptions): AgentSession {
  const state: SessionState = { call: undefined, highestTerm: 0 }
  const send = (report: AgentReport) => {
    if (state.call === undefined) return false
    state.call.write(encodeAgentMessage(report))
    return true
  }
  return { send, closed: serve(options, state) }
}

async function serve(options: SessionOptions, state: SessionState): Promise<void> {
  const { masters, signal, log } = options
  const clock = options.clock ?? systemClock
  const backoff = openBackoff(100, 5_000)
  const turns = openTurns(masters)
  const onRegistered = () => {
    backoff.reset()
    turns.settled()
  }
  await Promise.resolve() // the caller has its session before the first `register`
  for (let master = turns.next(); !signal.aborted && master !== undefined; master = turns.next()) {
    let failure: unknown
    try {
      await connect(master, { ...options, clock, onRegistered }, state)
    } catch (error) {
      failure = error
    }
    if (signal.aborted) return
    log.warn({ master, reason: streamEnd(failure) }, 'session with the master ended, reconnecting')
    const leader = leaderOfRefusal(failure)
    if (leader !== undefined && turns.hint(leader) === 'now') continue
    await pause(clock, backoff.next(), signal)
  }
}

interface Connection extends SessionOptions {
  readonly clock: Clock
  readonly onRegistered: () => void
}

/** One connection, from Register to its end. @throws what ended it */
async function connect(master: string, options: Connection, state: SessionState): Promise<void> {
  const { signal, clock } = options
  const client = new AgentsClient(master, insecureChannel(), channelOptions)
  const call = client.session()
  call.on('error', () => undefined) // for await below has it; this is for one that comes after the loop
  const cancel = () => call.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  let stopWaiting = clock.after(firstAnswerMs, cancel)
  const stopConnecting = clock.after(connectMs, () => {
    if (client.getChannel().getConnectivityState(false) !== connectivityState.READY) cancel()
  })
  try {
    const registration = options.register()
    state.highestTerm = Math.max(state.highestTerm, registration.highestTerm)
    call.write(encodeAgentMessage({ kind: 'register', registration }))
    let silenceMs = firstAnswerMs
    for await (const message of commandsOf(call)) {
      stopWaiting()
      const command = decodeAgentCommand(message)
      if (command?.kind === 'registered') silenceMs = command.pingIntervalMs * missedPingsLimit
      stopWaiting = clock.after(silenceMs, cancel)
      if (command !== undefined) obey(command, call, { options, state })
    }
  } finally {
    stopWaiting()
    stopConnecting()
    state.call = undefined
    signal.removeEventListener('abort', cancel)
    call.cancel()
    client.close()
  }
}

/** Gives the untyped stream its type. */
function commandsOf(call: Call): AsyncIterable<AgentCommandProto> {
  return call
}

/** @throws ERR_API_TERM for an order of a deposed master; ERR_API_REFUSED when the master won't have us */
function obey(command: AgentCommand, call: Call, at: { options: Connection; state: SessionState }): void {
  const { options, state } = at
  // A refusal orders nothing: it is heard whoever it comes from.
  if (command.term < state.highestTerm && command.kind !== 'refused') {
    throw new AppError('ERR_API_TERM', `the master's term ${command.term} is over: ${state.highestTerm} has been seen`)
  }
  state.highestTerm = Math.max(state.highestTerm, command.term)
  if (command.kind === 'ping') {
    call.write(encodeAgentMessage({ kind: 'pong' }))
    return
  }
  if (command.kind === 'registered') {
    state.call = call
    options.onRegistered()
  }
  // A standby's refusal says no more than where to go: nobody but this file has to know.
  const isSentOn = command.kind === 'refused' && command.code === standbyCode
  if (!isSentOn) options.onCommand(command)
  if (command.kind === 'refused') {
    const { code, reason, leader } = command
    throw new AppError('ERR_API_REFUSED', `${code}: ${reason}`, leader === undefined ? {} : { details: { leader } })
  }
}
