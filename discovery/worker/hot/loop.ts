import { control, type HotMemory } from '../../server/hot-memory.ts'
import { type ServerObserver } from '../../server/respond.ts'
import { type BatchServerOptions, makeBatchServer } from '../batch-server.ts'
import { type Misses } from '../messages.ts'
import { encodeMisses } from '../misses.ts'
import { type UdpCalls } from '../native-udp.ts'
import { makePace, paceMicroseconds } from '../pace.ts'

/** What the loop works with. */
export interface HotLoopOptions {
  readonly udp: UdpCalls
  readonly fds: readonly number[]
  /** Readable when the loop shall look whether it is to end. */
  readonly wakeFd: number
  readonly memory: HotMemory
  readonly observer: ServerObserver
  /** Called again and again, also while nothing comes. */
  readonly beat: () => void
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
  const unready = makeHandOver(options)
  const serve = makeBatchServer({ udp, memory, observer: options.observer, unready })
  const pace = makePace(udp.makePause(paceMicroseconds))
  while (Atomics.load(memory.control, control.stop) === 0) {
    const ready = poll(idleMs)
    options.beat()
    for (let i = 0; i < fds.length; i++) {
      const fd = fds[i]
      if (fd === undefined || (ready & (1 << i)) === 0) continue
      // A busy socket is asked again without poll, but not so long that the others starve.
      for (let rounds = 0; rounds < 32; rounds++) {
        const count = serve(fd)
        if (count === 0) break
        pace(count)
      }
    }
  }
}

/** Gives packets to the general thread, but not more than it may have waiting. */
function makeHandOver({ memory, observer, handOver }: HotLoopOptions): BatchServerOptions['unready'] {
  return (fd, missed) => {
    if (Atomics.add(memory.control, control.waiting, missed.length) + missed.length <= maxWaiting) {
      handOver(encodeMisses(fd, missed))
      return
    }
    Atomics.sub(memory.control, control.waiting, missed.length)
    for (const _ of missed) observer.dropped({ transport: 'udp', reason: 'overload' })
  }
}
