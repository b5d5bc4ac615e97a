import { type LocalCluster } from '../../core/cli/up/cluster.ts'
import { recordsOf } from '../../core/cli/up/sample.ts'
import { daemonOf, eventually } from './local-cluster.ts'

/** The host of the master that leads. @throws when none or several do */
export async function leaderOf({ api }: LocalCluster): Promise<string> {
  const masters = await recordsOf(api, '/weft/v1/masters', 'masters')
  const leaders = masters.filter(({ role }) => role === 'leader').map(({ node }) => String(node))
  if (leaders.length !== 1) throw new Error(`leaders: ${leaders.join(' ')}`)
  return leaders[0] ?? ''
}

/** SIGKILL to the master that leads. @returns its host */
export async function killLeader(cluster: LocalCluster): Promise<string> {
  const leader = await eventually('somebody leads', () => leaderOf(cluster))
  process.kill(daemonOf(cluster, `${leader}/master`).pid, 'SIGKILL')
  return leader
}

/** Until all masters are there, and one leads. */
export async function allMasters(cluster: LocalCluster): Promise<void> {
  const wanted = cluster.layout.hosts.filter(({ kind }) => kind === 'master').length
  await eventually('every master is there', async () => {
    const masters = await recordsOf(cluster.api, '/weft/v1/masters', 'masters')
    const there = masters.filter(({ connected }) => connected === true)
    return there.length === wanted && masters.some(({ role }) => role === 'leader') ? true : undefined
  })
}
