// For `node --import`: tells how late the event loops of the DNS server's threads are, and what their heaps hold, to whoever
// listens on the channel.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { BroadcastChannel, isMainThread, threadName } from 'node:worker_threads'

if (!isMainThread && threadName?.startsWith('dns-') === true) {
  const channel = new BroadcastChannel('loop-delay')
  channel.unref()
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  histogram.enable()
  setInterval(() => {
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    const memory = { heapMb: heapUsed / 2 ** 20, buffersMb: arrayBuffers / 2 ** 20 }
    channel.postMessage({ p99Ms: histogram.percentile(99) / 1e6, maxMs: histogram.max / 1e6, ...memory })
  }, 100).unref()
}
