import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type LocalCluster, startCluster } from '../../core/cli/up/cluster.ts'
import { runAt } from '../../core/cli/up/checks.ts'
import { storeServerProblem } from '../../core/cli/up/store-server.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { allMasters, killLeader } from '../support/leaders.ts'
import { daemonOf, eventually } from '../support/local-cluster.ts'
import { repeatedly } from '../support/repeat.ts'
import { assertFlawless, promised, rollingApp, underLoad, webTasks } from '../support/services-load.ts'
import { settled } from '../support/vips/stage.ts'

const appPath = '/v2/apps/web'
const idsOf = async (cluster: LocalCluster) => (await webTasks(cluster)).map(({ id }) => id).toSorted()

/** The deployment that is under way. */
async function deploymentOf({ api }: LocalCluster): Promise<{ readonly id: string; readonly waitingFor: string }> {
  return eventually('a deployment is under way', async () => {
    const found: unknown = await api.get('/v2/deployments')
    const [first] = Array.isArray(found) ? found : []
    const [id, waiting] = [Reflect.get(Object(first), 'id'), Reflect.get(Object(first), 'waitingFor')]
    return typeof id === 'string' ? { id, waitingFor: JSON.stringify(waiting) } : undefined
  })
}

/** Until so many instances that are not among `old` serve. */
const freshServe = (cluster: LocalCluster, { old, count }: { old: readonly string[]; count: number }) =>
  eventually(`${count} new ones serve`, async () => {
    const fresh = (await webTasks(cluster)).filter(({ id, serves }) => serves && !old.includes(id))
    return fresh.length >= count ? fresh : undefined
  })

async function assertIs(t: Test, cluster: LocalCluster, { not, count }: { not: readonly string[]; count: number }) {
  const ids = await idsOf(cluster)
  t.equal(ids.length, count, `${count} instances`)
  t.notOk(
    ids.some((id) => not.includes(id)),
    'none of what was to go',
  )
}

/** Updates, a rollback in the middle of one, and both ways of scaling. */
async function updates(t: Test, cluster: LocalCluster): Promise<void> {
  const { api } = cluster
  const old = await idsOf(cluster)
  const seen = await underLoad(t, cluster, async () => {
    await api.send('PUT', appPath, rollingApp(1))
    await settled(cluster)
    await assertIs(t, cluster, { not: old, count: promised })
    const first = await idsOf(cluster)
    await api.send('PUT', appPath, rollingApp(2))
    await freshServe(cluster, { old: first, count: 1 })
    const fresh = (await idsOf(cluster)).filter((id) => !first.includes(id))
    await api.send('DELETE', `/v2/deployments/${(await deploymentOf(cluster)).id}`)
    await settled(cluster)
    await assertIs(t, cluster, { not: fresh, count: promised })
    for (const instances of [promised + 2, promised]) {
      await api.send('PUT', appPath, { instances })
      await settled(cluster)
      await assertIs(t, cluster, { not: [], count: instances })
    }
  })
  assertFlawless(t, 'update, rollback, scaling', seen)
}

async function killAnd(t: Test, cluster: LocalCluster, when: string): Promise<void> {
  t.comment(`${await killLeader(cluster)} is killed: ${when}`)
  await allMasters(cluster)
}

/** The leader is killed in each step of a rolling update, then of a scale-down. */
async function leaderKills(t: Test, cluster: LocalCluster): Promise<void> {
  const { api } = cluster
  const kill = (when: string) => killAnd(t, cluster, when)
  const old = await idsOf(cluster)
  const seen = await underLoad(t, cluster, async () => {
    await api.send('PUT', appPath, rollingApp(3))
    await kill('the update was accepted')
    await eventually('a new one is launched', async () =>
      (await idsOf(cluster)).some((id) => !old.includes(id)) ? true : undefined,
    )
    await kill('a new one was launched')
    await freshServe(cluster, { old, count: 1 })
    await kill('a new one serves')
    await eventually('an old one is gone', async () => {
      const now = await idsOf(cluster)
      return old.some((id) => !now.includes(id)) ? true : undefined
    })
    await kill('an old one is gone')
    await freshServe(cluster, { old, count: promised })
    await kill('all new ones serve')
    await settled(cluster)
    await assertIs(t, cluster, { not: old, count: promised })
  })
  assertFlawless(t, 'an update through five leaders', seen)
  t.equal(seen.by.filter((id) => !old.includes(id)).length, promised, 'nothing was launched twice')

  await api.send('PUT', appPath, { instances: promised + 2 })
  await settled(cluster)
  const many = await idsOf(cluster)
  const scaled = await underLoad(t, cluster, async () => {
    await api.send('PUT', appPath, { instances: promised })
    await kill('the scale-down was accepted')
    await eventually('one is gone', async () => ((await idsOf(cluster)).length < many.length ? true : undefined))
    await kill('the first is gone')
    await settled(cluster)
    await assertIs(t, cluster, { not: [], count: promised })
  })
  assertFlawless(t, 'a scale-down through two leaders', scaled)
  t.same(
    scaled.by.filter((id) => !many.includes(id)),
    [],
    'nothing was launched',
  )
}

/** Standard output of the tasks of a job or an app, as its agent keeps it. */
function outputsBelow(directory: string, app: string): readonly string[] {
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  return files
    .filter((file) => file.endsWith('/stdout') && file.includes(app))
    .map((file) => readFileSync(join(directory, file), 'utf8'))
}

/** The leader is killed in each step of a job's run, whose task writes down when it begins and ends. */
async function jobKills(t: Test, cluster: LocalCluster): Promise<void> {
  const { api } = cluster
  const agents = cluster.layout.hosts.filter(({ kind }) => kind === 'agent')
  /** What all tasks that there ever were of the job have said. */
  const wrote = () => agents.flatMap(({ directory }) => outputsBelow(join(directory, 'agent'), 'once')).join('')
  const cmd = 'echo begin; sleep 8; echo end'
  await api.send('POST', '/v1/jobs', { id: 'once', run: { cmd, cpus: 0.1, mem: 32 } })
  await api.send('POST', '/v1/jobs/once/runs')
  await killAnd(t, cluster, 'the run was asked for')
  await eventually('it runs', async () => (wrote().includes('begin') ? true : undefined))
  await killAnd(t, cluster, 'its task runs')
  await eventually('its task ends', async () => (wrote().includes('end') ? true : undefined))
  await killAnd(t, cluster, 'its task has ended')
  const job = await eventually('the run is over', async () => {
    const found: unknown = await api.get('/v1/jobs/once?embed=history&embed=activeRuns')
    const [runs, history] = [Reflect.get(Object(found), 'activeRuns'), Reflect.get(Object(found), 'history')]
    return Array.isArray(runs) && runs.length === 0 && Reflect.get(Object(history), 'successCount') === 1
      ? found
      : undefined
  })
  t.match(job, { history: { successCount: 1, failureCount: 0 } })
  t.equal(wrote(), 'begin\nend\n', 'it ran once')
}

/** What never gets healthy is held, with the reason, while the old ones serve; and can be taken back. */
async function neverHealthy(t: Test, cluster: LocalCluster): Promise<void> {
  const { api } = cluster
  const old = await idsOf(cluster)
  const check = { protocol: 'COMMAND', command: { value: 'exit 1' }, intervalSeconds: 0.2, gracePeriodSeconds: 0 }
  const seen = await underLoad(t, cluster, async () => {
    await api.send('PUT', appPath, rollingApp(4, { healthChecks: [check] }))
    const reasons = new Set<string>()
    const { id } = await eventually('it is held, and tells why', async () => {
      const found = await deploymentOf(cluster)
      for (const [, reason] of found.waitingFor.matchAll(/"for":"([^"]+)/g)) reasons.add(reason ?? '')
      return [...reasons].some((reason) => /delay: .* failed, the last: .*health/.test(reason)) ? found : undefined
    })
    t.comment([...reasons].join('; '))
    const now = await idsOf(cluster)
    t.same(
      old.filter((one) => !now.includes(one)),
      [],
      'the old ones are all there',
    )
    await api.send('DELETE', `/v2/deployments/${id}`)
    await settled(cluster)
    t.same(await idsOf(cluster), old, 'what was before is as it was')
  })
  assertFlawless(t, 'one that never gets healthy', seen, 50)
  t.same(seen.by.toSorted(), old, 'no sick one answered')
}

/** How long a request may have been under way when the node was lost. Milliseconds. */
const underWayMs = 500
/** Within this the others know of the loss; a kept connection to the node may lose one request that begins in it. */
const detectionMs = 1_000

/** A node vanishes in a rolling update: what was under way there fails, nothing else; given up, the update goes on. */
async function nodeLoss(t: Test, cluster: LocalCluster): Promise<void> {
  const { api, layout } = cluster
  const lost = 'agent3'
  const old = await idsOf(cluster)
  t.ok(
    (await webTasks(cluster)).some(({ node }) => node === lost),
    'it serves at first',
  )
  let cutMs = 0
  const seen = await underLoad(t, cluster, async () => {
    await api.send('PUT', appPath, rollingApp(5))
    await freshServe(cluster, { old, count: 1 })
    await runAt(layout, lost, ['ip', 'link', 'set', 'eth0', 'down'])
    cutMs = performance.timeOrigin + performance.now()
    for (const name of ['agent', 'net']) process.kill(daemonOf(cluster, `${lost}/${name}`).pid, 'SIGKILL')
    await cluster.stopHost(lost)
    const told = await eventually('the deployment tells what it waits for', async () => {
      const { waitingFor } = await deploymentOf(cluster)
      return waitingFor.includes(lost) ? waitingFor : undefined
    })
    t.comment(`the deployment waits: ${told}`)
    const nodes: unknown = await api.get('/weft/v1/nodes')
    const found: unknown = Reflect.get(Object(nodes), 'nodes')
    const agentId: unknown = (Array.isArray(found) ? found : []).find(({ name }) => name === lost)?.agentId
    await api.send('POST', '/api/v1', { type: 'MARK_AGENT_GONE', mark_agent_gone: { agent_id: { value: agentId } } })
    await eventually('the update goes on to its end', async () => {
      const deployments: unknown = await api.get('/v2/deployments')
      return Array.isArray(deployments) && deployments.length === 0 ? true : undefined
    })
    await assertIs(t, cluster, { not: old, count: promised })
  })
  const { failures, kept, answers } = seen
  t.comment(
    `${answers.length} new connections, ${failures.length} failed; kept: ${kept.answered}, ${kept.failures.length} failed`,
  )
  for (const { atMs, why } of [...failures, ...kept.failures]) t.comment(`${Math.round(atMs - cutMs)} ms: ${why}`)
  t.same(
    failures.filter(({ why }) => why?.startsWith('connect') === true),
    [],
    'every connection was made',
  )
  const isOutside = (afterMs: number) => (one: { readonly atMs: number }) =>
    one.atMs < cutMs - underWayMs || one.atMs > cutMs + afterMs
  t.same(failures.filter(isOutside(0)), [], 'over new connections only what was under way failed')
  t.same(
    kept.failures.filter(isOutside(detectionMs)),
    [],
    'over kept ones also what was sent before the loss was known',
  )
  t.ok(kept.failures.length <= 4, 'of each kept connection one request at most')
}

await repeatedly(t, 'services under faults', {
  skip: canMakeHosts || (storeServerProblem('redis') ?? false),
  suite: async (t) => {
    const cluster = await startCluster({
      ...{ name: `flt7-${process.pid}`, agents: 3, masters: 3, store: 'redis', port: 0 },
      ...{ networks: ['dcos'], progress: () => undefined },
    })
    t.teardown(async () => {
      // What it looked like at the end: of use when something failed.
      if (!t.passing()) {
        const left = await cluster.api.get('/v2/deployments').catch(String)
        t.comment(JSON.stringify(left), JSON.stringify(await webTasks(cluster).catch(String)))
      }
      await cluster.stop()
    })
    await cluster.api.send('POST', '/v2/apps', rollingApp(0))
    await settled(cluster)
    await t.test('updates, rollback, scaling', (t) => updates(t, cluster))
    await t.test('the leader is killed in each step', (t) => leaderKills(t, cluster))
    await t.test('the leader is killed in each step of a run', (t) => jobKills(t, cluster))
    await t.test('an app that never gets healthy', (t) => neverHealthy(t, cluster))
    await t.test('a node dies in a rolling update', (t) => nodeLoss(t, cluster))
  },
})
