/**
 * Many requests in one send(). Only the last asks for an acknowledgement: the kernel reports every refused request
 * anyhow, in order, so silence before the last answer means done. That halves the cost of a request. When the kernel
 * could not queue a report, receive() says ENOBUFS, and every request without a report fails as unknown.
 */
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { kernelError } from './errors.ts'
import {
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
   * Queues a request; sends all that are queued when enough are.
   * @returns whether it sent: a moment to let others use the thread
   */
  add(request: NetlinkRequest, onError: (error: AppError) => void): 'queued' | 'sent'
  /** Sends what is queued; every error of it was reported when this returns. */
  flush(): void
}

interface Pending {
  readonly request: NetlinkRequest
  readonly sequence: number
  readonly onError: (error: AppError) => void
  failed: boolean
}

/** One send() takes this many octets at most; the default SO_SNDBUF holds three times as many. */
const maxBatchBytes = 60_000
const ENOBUFS = 105

/** Uses the port's writer: nothing else may write between the first `add` and the `flush`. */
export function openBatch(port: NetlinkPort): RequestBatch {
  let pending: Pending[] = []
  let lastStart = 0
  const flush = () => {
    if (pending.length === 0) return
    const sent = pending
    pending = []
    transmit(port, sent, lastStart)
  }
  const add = (request: NetlinkRequest, onError: (error: AppError) => void) => {
    const { writer } = port
    if (pending.length === 0) writer.length = 0
    const start = writer.length
    const sequence = port.nextSequence()
    try {
      writeMessage(writer, request, sequence)
    } catch (error) {
      writer.length = start
      onError(encodingError(request, error))
      return 'queued'
    }
    lastStart = start
    pending.push({ request, sequence, onError, failed: false })
    if (pending.length < port.maxOutstanding && writer.length < maxBatchBytes) return 'queued'
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

function transmit(port: NetlinkPort, pending: readonly Pending[], lastStart: number): void {
  requestAck(port.writer, lastStart)
  const result = port.native.sockets.send(port.fd, port.writer.buffer, port.writer.length)
  if (result < 0) failRest(pending, -result)
  else receiveReports(port, pending)
}

function receiveReports(port: NetlinkPort, pending: readonly Pending[]): void {
  const first = pending[0]?.sequence ?? 0
  const last = pending.at(-1)
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
      const entry = pending[(message.sequence - first) >>> 0]
      if (message.type !== NLMSG_ERROR || entry === undefined) return
      report(entry, decodeAcknowledgement(message))
      ended ||= entry === last
    })
  }
  // Without the last answer nothing is known of any request that was not refused.
  if (lost || !ended) failRest(pending, ENOBUFS)
}

function report(entry: Pending, ack: ReturnType<typeof decodeAcknowledgement>): void {
  if (ack.errno === 0) return
  entry.failed = true
  entry.onError(kernelError(ack, entry.request.describe()))
}

function failRest(pending: readonly Pending[], errno: number): void {
  for (const entry of pending) if (!entry.failed) report(entry, { errno })
}
