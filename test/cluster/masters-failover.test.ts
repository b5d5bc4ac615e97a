import t, { type Test } from 'tap'
import { type StoreKind, storeKinds, storeServerProblem } from '../../core/cli/up/store-server.ts'
import { leaderOf, startFailoverWorld } from '../support/faults/failover.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { digAt, eventually } from '../support/local-cluster.ts'

/** Kills until the time is over, and so often at least. */
const plan = process.env['WEFT_LONG'] === '1' ? { kills: 20, ms: 120_000 } : { kills: 3, ms: 0 }

/** The aim is 3 s on a quiet machine; a loaded one gets more. */
const launchLimitMs = 15_000

function failover(kind: StoreKind) {
  return async (t: Test) => {
    const world = await startFailoverWorld(kind, 'masters')
    const { cluster } = world
    const { layout, api } = cluster
    t.teardown(() => cluster.stop())
    const took: number[] = []
    const began = performance.now()
    while (took.length < plan.kills || performance.now() - began < plan.ms) {
      const { launchMs, restarted } = await world.killLeader()
      took.push(launchMs)
      t.same(restarted, [], 'no running task was disturbed')
    }
    const shown = took.map((ms) => `${Math.round(ms)} ms`).join(', ')
    t.comment(`first launch after SIGKILL of the leader, ${took.length} times: ${shown}`)
    t.ok(Math.max(...took) < launchLimitMs, `each within ${launchLimitMs} ms: ${shown}`)
    const { names, badNames, connections, badConnections } = await world.endTraffic()
    t.same(badNames, [], `${names} answers by name, none without addresses`)
    t.equal(badConnections, 0, `${connections} connections to the VIP, none failed`)
    t.ok(names > 20 && connections > 50)
    await t.test('names and roles follow', async (t) => {
      const leader = await leaderOf(cluster)
      const host = layout.hosts.find(({ name }) => name === leader)
      await eventually('leader.mesos is the leader', async () => {
        const found = await digAt(cluster, 'agent1', 'leader.mesos')
        return found.join() === host?.underlay ? true : undefined
      })
      t.equal((await digAt(cluster, 'agent1', 'master.mesos')).length, 3, 'all masters have names')
      const converged = await eventually('everybody has the present version', async () => {
        const answer = await api.get('/weft/v1/converge?timeoutMs=5000')
        return (answer as { converged: boolean }).converged ? true : undefined
      })
      t.ok(converged)
    })
  }
}

for (const kind of storeKinds) {
  const skip = canMakeHosts || (storeServerProblem(kind) ?? false)
  t.test(`leaders are killed, with ${kind}`, { skip }, failover(kind))
}
