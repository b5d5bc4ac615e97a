// A thread that answers known questions over UDP, and nothing else.
import { workerData } from 'node:worker_threads'
import { hotMemoryOf } from '../../server/hot-memory.ts'
import { type HotThreadData } from '../messages.ts'
import { openUdpCalls } from '../native-udp.ts'
import { beat, statsObserver } from '../stats.ts'
import { runHotLoop } from './loop.ts'

const { fds, wakeFd, buffers, stats, misses } = workerData as HotThreadData // what open.ts gave
const memory = hotMemoryOf(buffers)
const counters = new Float64Array(stats)
runHotLoop({
  udp: openUdpCalls(),
  fds,
  wakeFd,
  memory,
  observer: statsObserver(counters),
  beat: () => beat(counters),
  handOver: (message) => misses.postMessage(message, [message.bytes.buffer]),
})
misses.close()
