import { readFileSync } from 'node:fs'
import t from 'tap'
import { runAt, runCheck, sampleChecks } from '../../core/cli/up/checks.ts'
import { leftovers, readFootprint } from '../../core/cli/up/footprint.ts'
import { clusterDirectory } from '../../core/cli/up/layout.ts'
import { deploySample, sampleTasks, sampleVipAddresses } from '../../core/cli/up/sample.ts'
import { sampleTaskName, sampleVip } from '../../core/cli/sample/apps.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { digAt, eventually, servingTasks, startTestCluster } from '../support/local-cluster.ts'

const webUrl = `http://${sampleVip.name}/`
const curl = (count: number) => ['curl', '--silent', '--fail', '--max-time', '5', `${webUrl}?[1-${count}]`]

/** Task ids in the answers of the sample's web service. */
function answering(text: string): ReadonlySet<string> {
  return new Set([...text.matchAll(/^web (\S+) at/gm)].map((match) => match[1] ?? ''))
}

t.test('deploy, offer, task, CNI, address, name, VIP, packet answered', { skip: canMakeHosts }, async (t) => {
  const name = `test-${process.pid}`
  const before = readFootprint(name, clusterDirectory(name))
  const cluster = await startTestCluster(2)
  t.teardown(() => cluster.stop())
  const { layout, api } = cluster

  await t.test('the sample answers from everywhere', async (t) => {
    await deploySample(api, 2)
    const facts = { layout, tasks: await sampleTasks(api), vips: await sampleVipAddresses(api) }
    for (const check of sampleChecks(facts)) {
      const fact = await runCheck(check)
      t.ok(fact.holds, `${fact.title}: ${fact.detail}`)
    }
  })

  await t.test('names and VIP follow a change of the number of instances', async (t) => {
    await api.send('PUT', '/v2/apps/web', { instances: 4 })
    const tasks = await eventually('4 tasks serve', async () => {
      const serving = await servingTasks(cluster, 'web')
      return serving.length === 4 ? serving : undefined
    })
    await api.get('/weft/v1/converge?timeoutMs=10000')
    for (const host of layout.hosts) t.equal((await digAt(cluster, host.name, sampleTaskName)).length, 4, host.name)
    const seen = answering(await runAt(layout, 'client', curl(60)))
    t.same([...seen].toSorted(), tasks.map(({ id }) => String(id)).toSorted(), 'all four get connections')
  })

  await t.test('a killed backend leaves names and VIP, another takes its place', async (t) => {
    const [victim] = await servingTasks(cluster, 'web')
    const id = String(victim?.['id'])
    await runAt(layout, id, ['sh', '-c', 'kill -9 $(pgrep perl)']).catch(() => undefined)
    await eventually('the victim is gone and four serve again', async () => {
      const serving = await servingTasks(cluster, 'web')
      return serving.length === 4 && serving.every((task) => task['id'] !== id) ? true : undefined
    })
    await api.get('/weft/v1/converge?timeoutMs=10000')
    const seen = answering(await runAt(layout, 'client', curl(60)))
    t.notOk(seen.has(id), 'the victim gets nothing')
    t.equal(seen.size, 4)
  })

  await t.test('an unhealthy backend is not served', async (t) => {
    const tasks = await servingTasks(cluster, 'web')
    const id = String(tasks[0]?.['id'])
    const victim = await runAt(layout, id, ['pgrep', 'perl'])
    await runAt(layout, id, ['kill', '-STOP', victim])
    await eventually('the stopped backend is not served', async () => {
      const serving = await servingTasks(cluster, 'web')
      return serving.some((task) => task['id'] === id) ? undefined : true
    })
    await api.get('/weft/v1/converge?timeoutMs=10000')
    t.notOk(answering(await runAt(layout, 'client', curl(30))).has(id))
  })

  await t.test('a removed app leaves neither names nor VIP', async (t) => {
    const [vip] = await sampleVipAddresses(api)
    await api.send('DELETE', '/v2/apps/web')
    await eventually('no task of it is left', async () =>
      (await servingTasks(cluster, 'web')).length === 0 ? true : undefined,
    )
    await api.get('/weft/v1/converge?timeoutMs=10000')
    for (const host of layout.hosts) {
      t.same(await digAt(cluster, host.name, sampleTaskName), [])
      await t.rejects(runAt(layout, host.name, ['curl', '-s', '--max-time', '2', `http://${vip}/`]), 'nobody answers')
    }
  })

  await t.test('nothing is left when it is stopped', async (t) => {
    await cluster.stop()
    const left = await eventually('everything is gone', async () => {
      const found = leftovers(before, readFootprint(name, clusterDirectory(name)))
      return found.length === 0 ? found : undefined
    })
    t.same(left, [])
    t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), new RegExp(clusterDirectory(name)))
  })
})
