import { openServicesWorld, type ServicesWorld } from '../support/services-world.ts'
import { type Bench, type BenchRow, median } from './report.ts'

/** Source: the goals of the project; marathon 0.15 on 189 agents. */
const marathonOne = 14_200
const marathonFour = 33_000

function bigAgents(count: number) {
  const resources = { cpuMillis: 64_000, memMb: 256_000, diskMb: 100_000, ports: [{ begin: 31_000, end: 31_999 }] }
  return Array.from({ length: count }, (_, i) => ({ name: `S${i}`, resources }))
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const before = performance.now()
  await run()
  return performance.now() - before
}

const small = (id: string, instances: number) => ({ id, cmd: 'x', instances, cpus: 0.1, mem: 32 })

async function launches(apps: number): Promise<number> {
  const world = await openServicesWorld({ agents: bigAgents(189) })
  const ms = await timed(async () => {
    await Promise.all(Array.from({ length: apps }, (_, i) => world.send('POST', '/v2/apps', small(`/a${i}`, 500))))
    await world.deployed()
  })
  if (world.cluster.alive().length !== apps * 500) throw new Error('not all instances run')
  await world.close()
  return ms
}

/** A registry of `count` apps without instances. */
async function registry(count: number): Promise<ServicesWorld> {
  const world = await openServicesWorld({ agents: bigAgents(3) })
  for (let from = 0; from < count; from += 1_000) {
    const apps = Array.from({ length: 1_000 }, (_, i) => small(`/r${from / 1_000}/a${from + i}`, 0))
    await world.send('PUT', '/v2/apps', apps)
  }
  await world.deployed()
  return world
}

async function registryFigures(count: number) {
  const world = await registry(count)
  const list = await timed(() => world.send('GET', '/v2/apps'))
  const updates: number[] = []
  for (let i = 0; i < 20; i++) {
    const url = `/v2/apps/r0/a${i}`
    updates.push(await timed(() => world.send('PUT', url, { labels: { n: `${i}` } })))
  }
  const deployments: number[] = []
  for (let i = 30; i < 41; i++) {
    const run = async (): Promise<void> => {
      await world.send('PUT', `/v2/apps/r0/a${i}`, { instances: 5 })
      while ([...world.services.api.world.deployments()].length > 0)
        await new Promise((resolve) => setImmediate(resolve))
    }
    deployments.push(await timed(run))
  }
  await world.close()
  return { list, update: median(updates), deployment: median(deployments) }
}

/** The scheduler with its API on simulated agents; the master and the wire are not in it. */
export const run: Bench = async (report) => {
  const conditions = 'services in process, simulated agents that run tasks at once, store in memory; lower is better'
  const row = (metric: string, ours: number, peer: Pick<BenchRow, 'peer' | 'peerName' | 'goal'>): void =>
    report({
      ...{ bench: 'services', metric, ours, ...peer, conditions },
      ratio: peer.peer === null ? null : ours / peer.peer,
      holds: peer.peer === null ? null : ours <= peer.peer * (peer.goal === 'ratio <= 3' ? 3 : 1),
    })
  const marathon = (peer: number) => ({ peer, peerName: 'Marathon 0.15, as published', goal: 'ratio <= 1' })
  row(
    '500 instances of one app, ms',
    median([await launches(1), await launches(1), await launches(1)]),
    marathon(marathonOne),
  )
  row('4 × 500 instances at once, ms', median([await launches(4), await launches(4)]), marathon(marathonFour))
  const few = await registryFigures(1_000)
  const many = await registryFigures(10_000)
  row('list of 10,000 apps, ms', many.list, { peer: null, peerName: null, goal: 'none' })
  const like = (peer: number) => ({ peer, peerName: 'the same among 1,000 apps', goal: 'ratio <= 3' })
  row('one update among 10,000 apps, ms', many.update, like(few.update))
  row('one deployment of 5 instances among 10,000 apps, ms', many.deployment, like(few.deployment))
}
