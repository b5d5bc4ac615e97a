import { control, type HotMemory } from '../../server/hot-memory.ts'
import { type Responder, type ServerObserver } from '../../server/respond.ts'
import { type Misses } from '../messages.ts'
import { decodeMisses } from '../misses.ts'

/** What answering for the other threads needs. */
export interface MissOptions {
  readonly respond: Responder
  readonly memory: HotMemory
  readonly observer: ServerObserver
  /** @returns false when it could not be sent */
  readonly send: (fd: number, bytes: Uint8Array, address: Uint8Array) => boolean
  readonly signal: AbortSignal
}

/** How many forwarded queries may wait at once; more are dropped, and clients ask again. */
const maxForwarded = 10_000

/** Answers what the answering threads had nothing ready for, through their own sockets. */
export function makeMissAnswerer(options: MissOptions): (misses: Misses) => void {
  const { respond, memory, observer, signal } = options
  let forwarded = 0
  const finish = (fd: number, bytes: Uint8Array | undefined, address: Uint8Array) => {
    if (bytes === undefined || signal.aborted) return
    if (!options.send(fd, bytes, address)) observer.dropped({ transport: 'udp', reason: 'send-failed' })
  }
  return (misses) => {
    for (const { address, packet } of decodeMisses(misses)) {
      Atomics.sub(memory.control, control.waiting, 1)
      const response = respond(packet, { transport: 'udp', signal })
      if (!(response instanceof Promise)) {
        finish(misses.fd, response, address)
        continue
      }
      if (forwarded >= maxForwarded) continue
      forwarded++
      void response.then((bytes) => finish(misses.fd, bytes, address)).finally(() => forwarded--)
    }
  }
}
