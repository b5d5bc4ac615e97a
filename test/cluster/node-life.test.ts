import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { recordsOf } from '../../core/cli/up/sample.ts'
import { startHttpLoad } from '../support/http-load.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { eventually, killDaemon, startTestCluster } from '../support/local-cluster.ts'
import { idsOf, removeApps, settled, webApp } from '../support/vips/stage.ts'

const weft = fileURLToPath(new URL('../../core/cli/main.ts', import.meta.url))
const instances = 3

t.test('nodes are emptied, left out, taken back and given up', { skip: canMakeHosts }, async (t) => {
  const cluster = await startTestCluster(3, 'nodelife')
  t.teardown(() => cluster.stop())
  const { layout, api } = cluster
  const run = async (...words: readonly string[]) =>
    (await promisify(execFile)(process.execPath, [weft, '--cluster', layout.name, ...words])).stdout
  const node = (...words: readonly string[]) => run('node', ...words)
  const tasksOn = async (node: string) =>
    (await recordsOf(api, '/weft/v1/tasks', 'tasks')).filter((task) => task['node'] === node)
  const lifeOf = async (name: string) =>
    (await recordsOf(api, '/weft/v1/nodes', 'nodes')).find((one) => one['name'] === name)?.['agentLife']
  const isLife = (name: string, life: unknown) =>
    eventually(`${name} is ${life}`, async () => ((await lifeOf(name)) === life ? true : undefined))
  await api.send('POST', '/v2/apps', webApp(instances))
  await settled(cluster)
  t.equal((await tasksOn('agent1')).length, 1, 'one on each')

  await t.test('a drain fails no request', async (t) => {
    const target = { host: 'web.marathon.l4lb.thisdcos.directory', port: 80, perSecond: 40 }
    const loads = await Promise.all(
      (['kept', 'new'] as const).map((connections) => startHttpLoad(layout, 'master1', { ...target, connections })),
    )
    t.teardown(() => {
      for (const load of loads) load.end()
    })
    let fewest = instances
    let looking = true
    const watch = (async () => {
      while (looking) {
        fewest = Math.min(fewest, (await idsOf(cluster, 'web')).length)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    })()
    for (const name of ['agent1', 'agent2']) {
      await node('drain', name, '--wait', '--timeout', '60')
      t.equal(await lifeOf(name), 'drained')
      await node('reactivate', name)
    }
    await node('drain', 'agent1', '--wait', '--timeout', '60')
    looking = false
    await watch
    t.equal(await lifeOf('agent1'), 'drained')
    t.same(await tasksOn('agent1'), [])
    t.equal((await idsOf(cluster, 'web')).length, instances)
    t.equal(fewest, instances, 'there were never fewer: the replacement came first')
    for (const load of loads) {
      const { answered, failures } = await load.stop()
      t.same(failures, [], `${answered} answered`)
      t.ok(answered > 50)
    }
  })

  await t.test('what was decided outlives the master', async (t) => {
    await node('deactivate', 'agent2')
    t.equal((await tasksOn('agent2')).length > 0, true, 'its tasks go on')
    await killDaemon(cluster, 'master1/master')
    await isLife('agent1', 'drained')
    await isLife('agent2', 'deactivated')
    await eventually('all agents are back', async () => {
      const nodes = await recordsOf(api, '/weft/v1/nodes', 'nodes')
      return nodes.filter(({ agentState }) => agentState === 'connected').length === 3 ? true : undefined
    })
    await api.send('PUT', '/v2/apps/web', { instances: instances + 2 })
    await settled(cluster)
    t.same(await tasksOn('agent1'), [], 'nothing new on a drained one')
    t.ok((await tasksOn('agent3')).length >= 3, 'nor on a deactivated one')
  })

  await t.test('reactivated, it is used again', async (t) => {
    await node('reactivate', 'agent1')
    await node('reactivate', 'agent2')
    await api.send('PUT', '/v2/apps/web', { instances: 8 })
    await settled(cluster)
    t.ok((await tasksOn('agent1')).length > 0)
  })

  await t.test('a drain without time for moving kills at once, and is no failure of the app', async (t) => {
    await node('drain', 'agent1', '--wait', '--grace', '0', '--gone')
    await eventually('the app is whole again', async () =>
      (await idsOf(cluster, 'web')).length === 8 ? true : undefined,
    )
    const queue = await recordsOf(api, '/v2/queue', 'queue')
    t.same(queue, [], 'nothing waits for a delay')
    await isLife('agent1', undefined)
  })

  await t.test('given up, its tasks are replaced', async (t) => {
    await node('gone', 'agent2')
    await eventually('all run on the last one', async () => {
      const found = await tasksOn('agent3')
      return found.filter(({ state }) => state === 'TASK_RUNNING').length === 8 ? true : undefined
    })
    t.same(await tasksOn('agent2'), [])
  })
  await removeApps(cluster, 'web')

  await t.test('roles have weights and quotas', async (t) => {
    await run('role', 'weight', 'dev', '2.5')
    t.match(await run('role', 'quota', 'dev', '--cpus', '1.5', '--mem', '512'), /role dev has cpus 1.5, mem 512/)
    const role = async () =>
      JSON.parse(await run('--json', 'role', 'list')).find(({ name }: { name: string }) => name === 'dev')
    t.match(await role(), { weight: 2.5, quota: { limit: { cpus: 1.5, mem: 512 } } })
    t.match(await run('role', 'list'), /dev +2.5 .* cpus 1.5, mem 512/)
    await run('role', 'quota', 'dev', '--remove')
    t.equal((await role()).quota, undefined)
    await t.rejects(run('role', 'quota', 'dev'), /give --cpus/)
    await t.rejects(run('role', 'weight', 'dev', '0'), /number above 0/)
  })
})
