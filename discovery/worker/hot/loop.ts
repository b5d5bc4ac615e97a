import { hotResponseBytes, type HotRequest, makeHotReader } from '../../server/hot-find.ts'
import { control, type HotMemory } from '../../server/hot-memory.ts'
import { monotonicSeconds, type ServerObserver } from '../../server/respond.ts'
import { type Misses } from '../messages.ts'
import { encodeMisses, type Miss } from '../misses.ts'
import { type UdpCalls } from '../native-udp.ts'

/** What the loop works with. */
export interface HotLoopOptions {
  readonly udp: UdpCalls
  readonly fds: readonly number[]
  /** Readable when the loop shall look whether it is to end. */
  readonly wakeFd: number
  readonly memory: HotMemory
  readonly observer: ServerObserver
  readonly handOver: (misses: Misses) => void
}

/** How many packets may wait for the general thread; more are dropped, and clients ask again. */
const maxWaiting = 4096

/** Longest that the loop is deaf to the end of the process, which can't interrupt a system call. */
const idleMs = 250

/**
 * Answers datagrams until it is told to end; the thread does nothing else meanwhile. Waiting is in poll(2), not in Node's
 * event loop: one call instead of three around each batch, and nothing else that the thread could be busy with. It is woken
 * by packets and by `wakeFd`, so neither the end nor a change of the zones (which is in shared memory) needs a message.
 */
export function runHotLoop(options: HotLoopOptions): void {
  const { udp, fds, memory } = options
  const poll = udp.makePoll([...fds, options.wakeFd])
  const serve = makeServer(options)
  while (Atomics.load(memory.control, control.stop) === 0) {
    const ready = poll(idleMs)
    for (let i = 0; i < fds.length; i++) {
      const fd = fds[i]
      if (fd === undefined || (ready & (1 << i)) === 0) continue
      // A busy socket is asked again without poll, but not so long that the others starve.
      for (let rounds = 0; rounds < 32 && serve(fd) > 0; rounds++);
    }
  }
}

/** Answers what is there on a socket, and says how many packets that were. */
function makeServer({ udp, memory, observer, handOver }: HotLoopOptions): (fd: number) => number {
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
  const answered = { transport: 'udp' as const, rcode: 0 }
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
        observer.answered(answered)
        continue
      }
      missed ??= []
      missed.push({ address: batch.source(i), packet: request.packet.subarray(0, request.length) })
    }
    // Before the answers: what takes longer begins earlier.
    if (missed !== undefined) overload(missed.length) ? dropAll(missed) : handOver(encodeMisses(fd, missed))
    const failed = found === 0 ? 0 : udp.send(fd, batch, found)
    for (let i = 0; i < failed; i++) observer.dropped({ transport: 'udp', reason: 'send-failed' })
    return count
  }
  function overload(more: number): boolean {
    if (Atomics.add(memory.control, control.waiting, more) + more <= maxWaiting) return false
    Atomics.sub(memory.control, control.waiting, more)
    return true
  }
  function dropAll(missed: readonly Miss[]): void {
    for (const _ of missed) observer.dropped({ transport: 'udp', reason: 'overload' })
  }
}
