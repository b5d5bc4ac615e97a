// Our server alone, for the benchmark: `node server.ts PORT hot|dgram SERVICES TASKS-EACH [UPSTREAM-PORT]`. It prints one
// line of JSON when it answers: how long the zones took, and memory before and after them.
import { readFileSync } from 'node:fs'
import { setTimeout as sleepMs } from 'node:timers/promises'
import { parseIp } from '../../../core/base/ip.ts'
import { silentLog } from '../../../core/base/log.ts'
import { namesConfig } from '../../../discovery/records/config.ts'
import { openDnsThreads } from '../../../discovery/worker/open.ts'
import { benchApex, benchOwners } from './cluster.ts'

const [port, udp, services, tasksEach, upstream] = process.argv.slice(2)
const size = { services: Number(services), tasksEach: Number(tasksEach) }
const address = parseIp('127.0.0.1')
const upstreams = [{ address, port: Number(upstream) }]
const proxy = upstream === undefined ? {} : { proxy: { upstreams, forwardZones: [], search: [], own: [benchApex] } }

function residentMb(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024
}

const server = await openDnsThreads({
  config: namesConfig(),
  addresses: [address],
  port: Number(port),
  log: silentLog,
  threads: 1,
  udp: udp === 'dgram' ? 'dgram' : 'hot',
  ...proxy,
  onFailure: (error) => {
    throw error
  },
})
const none = { added: [], removed: [] }
await server.apply({ version: 1, owners: [], apexes: { added: [benchApex], removed: [] } })
const emptyMb = residentMb()
const start = performance.now()
let names = 0
let part = []
for (const owner of benchOwners(size)) {
  names++
  part.push(owner)
  if (part.length < 1000) continue
  await server.apply({ version: 2, owners: part, apexes: none })
  part = []
}
await server.apply({ version: 3, owners: part, apexes: none })
const buildMs = performance.now() - start
const changes: number[] = []
const [first] = benchOwners({ services: 1, tasksEach: 1 })
for (let i = 0; i < 50 && first !== undefined; i++) {
  const begin = performance.now()
  await server.apply({ version: 4 + i, owners: [first], apexes: none })
  changes.push(performance.now() - begin)
}
await sleepMs(500)
const changeMs = changes.toSorted((a, b) => a - b)[25]
process.stdout.write(`${JSON.stringify({ names, buildMs, changeMs, emptyMb, fullMb: residentMb() })}\n`)
