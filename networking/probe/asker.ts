import { type Socket } from 'node:dgram'
import { randomBytes } from 'node:crypto'
import { type Clock } from '../../core/base/clock.ts'
import { type Ip, ipFamily } from '../../core/base/ip.ts'
import { decodeProbe, encodeProbe, messageBytes, probePort } from './message.ts'

/** How often, and how long. */
export interface AskOptions {
  readonly signal: AbortSignal
  /** Absent: 3. */
  readonly attempts?: number
  /** How long each answer is waited for, in milliseconds. Absent: 300. */
  readonly answerMs?: number
}

/** Asks other nodes' responders. */
export interface Asker {
  /**
   * Sends questions of `octets` of IP in all, one after another, until one is answered or all attempts are used up.
   * @throws AbortError
   */
  ask(address: Ip, octets: number, options: AskOptions): Promise<'answered' | 'silence'>
}

/** IP and UDP headers, in octets. */
const headerBytes = { 4: 28, 6: 48 } as const

/** The least that can be asked, in octets of IP: of IPv6, so for both. */
export const leastOctets = headerBytes[6] + messageBytes

const defaults = { attempts: 3, answerMs: 300 } as const

/** Uses the socket alone; it stays the caller's. */
export function openAsker(socket: Socket, clock: Clock): Asker {
  const waiting = new Map<bigint, () => void>()
  socket.on('message', (bytes) => {
    const answer = decodeProbe(bytes)
    if (answer?.kind === 'answer') waiting.get(answer.token)?.()
  })
  socket.on('error', () => undefined) // a question that can't be sent is one without answer
  const once = (address: Ip, payload: number, { signal, answerMs = defaults.answerMs }: AskOptions): Promise<boolean> =>
    new Promise((resolve) => {
      const token = randomBytes(8).readBigUInt64BE()
      const finish = (answered: boolean) => {
        waiting.delete(token)
        cancel()
        signal.removeEventListener('abort', give)
        resolve(answered)
      }
      const give = () => finish(false)
      const cancel = clock.after(answerMs, give)
      signal.addEventListener('abort', give, { once: true })
      waiting.set(token, () => finish(true))
      // EMSGSIZE: larger than this node's own device takes; no answer will come.
      socket.send(encodeProbe({ kind: 'question', token, octets: payload }), probePort, address, (error) => {
        if (error !== null) give()
      })
    })
  return {
    ask: async (address, octets, options) => {
      const { signal, attempts = defaults.attempts } = options
      const payload = Math.max(messageBytes, octets - headerBytes[ipFamily(address)])
      for (let attempt = 0; attempt < attempts; attempt++) {
        if (await once(address, payload, options)) return 'answered'
        signal.throwIfAborted()
      }
      return 'silence'
    },
  }
}
