import { type StoreKind, storeKinds, storeServerProblem } from '../../core/cli/up/store-server.ts'
import { startFailoverWorld, type Traffic } from '../support/faults/failover.ts'
import { type Bench, type BenchRow, median } from './report.ts'

const kills = 20
const goalMs = 3_000

interface Outcome extends Traffic {
  readonly launchMs: readonly number[]
  readonly restarted: number
}

async function killOften(kind: StoreKind): Promise<Outcome> {
  const world = await startFailoverWorld(kind, 'bench')
  try {
    const rounds: Awaited<ReturnType<typeof world.killLeader>>[] = []
    for (let i = 0; i < kills; i++) rounds.push(await world.killLeader())
    const restarted = rounds.reduce((sum, round) => sum + round.restarted.length, 0)
    return { ...(await world.endTraffic()), launchMs: rounds.map(({ launchMs }) => launchMs), restarted }
  } finally {
    await world.cluster.stop()
  }
}

/** From SIGKILL of the leader to the first new container, and what names, the VIP and tasks notice of it. */
export const run: Bench = async (report) => {
  for (const kind of storeKinds) {
    if (storeServerProblem(kind) !== undefined) continue
    const { launchMs, restarted, names, badNames, connections, badConnections } = await killOften(kind)
    const row = (metric: string, ours: number, goal: number, more = ''): BenchRow => ({
      ...{ bench: 'failover', metric: `${kind}: ${metric}`, ours, peer: null, peerName: null, ratio: null },
      goal: `ours <= ${goal}`,
      holds: ours <= goal,
      conditions: `3 masters, 2 agents, ${kills} kills${more}`,
    })
    report(row('SIGKILL to first launch, median, ms', median(launchMs), goalMs))
    report(row('SIGKILL to first launch, max, ms', Math.max(...launchMs), goalMs))
    report(row('failed queries by name', badNames.length, 0, `, ${names} queries`))
    report(row('failed connections to the VIP', badConnections, 0, `, ${connections} connections`))
    report(row('tasks restarted', restarted, 0))
  }
}
