/**
 * Many requests in one send(). Only the last asks for an acknowledgement: the kernel reports every refused request
 * anyhow, in order, so silence before the last answer means done. That halves the cost of a request. When the kernel
 * could not queue a report, receive() says ENOBUFS, and every request without a report fails as unknown.
 */
import { constants } from 'node:os'
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { kernelError } from './errors.ts'
import {
  type Acknowledgement,
  decodeAcknowledgement,
  eachMessage,
  type NetlinkRequest,
  NLMSG_ERROR,
  requestAck,
  writeMessage,
} from './message.ts'
import { type NetlinkPort, receiveDatagram } from './port.ts'

/** Requests on their way. */
export interface RequestBatch {
  /**
   * Queues a request; sends all that are queued when enough are. `position` names it in errors.
   * @returns whether it sent: a moment to let others use the thread
   */
  add(request: NetlinkRequest, position: number): 'queued' | 'sent'
  /** Sends what is queued; every error of it was reported when this returns. */
  flush(): void
}

/** Told of each request that failed. */
export type OnRequestError = (position: number, error: AppError) => void

/** Entry `i` has the sequence number `first + i`. Reported entries become undefined. */
interface Pending {
  readonly requests: (NetlinkRequest | undefined)[]
  readonly positions: number[]
  readonly first: number
  readonly onError: OnRequestError
}

/** Measured: larger ones leave the processor's cache, smaller ones cost calls; and a send() of 16 kB blocks for 1 ms. */
const maxBatchBytes = 16_000

/** Uses the port's writer: nothing else may write between the first `add` and the `flush`. */
export function openBatch(port: NetlinkPort, onError: OnRequestError): RequestBatch {
  let pending: Pending | undefined
  let lastStart = 0
  const flush = () => {
    if (pending === undefined) return
    const sent = pending
    pending = undefined
    requestAck(port.writer, lastStart)
    transmit(port, sent)
  }
  const add = (request: NetlinkRequest, position: number) => {
    const { writer } = port
    if (pending === undefined) writer.length = 0
    const start = writer.length
    try {
      writeMessage(writer, request, port.nextSequence)
    } catch (error) {
      writer.length = start
      onError(position, encodingError(request, error))
      return 'queued'
    }
    lastStart = start
    pending ??= { requests: [], positions: [], first: writer.buffer.readUInt32LE(start + 8), onError }
    pending.requests.push(request)
    pending.positions.push(position)
    if (pending.requests.length < port.maxOutstanding && writer.length < maxBatchBytes) return 'queued'
    flush()
    return 'sent'
  }
  return { add, flush }
}

function encodingError(request: NetlinkRequest, cause: unknown): AppError {
  if (cause instanceof AppError) return cause
  const message = `${request.describe()}: a value does not fit its field: ${errorMessage(cause)}`
  return new AppError('ERR_NETLINK_VALUE', message, { cause })
}

function transmit(port: NetlinkPort, pending: Pending): void {
  const result = port.native.sockets.send(port.fd, port.writer.buffer, port.writer.length)
  if (result < 0) failRest(pending, -result)
  else receiveReports(port, pending)
}

function receiveReports(port: NetlinkPort, pending: Pending): void {
  const last = pending.requests.length - 1
  let ended = false
  let lost = false
  while (!ended) {
    const length = receiveDatagram(port)
    if (length === 'empty') break
    if (length === 'overflow') {
      lost = true
      continue
    }
    eachMessage(port.receiveBuffer, length, (message) => {
      const entry = (message.sequence - pending.first) >>> 0
      if (message.type !== NLMSG_ERROR || entry > last) return
      report(pending, entry, decodeAcknowledgement(message))
      ended ||= entry === last
    })
  }
  // Without the last answer nothing is known of any request that was not refused.
  if (lost || !ended) failRest(pending, constants.errno.ENOBUFS)
}

function report({ requests, positions, onError }: Pending, entry: number, ack: Acknowledgement): void {
  const request = requests[entry]
  if (ack.errno === 0 || request === undefined) return
  requests[entry] = undefined
  onError(positions[entry] ?? 0, kernelError(ack, request.describe()))
}

function failRest(pending: Pending, errno: number): void {
  for (const entry of pending.requests.keys()) report(pending, entry, { errno })
}
