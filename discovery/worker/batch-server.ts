import { type HotRequest, hotResponseBytes, makeHotReader } from '../server/hot-find.ts'
import { type HotMemory } from '../server/hot-memory.ts'
import { monotonicSeconds, type ServerObserver } from '../server/respond.ts'
import { type Miss } from './misses.ts'
import { type UdpCalls } from './native-udp.ts'

/** What answering by batches needs. */
export interface BatchServerOptions {
  readonly udp: UdpCalls
  readonly memory: HotMemory
  readonly observer: ServerObserver
  /** Gets the packets of a batch that have no ready response, before the others are answered; views that stay as they are. */
  readonly unready: (fd: number, missed: readonly Miss[]) => void
}

/** Answers one batch of what is there on a socket, and says how many packets that were. Never waits. */
export function makeBatchServer({ udp, memory, observer, unready }: BatchServerOptions): (fd: number) => number {
  const batch = udp.makeBatch()
  const reader = makeHotReader(memory)
  const request: HotRequest = {
    packet: new Uint8Array(0),
    length: 0,
    transport: 'udp',
    rotation: 0,
    nowSeconds: 0,
    out: new Uint8Array(hotResponseBytes),
  }
  const empty = request.packet
  const answered = { transport: 'udp' as const, rcode: 0, foreign: false }
  return (fd) => {
    const count = udp.receive(fd, batch)
    if (count === 0) return 0
    request.nowSeconds = monotonicSeconds()
    let found = 0
    let missed: Miss[] | undefined
    for (let i = 0; i < count; i++) {
      request.packet = batch.packets[i] ?? empty
      request.length = batch.length(i)
      request.out = batch.responses[found] ?? empty
      request.rotation = (request.rotation + 1) & 0x3fffffff
      const length = reader.find(request)
      if (length > 0) {
        batch.address(found++, i, length)
        answered.rcode = reader.lastRcode()
        answered.foreign = reader.lastForeign()
        observer.answered(answered)
        continue
      }
      missed ??= []
      missed.push({ address: batch.source(i), packet: request.packet.slice(0, request.length) })
    }
    if (missed !== undefined) unready(fd, missed)
    const failed = found === 0 ? 0 : udp.send(fd, batch, found)
    for (let i = 0; i < failed; i++) observer.dropped({ transport: 'udp', reason: 'send-failed' })
    return count
  }
}
