import t from 'tap'
import { type ClusterFacts } from '../../core/services/services.ts'
import { aliveIds, open, type ServicesWorld, web } from '../support/services-world.ts'

/** Nodes of a test: each publication is a new version; `have` says which one all of them have. */
function openNodes(): NonNullable<ClusterFacts['convergence']> & { have(version: number): void; version: number } {
  let version = 100
  let known = 100
  const listeners = new Set<() => void>()
  return {
    get version() {
      return version
    },
    publish: () => ++version,
    converged: () => known,
    missing: (wanted) => (wanted <= known ? [] : [{ node: 'slow', problem: 'no route' }]),
    watch: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    have: (next) => {
      known = next
      for (const listener of listeners) listener()
    },
  }
}

const running = (world: ServicesWorld, cmd: string) =>
  world.cluster.alive().filter(({ info, state }) => info.command.value === cmd && state === 'TASK_RUNNING').length

t.test('old instances stay until every node knows the new ones', async (t) => {
  const nodes = openNodes()
  const world = await open(t, { convergence: nodes })
  await world.send('POST', '/v2/apps', web)
  await world.settle()
  t.match(await world.read('/v2/deployments', '0', 'waitingFor'), [
    { app: '/shop/web', for: 'convergence: node slow (no route)' },
  ])
  nodes.have(nodes.version)
  await world.settle()
  t.same(await world.read('/v2/deployments'), [])
  await world.send('PUT', '/v2/apps/shop/web', { cmd: 'two' })
  await world.settle()
  t.equal(running(world, 'serve'), 3, 'all new ones run, but nobody knows')
  t.equal(running(world, 'two'), 3)
  t.match(await world.read('/v2/deployments', '0', 'waitingFor', '0'), {
    instance: /^shop_web\./,
    for: 'convergence: node slow (no route)',
  })
  nodes.have(nodes.version)
  await world.settle()
  t.equal(running(world, 'serve'), 0)
  t.match(await world.read('/v2/deployments'), [{ waitingFor: [{ for: /convergence/ }] }], 'the end of the old is told')
  nodes.have(nodes.version)
  await world.settle()
  t.same(await world.read('/v2/deployments'), [])
})

t.test('back to what was before, and given up halfway', async (t) => {
  const world = await open(t)
  const checked = { ...web, healthChecks: [{ protocol: 'MESOS_HTTP', path: '/' }] }
  world.cluster.behave('run-healthy')
  await world.send('POST', '/v2/apps', checked)
  await world.deployed()
  const first = aliveIds(world)
  world.cluster.behave('run')
  const bad = await world.send('PUT', '/v2/apps/shop/web', { cmd: 'sick' })
  await world.settle()
  t.match(await world.read('/v2/deployments', '0', 'waitingFor', '0', 'for'), 'health: no check has answered yet')
  const back = await world.send('DELETE', `/v2/deployments/${bad.deployment}`)
  t.match(back, { status: 200, body: { version: String, deploymentId: back.deployment } })
  await world.deployed()
  t.same(aliveIds(world), first, 'what still ran was kept')
  t.equal(await world.read('/v2/apps/shop/web', 'app', 'cmd'), 'serve')
  t.match(await world.send('DELETE', '/v2/deployments/nope'), { status: 404 })

  const again = await world.send('PUT', '/v2/apps/shop/web', { cmd: 'sick' })
  await world.settle()
  const mixed = aliveIds(world)
  t.equal(mixed.length, 6)
  t.match(await world.send('DELETE', `/v2/deployments/${again.deployment}?force=true`), { status: 202 })
  await world.settle()
  t.same(await world.read('/v2/deployments'), [])
  t.equal(aliveIds(world).length, 3, 'no more than wanted')
  t.same(aliveIds(world), first, 'those that do not serve go first')
  world.cluster.behave('run-healthy')
  await world.send('PUT', '/v2/apps/shop/web', { cmd: 'good' })
  await world.deployed()
  t.equal(running(world, 'good'), 3)
})

t.test('versions: kept, at most 50, gone back to', async (t) => {
  const world = await open(t)
  await world.send('POST', '/v2/apps', { ...web, instances: 1 })
  await world.deployed()
  const versions = async () => (await world.read('/v2/apps/shop/web/versions', 'versions')) as readonly string[]
  const [first] = await versions()
  for (let i = 0; i < 40; i++) {
    await world.send('PUT', '/v2/apps/shop/web', { cmd: `c${i}` })
    await world.deployed()
  }
  t.match(await world.read(`/v2/apps/shop/web/versions/${first}`), { cmd: 'serve', version: first })
  t.match(await world.send('PUT', '/v2/apps/shop/web', { version: first }), { status: 200 })
  await world.deployed()
  t.equal(running(world, 'serve'), 1)
  for (let i = 0; i < 12; i++) {
    await world.send('PUT', '/v2/apps/shop/web', { instances: 1 + (i % 2) })
    await world.deployed()
  }
  t.equal((await versions()).length, 50)
  t.equal((await world.store.list('service-versions/')).size, 50)
  t.match(await world.send('GET', `/v2/apps/shop/web/versions/${first}`), { status: 404 })
  const info = await world.read('/v2/apps/shop/web', 'app', 'versionInfo')
  t.match(info, { lastScalingAt: String, lastConfigChangeAt: String })
})

t.test('one app of a group is taken over by force: the rest is what it was', async (t) => {
  const world = await open(t)
  const group = (cmd: string) => ({
    apps: [
      { id: 'db', cmd, cpus: 0.1 },
      { id: 'web', cmd, cpus: 0.1, dependencies: ['db'] },
    ],
  })
  await world.send('PUT', '/v2/groups/g', group('one'))
  await world.deployed()
  world.cluster.behave('hold')
  await world.send('PUT', '/v2/groups/g', group('two'))
  await world.settle()
  world.cluster.behave('run')
  t.match(await world.send('PUT', '/v2/apps/g/db?force=true', { cmd: 'three' }), { status: 200 })
  for (const id of aliveIds(world)) world.cluster.update(id, 'TASK_RUNNING')
  await world.deployed()
  t.equal(await world.read('/v2/apps/g/web', 'app', 'cmd'), 'one', 'its turn had not come')
  t.equal(running(world, 'three'), 1)
  t.equal(running(world, 'one'), 1)
})

/** Changes that take several steps, and what is there in the end. */
const changes = [
  { name: 'rolling update', url: '/v2/groups/g', body: { cmd: 'two', instances: 3 }, least: 3, most: 6, tasks: 6 },
  { name: 'scale down', url: '/v2/groups/g', body: { cmd: 'one', instances: 1 }, least: 1, most: 3, tasks: 2 },
  { name: 'scale up', url: '/v2/groups/g', body: { cmd: 'one', instances: 4 }, least: 3, most: 4, tasks: 8 },
]
const pair = ({ cmd, instances }: { cmd: string; instances: number }) => ({
  apps: [
    { id: 'db', cmd, instances, cpus: 0.1 },
    { id: 'web', cmd, instances, cpus: 0.1, dependencies: ['db'] },
  ],
})

/** Makes the change, ends the leader after so many turns of the event loop, and lets the next one go on. */
async function endAt(t: Parameters<typeof open>[0], { url, body }: (typeof changes)[number], moment: number) {
  const first = await open(t)
  await first.send('PUT', url, pair({ cmd: 'one', instances: 3 }))
  await first.deployed()
  const seen = { least: Infinity, most: 0 }
  const turn = async (): Promise<void> => {
    const counts = ['g_db.', 'g_web.'].map((app) => aliveIds(first).filter((id) => id.startsWith(app)).length)
    seen.least = Math.min(seen.least, ...counts)
    seen.most = Math.max(seen.most, ...counts)
    await new Promise((resolve) => setImmediate(resolve))
  }
  const sent = first.send('PUT', url, pair(body))
  for (let i = 0; i < moment; i++) await turn()
  await first.services.close()
  const { status, deployment } = await sent
  await first.close()
  const kept = [...(await first.store.list('services/apps/')).values()].map(({ value }) => value)
  const ongoing = kept.filter((value) => value.includes('"deployment"'))
  const second = await open(t, { from: first, term: 2 })
  // Not taken in time: it is asked for again, as a client does.
  if (status !== 200) await second.send('PUT', url, pair(body))
  for (let i = 0; i < 300; i++) await turn()
  // What was written and never launched is given up after 90 s.
  for (let i = 0; i < 200 && [...second.services.api.world.deployments()].length > 0; i++) {
    second.clock.advance(1_000)
    for (let turns = 0; turns < 5; turns++) await turn()
  }
  await second.deployed()
  const tasks = aliveIds(second).length
  const right = running(second, body.cmd)
  await second.close()
  return {
    ...seen,
    tasks,
    right,
    isSame: status !== 200 || ongoing.every((value) => value.includes(String(deployment))),
    ongoing: Math.min(1, ongoing.length),
  }
}

t.test('a leader that ends at any moment of a deployment: the next one goes on', async (t) => {
  for (const change of changes) {
    const { name, least, most, tasks } = change
    let interrupted = 0
    for (let moment = 0; moment < 24; moment++) {
      const seen = await endAt(t, change, moment)
      interrupted += seen.ongoing
      t.match(seen, { tasks, right: tasks, isSame: true }, `${name} at ${moment}`)
      t.ok(seen.least >= least && seen.most <= most, `${name} at ${moment}: ${seen.least} to ${seen.most}`)
    }
    t.ok(interrupted >= 3, `${name}: ${interrupted} deployments were on their way`)
  }
})

t.test('a node dies in a rolling update', async (t) => {
  const world = await open(t)
  await world.send('POST', '/v2/apps', web)
  await world.deployed()
  world.cluster.behave('hold')
  await world.send('PUT', '/v2/apps/shop/web', { cmd: 'two' })
  await world.settle()
  for (const { info } of world.cluster.alive()) {
    if (info.agentId === 'S0') world.cluster.update(info.taskId, 'TASK_UNREACHABLE')
  }
  world.cluster.behave('run')
  await world.settle()
  for (const { info, state } of world.cluster.alive()) {
    if (state === 'TASK_STAGING') world.cluster.update(info.taskId, 'TASK_RUNNING')
  }
  await world.deployed()
  t.equal(running(world, 'two'), 3)
  t.equal(running(world, 'serve'), 0)
})

t.test('what one deployment costs does not grow with the number of apps', async (t) => {
  const cost = async (apps: number): Promise<number> => {
    const world = await open(t)
    const all = Array.from({ length: apps }, (_, i) => ({ id: `/many/a${i}`, cmd: 'x', instances: 0 }))
    await world.send('PUT', '/v2/apps', all)
    await world.deployed()
    let reads = 0
    const { world: known } = world.services.api
    for (const name of ['app', 'instancesOf', 'group'] as const) {
      const real: (...args: readonly never[]) => unknown = known[name]
      Reflect.set(known, name, (...args: readonly never[]) => {
        reads++
        return real(...args)
      })
    }
    await world.send('PUT', '/v2/apps/many/a7', { instances: 2, cpus: 0.1 })
    await world.settle()
    return reads
  }
  const [few, many] = [await cost(20), await cost(2_000)]
  t.equal(many, few, `${few} reads among 20 apps, ${many} among 2,000`)
})
