import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { isRecord } from '../../core/cli/api.ts'
import { type LocalCluster, startCluster } from '../../core/cli/up/cluster.ts'
import { noReference } from '../support/cni-bench.ts'
import { type LaunchPeer, openLaunchPeer } from '../support/launch-peer.ts'
import { type Bench, type BenchRow } from './report.ts'

const containers = 500
const peerContainers = 50
/** Each offers a core at least, of which a task takes a hundredth; and a node's subnet has 254 addresses. */
const agents = 6
const limitMs = 300_000

const app = {
  id: '/many',
  args: ['/bin/sleep', '100000'],
  instances: containers,
  cpus: 0.01,
  mem: 8,
  networks: [{ mode: 'container', name: 'dcos' }],
}

/** Containers per second, and per second of a core: processor time is the whole machine's, others' work included. */
interface Rate {
  readonly perSecond: number
  readonly perCore: number
}

/** Milliseconds in which some core was busy, proc(5) stat: all but idle and iowait, in hundredths. */
function busyMs(): number {
  const [, ...ticks] = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '').split(/\s+/).map(Number)
  return ticks.slice(0, 8).reduce((sum, value, i) => (i === 3 || i === 4 ? sum : sum + value), 0) * 10
}

async function rateOf(count: number, work: () => Promise<unknown>): Promise<Rate> {
  const [began, busy] = [performance.now(), busyMs()]
  await work()
  const [wall, used] = [performance.now() - began, busyMs() - busy]
  return { perSecond: (count / wall) * 1000, perCore: (count / used) * 1000 }
}

async function untilRunning({ api }: LocalCluster, wanted: number): Promise<void> {
  const deadline = performance.now() + limitMs
  for (;;) {
    const body = await api.get('/v2/apps/many')
    const found = isRecord(body) && isRecord(body['app']) ? body['app']['tasksRunning'] : undefined
    if (found === wanted) return
    if (performance.now() > deadline) throw new Error(`${String(found)} of ${wanted} run after ${limitMs / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function untilGone({ api }: LocalCluster): Promise<void> {
  await api.send('DELETE', '/v2/apps/many?force=true')
  const deadline = performance.now() + limitMs
  for (;;) {
    const body = await api.get('/weft/v1/tasks')
    if (isRecord(body) && Array.isArray(body['tasks']) && body['tasks'].length === 0) return
    if (performance.now() > deadline) throw new Error('the containers do not end')
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

interface Rates {
  readonly ours: Rate
  readonly peerName: string | null
  /** One after another, and 8 at once. */
  readonly loop: Rate | undefined
  readonly atOnce: Rate | undefined
}

async function measure(cluster: LocalCluster): Promise<Rates> {
  const ours = await rateOf(containers, async () => {
    await cluster.api.send('POST', '/v2/apps', app)
    await untilRunning(cluster, containers)
  })
  const host = cluster.layout.hosts.find(({ name }) => name === 'agent1')
  let peer: LaunchPeer | undefined
  try {
    peer = host === undefined || noReference() !== undefined ? undefined : openLaunchPeer(host)
    await untilGone(cluster)
    const loop = await rateOfPeer(peer, 1)
    return { ours, peerName: peer?.name ?? null, loop, atOnce: await rateOfPeer(peer, 8) }
  } finally {
    peer?.remove()
  }
}

/** Removing is not measured. */
async function rateOfPeer(peer: LaunchPeer | undefined, workers: number): Promise<Rate | undefined> {
  if (peer === undefined) return undefined
  const { wallMs, busyMs: used } = peer.launch(peerContainers, workers, busyMs)
  return { perSecond: (peerContainers / wallMs) * 1000, perCore: (peerContainers / used) * 1000 }
}

/** Real containers with addresses, from POST /v2/apps until all run, and the same runtime in a loop. */
export const run: Bench = async (report) => {
  const options = { name: `launch-${process.pid}`, agents, port: 0, networks: ['dcos'], progress: () => undefined }
  const cluster = await startCluster(options)
  try {
    const { ours, peerName, loop, atOnce } = await measure(cluster)
    const row = (metric: string, mine: number, peer: number | undefined): BenchRow => ({
      ...{ bench: 'launch', metric, ours: mine, peer: peer ?? null, peerName },
      ratio: peer === undefined ? null : mine / peer,
      goal: 'ratio >= 1',
      holds: peer === undefined ? null : mine >= peer,
      conditions: `${containers} containers on ${agents} simulated agents of one machine with ${availableParallelism()} cores; the loop: ${peerContainers}`,
    })
    report(row('containers per second, loop one after another', ours.perSecond, loop?.perSecond))
    report(row('containers per second, loop 8 at once', ours.perSecond, atOnce?.perSecond))
    report(row('containers per core and second, loop one after another', ours.perCore, loop?.perCore))
    report(row('containers per core and second, loop 8 at once', ours.perCore, atOnce?.perCore))
  } finally {
    await cluster.stop()
  }
}
