import { once } from 'node:events'
import { createServer } from 'node:http'
import { cpus } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { spawn } from 'node:child_process'
import { parseCidr } from '../../core/base/cidr.ts'
import { masterRoutes } from '../../core/master/http/routes.ts'
import { openHttpApp } from '../../core/master/http/server.ts'
import { profileOf } from '../../core/master/networks/profile.ts'
import { type MemoryStore, openMemoryStore } from '../../core/store/memory.ts'
import { fakeAgents, registerAll } from '../support/big-cluster.ts'
import { startFramework, startMaster, type TestMaster, until } from '../support/master.ts'
import { type Bench, type BenchRow } from './report.ts'

const agentCount = Number(process.env['WEFT_BENCH_AGENTS'] ?? 40_000)
const tasksPerAgent = 10

/** Room for more machines than the default profile has. */
const profile = { ...profileOf('default'), vteps: [parseCidr('100.112.0.0/12')] }

/** Registration of all agents with their tasks in one process, over the session interface without gRPC; `/state` of it; and the same with the next master. */
export const run: Bench = async (report) => {
  const bench = 'state'
  const tasks = agentCount * tasksPerAgent
  const conditions = `${agentCount} agents, ${tasks} tasks, ${cpus().length} cores, store in memory, no gRPC, curl as reader`
  const tell = (row: Omit<BenchRow, 'bench' | 'conditions' | 'ratio'>) => {
    const ratio = row.peer === null ? null : row.ours / row.peer
    report({ bench, conditions, ratio, ...row })
  }
  const store = openMemoryStore()
  const master = await startMaster(store, { profile })
  const frameworks = [startFramework(master, { name: 'one' }), startFramework(master, { name: 'two' })]
  await until(() => frameworks.every((framework) => framework.id() !== undefined), 'the frameworks')
  for (const framework of frameworks) framework.call({ kind: 'suppress' })
  const ids = frameworks.map((framework) => framework.id()).filter((id) => id !== undefined)
  const agents = fakeAgents({ agents: agentCount, tasksPerAgent, frameworks: ids })
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const registrationS = await secondsOf(() => registerAll(master.context, agents))
  const mesos = { peer: 19, peerName: 'Mesos 1.5, 40,000 agents' }
  tell({
    metric: 'registration of all, s',
    ours: registrationS,
    ...mesos,
    goal: 'ours <= 10 s',
    holds: registrationS <= 10,
  })
  const app = await openHttpApp([
    masterRoutes({ context: master.context, version: 'bench', advertised: () => '127.0.0.1:5050' }),
  ])
  const server = createServer(app.handler).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  for (const turn of ['first', 'second', 'third'] as const) {
    // Starting a process stops this one for a while, which is not the master's doing.
    const seconds = await secondsOf(() => read(`http://127.0.0.1:${port}/state`, () => delay.reset()))
    const p99 = delay.percentile(99) / 1e6
    const peer = { peer: 3, peerName: 'Mesos, about' }
    tell({ metric: `/state, ${turn}, s`, ours: seconds, ...peer, goal: 'ours <= 1 s', holds: seconds <= 1 })
    const none = { peer: null, peerName: null }
    tell({ metric: `loop delay p99 of it, ms`, ours: p99, ...none, goal: 'ours <= 50 ms', holds: p99 <= 50 })
  }
  const rssMb = process.memoryUsage.rss() / 1e6
  tell({ metric: 'memory, MB', ours: rssMb, peer: null, peerName: null, goal: 'to know', holds: null })
  delay.disable()
  server.closeAllConnections()
  server.close()
  await app.close()
  await master.close()
  master.grpc.close()
  const heir = await inherit(store)
  const known = [...heir.context.tasks.all()].length
  if (known !== tasks) throw new Error(`the next master knows ${known} of ${tasks} tasks`)
  const again = await secondsOf(() =>
    registerAll(heir.context, fakeAgents({ agents: agentCount, tasksPerAgent, frameworks: ids })),
  )
  tell({ metric: 're-registration, s', ours: again, ...mesos, goal: 'ours <= 10 s', holds: again <= 10 })
  await heir.crash()
}

/** The next master: the registry and the cached tasks are known to it, every agent comes back to it. */
async function inherit(store: MemoryStore): Promise<TestMaster> {
  const next = openMemoryStore([...(await store.list(''))].map(([key, { value }]) => [key, value] as const))
  return startMaster(next, { profile })
}

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return (performance.now() - started) / 1000
}

/** In a process of its own, so that reading costs the measured one nothing. */
async function read(url: string, onStarted: () => void): Promise<void> {
  const reader = spawn('curl', ['-sf', '-o', '/dev/null', url], { stdio: 'ignore' })
  onStarted()
  const [code] = await once(reader, 'close')
  if (code !== 0) throw new Error(`curl ended with ${code}`)
}
