import { type HotMemory } from '../../server/hot-memory.ts'
import { type ServerObserver } from '../../server/respond.ts'
import { batchSize } from '../batch.ts'
import { makeBatchServer } from '../batch-server.ts'
import { type Miss } from '../misses.ts'
import { type UdpCalls } from '../native-udp.ts'
import { makePace, paceMicroseconds } from '../pace.ts'

/** What a thread needs that answers UDP besides everything else. */
export interface OwnUdpOptions {
  readonly udp: UdpCalls
  readonly fds: readonly number[]
  readonly memory: HotMemory
  readonly observer: ServerObserver
  readonly answerMisses: (fd: number, missed: readonly Miss[]) => void
}

/** Batches of a socket, and pauses between them, before everything else gets its turn. */
const maxRounds = 4

/**
 * Answers UDP from the event loop of the thread that holds the zones: for machines with few cores, where a thread of its own
 * would only take memory. What has no ready response is answered after the rest, by the loop's next step, since a callback
 * of the socket is bare. The kernel's buffers are the queue.
 * @returns what ends it; before the sockets are closed
 */
export function openOwnUdp({ udp, fds, memory, observer, answerMisses }: OwnUdpOptions): () => void {
  const unready = (fd: number, missed: readonly Miss[]) => {
    setImmediate(answerMisses, fd, missed)
  }
  const serve = makeBatchServer({ udp, memory, observer, unready })
  const pace = makePace(udp.makePause(paceMicroseconds))
  const ends = fds.map((fd) =>
    udp.onReadable(fd, () => {
      for (let rounds = 0; rounds < maxRounds; rounds++) {
        const count = serve(fd)
        if (!pace(count) && count < batchSize) break
      }
    }),
  )
  return () => {
    for (const end of ends) end()
  }
}
