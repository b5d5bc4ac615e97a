import t, { type Test } from 'tap'
import { runAt } from '../../core/cli/up/checks.ts'
import { recordsOf } from '../../core/cli/up/sample.ts'
import { sampleApps } from '../../core/cli/sample/apps.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { eventually, killDaemon, servingTasks, startTestCluster } from '../support/local-cluster.ts'

const [sample = {}] = sampleApps(1)
const app = (id: string) => ({
  ...sample,
  id,
  container: { portMappings: [{ containerPort: 8080, hostPort: 0, protocol: 'tcp', name: 'http' }] },
})

t.test('an app on a container network answers at its agent and host port', { skip: canMakeHosts }, async (t) => {
  const cluster = await startTestCluster(2, 'ports')
  t.teardown(() => cluster.stop())
  const { layout, api } = cluster
  for (const id of ['/mapped', '/other']) await api.send('POST', '/v2/apps', app(id))
  for (const id of ['mapped', 'other']) {
    await eventually(`${id} serves`, async () => ((await servingTasks(cluster, id)).length === 1 ? true : undefined))
  }
  await api.get('/weft/v1/converge?timeoutMs=10000')

  const [task] = await recordsOf(api, '/v2/apps/mapped/tasks', 'tasks')
  const port = Array.isArray(task?.['ports']) ? Number(task['ports'][0]) : Number.NaN
  const id = String(task?.['id'])
  const [serving] = await servingTasks(cluster, 'mapped')
  const host = layout.hosts.find(({ name }) => name === serving?.['node'])
  t.ok(port > 0 && host !== undefined, `port ${port} of ${host?.name}`)
  const url = `http://${host?.underlay}:${port}/`
  const ask = (from: string, target = url) => runAt(layout, from, ['curl', '--silent', '--max-time', '5', target])
  const [other] = await servingTasks(cluster, 'other')
  const everywhere = [...layout.hosts.map(({ name }) => name), String(other?.['id']), id]
  const answersEverywhere = async (t: Test, when: string) => {
    for (const from of everywhere) t.match(await ask(from), `web ${id} at`, `${when}: from ${from}`)
  }

  await answersEverywhere(t, 'at first')
  t.match(await ask(host?.name ?? '', `http://127.0.0.1:${port}/`), `web ${id} at`, 'at the loopback address')

  await killDaemon(cluster, `${host?.name}/net`)
  await answersEverywhere(t, 'without, or with a new, node daemon')
  await eventually('the new daemon maps as the old one did', async () => {
    await runAt(layout, host?.name ?? '', ['nft', 'list', 'map', 'inet', 'weft', 'pm-any4'])
    return true
  })
  await answersEverywhere(t, 'after the restart')

  await api.send('DELETE', '/v2/apps/mapped')
  await eventually('the port is closed', async () => {
    const text = await runAt(layout, host?.name ?? '', ['nft', '-j', 'list', 'map', 'inet', 'weft', 'pm-any4'])
    return text.includes(`${port}`) ? undefined : true
  })
  await t.rejects(ask('master1'), 'nothing answers there any more')
})
