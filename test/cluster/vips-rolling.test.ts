import t from 'tap'
import { type LocalCluster } from '../../core/cli/up/cluster.ts'
import { recordsOf } from '../../core/cli/up/sample.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { gracefulServer, startHttpLoad } from '../support/http-load.ts'
import { eventually, servingTasks, startTestCluster } from '../support/local-cluster.ts'

const onDcos = [{ mode: 'container', name: 'dcos' }]
const small = { cpus: 0.1, mem: 64 }
const web = (release: number) => ({
  ...{ id: '/web', args: ['/usr/bin/perl', '-e', gracefulServer], instances: 3, networks: onDcos, ...small },
  env: { RELEASE: String(release) },
  container: { portMappings: [{ containerPort: 8080, labels: { VIP_0: '/web:80' } }] },
  healthChecks: [{ protocol: 'MESOS_TCP', intervalSeconds: 0.2, timeoutSeconds: 2, gracePeriodSeconds: 30 }],
  taskKillGracePeriodSeconds: 10,
})
const name = 'web.marathon.l4lb.thisdcos.directory'

async function settled({ api }: LocalCluster): Promise<void> {
  await eventually('the deployment is over', async () => {
    const deployments = await api.get('/v2/deployments')
    return Array.isArray(deployments) && deployments.length === 0 ? true : undefined
  })
}

async function ids(cluster: LocalCluster): Promise<readonly string[]> {
  return (await servingTasks(cluster, 'web')).map(({ id }) => String(id))
}

t.test('replacing every backend under load fails no request', { skip: canMakeHosts }, async (t) => {
  const cluster = await startTestCluster(2, 'rolling')
  t.teardown(() => cluster.stop())
  const { layout, api } = cluster
  await api.send('POST', '/v2/apps', web(0))
  await api.send('POST', '/v2/apps', { id: '/client', cmd: 'sleep 1000', instances: 2, networks: onDcos, ...small })
  await settled(cluster)
  await api.get('/weft/v1/converge?timeoutMs=10000')
  const clients = (await recordsOf(api, '/weft/v1/tasks', 'tasks')).filter(({ id }) => String(id).startsWith('client.'))
  const places = ['master1', ...clients.map(({ id }) => String(id))]
  const target = { host: name, port: 80, perSecond: 70 }
  const ways = ['kept', 'new'] as const
  const loads = await Promise.all(
    places.flatMap((place) => ways.map((connections) => startHttpLoad(layout, place, { ...target, connections }))),
  )
  const replaced: string[] = []
  for (let release = 1; release <= 4; release++) {
    const before = await ids(cluster)
    await api.send('PUT', '/v2/apps/web', web(release))
    await settled(cluster)
    replaced.push(...before)
    const after = await ids(cluster)
    t.equal(after.length, 3)
    t.notOk(
      after.some((id) => before.includes(id)),
      'all are new',
    )
  }
  t.equal(new Set(replaced).size, 12)
  for (const [i, load] of loads.entries()) {
    const { answered, failures } = await load.stop()
    const who = `${places[Math.floor(i / 2)]}, ${ways[i % 2]} connections: ${answered} answered`
    t.same(failures, [], who)
    t.ok(answered > 50, who)
  }
})
