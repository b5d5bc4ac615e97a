import { control, type HotMemory } from '../../server/hot-memory.ts'
import { type Responder, type ServerObserver } from '../../server/respond.ts'
import { type Misses } from '../messages.ts'
import { decodeMisses, type Miss } from '../misses.ts'

/** What answering packets without a ready response needs. */
export interface MissOptions {
  readonly respond: Responder
  readonly observer: ServerObserver
  /** @returns false when it could not be sent */
  readonly send: (fd: number, bytes: Uint8Array, address: Uint8Array) => boolean
  readonly signal: AbortSignal
}

/** How many forwarded queries may wait at once; more are dropped, and clients ask again. */
const maxForwarded = 10_000

/** Answers packets of a socket through it. */
export function makeMissAnswerer(options: MissOptions): (fd: number, missed: readonly Miss[]) => void {
  const { respond, observer, signal } = options
  let forwarded = 0
  const finish = (fd: number, bytes: Uint8Array | undefined, address: Uint8Array) => {
    if (bytes === undefined || signal.aborted) return
    if (!options.send(fd, bytes, address)) observer.dropped({ transport: 'udp', reason: 'send-failed' })
  }
  return (fd, missed) => {
    for (const { address, packet } of missed) {
      const response = respond(packet, { transport: 'udp', signal })
      if (!(response instanceof Promise)) {
        finish(fd, response, address)
        continue
      }
      if (forwarded >= maxForwarded) continue
      forwarded++
      void response.then((bytes) => finish(fd, bytes, address)).finally(() => forwarded--)
    }
  }
}

/** The same for what other threads hand over. */
export function takeMisses(
  memory: HotMemory,
  answerMisses: (fd: number, missed: readonly Miss[]) => void,
): (misses: Misses) => void {
  return (misses) => {
    const missed = decodeMisses(misses)
    Atomics.sub(memory.control, control.waiting, missed.length)
    answerMisses(misses.fd, missed)
  }
}
