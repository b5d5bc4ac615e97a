// A DNS server over the fixture, in a process of its own that `dns-process.ts` starts: tells its port, then at each line of
// input how late its thread's event loop is, how late an idle one is on this machine, and its memory.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { BroadcastChannel } from 'node:worker_threads'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { diffSnapshots } from '../../core/model/delta.ts'
import { parseNodeName } from '../../core/model/ids.ts'
import { emptySnapshot } from '../../core/model/snapshot.ts'
import { namesConfig } from '../../discovery/records/config.ts'
import { openNamesStage } from '../../discovery/stage.ts'
import { openDnsThreads } from '../../discovery/worker/open.ts'
import { sumThreads } from '../../discovery/worker/stats.ts'
import { fixtureSnapshot } from '../fixtures/dns/snapshot.ts'

const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`)
const onFailure = () => process.exit(3)
const common = {
  config: namesConfig({ tcpIdleSeconds: 120 }),
  addresses: [parseIp('127.0.0.1')],
  port: 0,
  log: silentLog,
  threads: 0,
  // Small rings are full soon: what grows then is a leak.
  memory: { positiveBytes: 1 << 20, negativeBytes: 1 << 18, buckets: 1 << 10 },
}
const server = await openDnsThreads({ ...common, onFailure })
const stage = openNamesStage({ self: parseNodeName('host-a'), publish: server.apply })
const next = fixtureSnapshot()
const { signal } = new AbortController()
await stage.plan({ previous: emptySnapshot, next, delta: diffSnapshots(emptySnapshot, next) }).add({ signal })
let server99 = { p99Ms: Number.NaN, maxMs: Number.NaN, heapMb: Number.NaN, buffersMb: Number.NaN }
const channel = new BroadcastChannel('loop-delay')
// What the preload sends.
channel.onmessage = (event) => {
  server99 = (event as { readonly data: typeof server99 }).data
}
const idle = monitorEventLoopDelay({ resolution: 1 })
idle.enable()
say({ port: server.endpoints[0]?.port })
for await (const _ of createInterface({ input: process.stdin })) {
  const { answers, drops } = sumThreads(server.stats)
  const overUdp = [...answers, ...drops].filter(({ transport }) => transport === 'udp')
  const udpPackets = overUdp.reduce((sum, { count }) => sum + count, 0)
  say({ ...server99, udpPackets, idleP99Ms: idle.percentile(99) / 1e6, rssMb: process.memoryUsage().rss / 2 ** 20 })
}
process.exit(0)
