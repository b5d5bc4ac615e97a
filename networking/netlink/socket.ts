/**
 * The transport. The kernel performs a request inside send() and has queued every answer when send() returns, so nothing
 * here waits: a call sends, reads until the end marker, and is done. One socket may serve several callers, because each
 * call empties the queue before it returns.
 */
import { constants } from 'node:os'
import { AppError } from '../../core/base/errors.ts'
import { type OnRequestError, openBatch, type RequestBatch } from './batch.ts'
import { kernelError } from './errors.ts'
import {
  decodeAcknowledgement,
  eachMessage,
  type Message,
  type NetlinkRequest,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
  requestAck,
  writeMessage,
} from './message.ts'
import { type NetlinkOptions, type NetlinkPort, openPort, receiveDatagram } from './port.ts'

/** A netlink socket. Its methods throw ERR_NETLINK_<ERRNO> for what the kernel refuses. */
export interface NetlinkSocket {
  /** Sends one request and visits its replies until its acknowledgement. */
  request(request: NetlinkRequest, visit?: (message: Message) => void): void
  /**
   * Visits every object; begins again with `restart` when the kernel says that it changed meanwhile.
   * @throws ERR_NETLINK_DUMP_INTERRUPTED when it changed each of ten times
   */
  dump(request: NetlinkRequest, visitor: DumpVisitor): void
  /** Many requests in few system calls. One batch at a time. */
  batch(onError: OnRequestError): RequestBatch
  close(): void
}

/** Takes what a dump brings. */
export interface DumpVisitor {
  /** Forget what came so far. */
  readonly restart: () => void
  readonly visit: (message: Message) => void
}

const maxDumpAttempts = 10

/** @throws ERR_NATIVE_<ERRNO>, ERR_NETNS_NOT_FOUND, ERR_NETNS_INVALID */
export function openNetlinkSocket(options: NetlinkOptions): NetlinkSocket {
  return socketOver(openPort(options))
}

/** The transport over an open port, which it closes. */
export function socketOver(port: NetlinkPort): NetlinkSocket {
  return {
    request: (request, visit) => performRequest(port, request, visit),
    dump: (request, visitor) => performDump(port, request, visitor),
    batch: (onError) => openBatch(port, onError),
    close: () => port.close(),
  }
}

function performRequest(port: NetlinkPort, request: NetlinkRequest, visit?: (message: Message) => void): void {
  const sequence = sendOne(port, request, 'ack')
  const outcome = receiveUntilEnd(port, sequence, visit ?? (() => undefined))
  if (outcome.kind !== 'done') throw replyLost(request, outcome.kind)
  if (outcome.error !== undefined) throw outcome.error(request)
}

function performDump(port: NetlinkPort, request: NetlinkRequest, { restart, visit }: DumpVisitor): void {
  const dump = { ...request, flags: request.flags | NLM_F_DUMP }
  for (let attempt = 0; attempt < maxDumpAttempts; attempt++) {
    restart()
    let interrupted = false
    const sequence = sendOne(port, dump, 'no-ack')
    const outcome = receiveUntilEnd(port, sequence, (message) => {
      interrupted ||= (message.flags & NLM_F_DUMP_INTR) !== 0
      if (message.type !== NLMSG_DONE) visit(message)
    })
    if (outcome.kind === 'incomplete') throw replyLost(request, outcome.kind)
    if (outcome.kind === 'done' && outcome.error !== undefined) throw outcome.error(request)
    if (outcome.kind === 'done' && !interrupted) return
  }
  throw new AppError('ERR_NETLINK_DUMP_INTERRUPTED', `${request.describe()}: it changed during each of ten readings`)
}

function sendOne(port: NetlinkPort, request: NetlinkRequest, mode: 'ack' | 'no-ack'): number {
  const { writer } = port
  writer.length = 0
  writeMessage(writer, request, port.nextSequence)
  if (mode === 'ack') requestAck(writer, 0)
  const result = port.native.sockets.send(port.fd, writer.buffer, writer.length)
  if (result < 0) throw kernelError({ errno: -result }, request.describe())
  return writer.buffer.readUInt32LE(8) // nlmsghdr.nlmsg_seq
}

type Outcome =
  | { readonly kind: 'done'; readonly error?: (request: NetlinkRequest) => AppError }
  | { readonly kind: 'overflow' | 'incomplete' }

/** Visits everything with this sequence number, DONE included, up to the acknowledgement or the end of the dump. */
function receiveUntilEnd(port: NetlinkPort, sequence: number, visit: (message: Message) => void): Outcome {
  let outcome: Outcome | undefined
  let overflow = false
  while (outcome === undefined) {
    const length = receiveDatagram(port)
    if (length === 'empty') return { kind: overflow ? 'overflow' : 'incomplete' }
    if (length === 'overflow') {
      overflow = true
      continue
    }
    eachMessage(port.receiveBuffer, length, (message) => {
      if (message.sequence !== sequence) return // an answer to a call that was given up
      if (message.type === NLMSG_DONE) visit(message)
      if (message.type !== NLMSG_DONE && message.type !== NLMSG_ERROR) visit(message)
      else outcome = ended(message)
    })
  }
  return overflow ? { kind: 'overflow' } : outcome
}

function ended(message: Message): Outcome {
  const ack = decodeAcknowledgement(message)
  return ack.errno === 0 ? { kind: 'done' } : { kind: 'done', error: ({ describe }) => kernelError(ack, describe()) }
}

function replyLost(request: NetlinkRequest, kind: 'overflow' | 'incomplete'): AppError {
  if (kind === 'overflow') return kernelError({ errno: constants.errno.ENOBUFS }, request.describe())
  return new AppError(
    'ERR_NETLINK_INCOMPLETE',
    `${request.describe()}: the kernel's answer has no end; read the state again`,
  )
}
