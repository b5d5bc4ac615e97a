import { type Socket } from 'node:dgram'
import { type Clock } from '../../core/base/clock.ts'
import { decodeProbe, encodeProbe } from './message.ts'

/** What answers other nodes' probes. */
export interface ResponderOptions {
  /** Without checksums, so that a fault of this node's own offloading is not taken for one of the asking node. */
  readonly socket: Socket
  /** True for the underlay and VTEP addresses of the cluster's nodes; nobody else gets an answer. */
  readonly isPeer: (address: string) => boolean
  readonly clock: Clock
}

/** Answers in a second, in all; a burst may be as large. */
const answersPerSecond = 500

/** Answers questions until the socket is closed; those over the rate, and what is no question, get no answer. */
export function openResponder({ socket, isPeer, clock }: ResponderOptions): void {
  let tokens = answersPerSecond
  let lastMs = clock.monotonicMs()
  socket.on('message', (bytes, { address, port }) => {
    const question = decodeProbe(bytes)
    if (question?.kind !== 'question' || !isPeer(address)) return
    const nowMs = clock.monotonicMs()
    tokens = Math.min(answersPerSecond, tokens + ((nowMs - lastMs) * answersPerSecond) / 1000)
    lastMs = nowMs
    if (tokens < 1) return
    tokens--
    socket.send(encodeProbe({ ...question, kind: 'answer' }), port, address, () => undefined) // lost like any datagram
  })
  socket.on('error', () => undefined) // of single packets (ICMP); nobody is there to be told
}
