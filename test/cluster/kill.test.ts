import t from 'tap'
import { runAt } from '../../core/cli/up/checks.ts'
import { recordsOf } from '../../core/cli/up/sample.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { echoServer, type HeldConnection, holdConnection, startLoad } from '../support/connections.ts'
import { digAt, eventually, killDaemon, servingTasks, startTestCluster } from '../support/local-cluster.ts'

const vipName = 'echo.marathon.l4lb.thisdcos.directory'
const small = { cpus: 0.1, mem: 32, networks: [{ mode: 'container', name: 'dcos' }] }
const apps = [
  {
    id: '/echo',
    args: ['/usr/bin/perl', '-e', echoServer],
    instances: 2,
    ...small,
    container: { portMappings: [{ containerPort: 7000, protocol: 'tcp', labels: { VIP_0: '/echo:7000' } }] },
    healthChecks: [{ protocol: 'MESOS_TCP', portIndex: 0, intervalSeconds: 5, gracePeriodSeconds: 10 }],
  },
  { id: '/caller', cmd: 'exec sleep 100000', instances: 2, ...small },
]

t.test('SIGKILL of each daemon under traffic loses no connection', { skip: canMakeHosts }, async (t) => {
  const cluster = await startTestCluster(2, 'kill')
  t.teardown(() => cluster.stop())
  const { layout, api } = cluster
  for (const app of apps) await api.send('POST', '/v2/apps', app)
  const callers = await eventually('both callers and both servers run', async () => {
    const [echo, found] = await Promise.all([servingTasks(cluster, 'echo'), servingTasks(cluster, 'caller')])
    return echo.length === 2 && found.length === 2 ? found.map(({ id }) => String(id)) : undefined
  })
  await api.get('/weft/v1/converge?timeoutMs=10000')
  const [vip = ''] = await digAt(cluster, 'agent1', vipName)
  const taskIds = async () => (await recordsOf(api, '/weft/v1/tasks', 'tasks')).map(({ id }) => String(id)).toSorted()
  const before = await taskIds()

  const held: HeldConnection[] = []
  for (const caller of callers)
    for (let i = 0; i < 3; i++) held.push(await holdConnection(layout, caller, [vip, '7000']))
  t.teardown(() => held.map((connection) => connection.close()))
  const servers = await Promise.all(held.map((connection) => connection.say('hello')))
  const loads = await Promise.all(callers.map((caller) => startLoad(layout, caller, [vip, '7000'])))

  const daemons = ['agent1/agent', 'agent1/net', 'agent2/net', 'agent2/agent', 'master1/master', 'master1/net']
  for (const daemon of daemons) {
    await killDaemon(cluster, daemon)
    const converged = await eventually(`the cluster is whole after ${daemon}`, async () => {
      const answer = await api.get('/weft/v1/converge?timeoutMs=5000')
      const nodes = await recordsOf(api, '/weft/v1/nodes', 'nodes')
      const agents = nodes.filter(({ agentState }) => agentState === 'connected' || agentState === 'active')
      return (answer as { converged: boolean }).converged && agents.length === 2 ? true : undefined
    })
    t.ok(converged)
    t.same(
      await Promise.all(held.map((connection) => connection.say('hello'))),
      servers,
      `connections outlive ${daemon}`,
    )
    t.same(await taskIds(), before, `tasks outlive ${daemon}`)
    const names = await eventually('the name is answered again', async () => {
      const found = await digAt(cluster, 'agent1', 'echo.marathon.mesos')
      return found.length === 0 ? undefined : found // SERVFAIL: the daemon has only just started
    })
    t.equal(names.length, 2, `names outlive ${daemon}`)
  }
  for (const load of loads) {
    const { answered, failed } = await load.stop()
    t.ok(answered > 50, `${answered} new connections were answered`)
    t.equal(failed, 0, 'none failed')
  }
  await t.test('the cluster still schedules', async (t) => {
    await api.send('PUT', '/v2/apps/echo', { instances: 3 })
    await eventually('three servers', async () =>
      (await servingTasks(cluster, 'echo')).length === 3 ? true : undefined,
    )
    await t.resolves(runAt(layout, String(callers[0]), ['true']))
  })
})
