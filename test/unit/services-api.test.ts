import t, { type Test } from 'tap'
import { type TaskId } from '../../core/model/ids.ts'
import { agents, openServicesWorld, type ServicesWorld, type WorldParts } from '../support/services-world.ts'

const web = {
  id: '/shop/web',
  cmd: 'serve',
  instances: 3,
  networks: [{ mode: 'container', name: 'dcos' }],
  container: { portMappings: [{ containerPort: 80, labels: { VIP_0: '/web:80' } }] },
}
const checked = { ...web, healthChecks: [{ protocol: 'MESOS_HTTP', path: '/' }] }

async function open(t: Test, parts: WorldParts = {}): Promise<ServicesWorld> {
  const world = await openServicesWorld(parts)
  t.teardown(() => world.close())
  return world
}

const aliveIds = (world: ServicesWorld): readonly TaskId[] =>
  world.cluster
    .alive()
    .map(({ info }) => info.taskId)
    .toSorted()
const callsOf = (world: ServicesWorld, kind: string): number =>
  world.cluster.calls.filter((call) => call.kind === kind).length
const onAgents = (world: ServicesWorld): readonly number[] => {
  const counts = new Map<string, number>()
  for (const { info } of world.cluster.alive()) counts.set(info.agentId, (counts.get(info.agentId) ?? 0) + 1)
  return [...counts.values()].toSorted()
}

t.test('an app from POST to DELETE', async (t) => {
  const world = await open(t)
  const seen: string[] = []
  world.services.api.hub.subscribe(({ type }) => seen.push(type))
  world.cluster.behave('hold')
  const posted = await world.send('POST', '/v2/apps', web)
  t.match(posted, {
    status: 201,
    deployment: /^[0-9a-f-]{36}$/,
    body: { id: '/shop/web', tasksRunning: 0, deployments: [{}] },
  })
  await world.settle()
  t.same(onAgents(world), [1, 1, 1], 'spread')
  t.match(await world.read('/v2/deployments', '0'), {
    id: posted.deployment,
    affectedApps: ['/shop/web'],
    currentActions: [{ action: 'StartApplication', app: '/shop/web' }],
  })
  t.match(await world.read('/v2/apps//shop/web', 'app'), {
    tasksStaged: 3,
    tasksRunning: 0,
    tasks: [{ state: 'TASK_STAGING' }, {}, {}],
  })
  for (const id of aliveIds(world)) world.cluster.update(id, 'TASK_RUNNING')
  await world.deployed()
  t.same(await world.read('/v2/deployments'), [])
  t.match(await world.read('/v2/apps?embed=apps.tasks', 'apps', '0'), {
    tasksRunning: 3,
    tasks: [
      {
        appId: '/shop/web',
        host: /\.host$/,
        ipAddresses: [{ ipAddress: '10.80.0.2', protocol: 'IPv4' }],
        startedAt: String,
      },
      {},
      {},
    ],
  })
  t.equal(callsOf(world, 'acknowledge'), 3)
  t.match(await world.send('DELETE', '/v2/apps/shop/web'), {
    status: 200,
    body: { version: String, deploymentId: String },
  })
  await world.settle()
  t.same(world.cluster.alive(), [])
  t.same([...(await world.store.list('')).keys()], ['services/framework'], 'nothing is kept')
  t.match(await world.send('GET', '/v2/apps/shop/web'), {
    status: 404,
    body: { message: "App '/shop/web' does not exist" },
  })
  const expected = [
    'api_post_event',
    'deployment_info',
    'status_update_event',
    'deployment_success',
    'app_terminated_event',
  ]
  t.same([...new Set(seen)].toSorted(), expected.toSorted())
})

t.test('requests that are refused change nothing', async (t) => {
  const world = await open(t)
  await world.send('POST', '/v2/apps', web)
  await world.deployed()
  const before = JSON.stringify([...(await world.store.list(''))])
  const calls = world.cluster.calls.length
  type Refused = readonly [number, Parameters<ServicesWorld['send']>[0], string, unknown?, object?]
  const table: readonly Refused[] = [
    [
      422,
      'POST',
      '/v2/apps',
      { ...web, id: '/other', networks: [{ name: 'nowhere' }] },
      { message: 'Object is not valid', details: [{ path: '/networks(0)/name', errors: [/nowhere/] }] },
    ],
    [
      422,
      'POST',
      '/v2/apps',
      { id: '/u', cmd: 'x', portDefinitions: [{ protocol: 'udp', labels: { VIP_0: 'web:80' } }] },
      { details: [{ path: '/portDefinitions(0)/labels(VIP_0)', errors: [/shop\/web/] }] },
    ],
    [422, 'POST', '/v2/apps', { id: '/shop', cmd: 'x' }, { details: [{ path: '/id' }] }],
    [422, 'POST', '/v2/apps', [], { details: [{ path: '/' }] }],
    [422, 'POST', '/v2/apps', undefined, { message: String }],
    [409, 'POST', '/v2/apps', web, { message: 'An app with id [/shop/web] already exists.' }],
    [422, 'PUT', '/v2/apps/shop/web', { instances: -1 }, { details: [{ path: '/instances' }] }],
    [422, 'PUT', '/v2/apps/shop/web', { id: '/shop/other' }, { details: [{ path: '/id' }] }],
    [422, 'PUT', '/v2/apps/shop/web', { version: '2020-01-01T00:00:00.000Z' }, { details: [{ path: '/version' }] }],
    [422, 'PUT', '/v2/apps/new', { instances: 1 }, { details: [{ path: '/cmd' }] }],
    [404, 'PUT', '/v2/apps/Bad', { cmd: 'x' }],
    [404, 'PATCH', '/v2/apps/new', { cmd: 'x' }, { message: "App '/new' does not exist" }],
    [422, 'PUT', '/v2/apps', [{ id: '/a', cmd: 'x' }, { id: '/b' }], { details: [{ path: '/(1)/cmd' }] }],
    [
      422,
      'PUT',
      '/v2/apps',
      [
        { id: '/a', cmd: 'x' },
        { id: '/a', cmd: 'x' },
      ],
      { details: [{ path: '/(1)/id' }] },
    ],
    [
      422,
      'PUT',
      '/v2/apps',
      [
        { id: '/a', cmd: 'x' },
        { id: '/a/b', cmd: 'x' },
      ],
      { details: [{ path: '/(1)/id' }] },
    ],
    [404, 'DELETE', '/v2/apps/new'],
    [404, 'POST', '/v2/apps/new/restart'],
    [404, 'POST', '/v2/apps/shop/web'],
    [404, 'GET', '/v2/apps/new/tasks'],
    [404, 'DELETE', '/v2/apps/shop/web/tasks/nobody'],
    [400, 'DELETE', '/v2/apps/shop/web?force=perhaps'],
    [400, 'POST', '/v2/tasks/delete', { id: 'x' }],
    [400, 'GET', '/v2/apps?label=a%20in%20(b)'],
    [404, 'GET', '/v2/pods'],
  ]
  for (const [status, method, url, body, expected] of table) {
    const answer = await world.send(method, url, body)
    t.match(
      answer,
      { status, ...(expected === undefined ? {} : { body: expected }) },
      `${method} ${url} ${JSON.stringify(body)}`,
    )
  }
  await world.settle()
  t.equal(JSON.stringify([...(await world.store.list(''))]), before)
  t.equal(world.cluster.calls.length, calls)
})

t.test('scale, and the lock of a deployment', async (t) => {
  const world = await open(t)
  await world.send('POST', '/v2/apps', web)
  await world.deployed()
  const first = aliveIds(world)
  world.cluster.behave('hold')
  t.match(await world.send('PUT', '/v2/apps/shop/web', { instances: 5 }), { status: 200 })
  t.match(await world.send('PUT', '/v2/apps/shop/web', { instances: 6 }), {
    status: 409,
    body: { message: /locked/, deployments: [{ id: String }] },
  })
  t.match(await world.send('DELETE', '/v2/apps/shop/web'), { status: 409 })
  t.match(await world.send('PUT', '/v2/apps/shop/web?force=true', { instances: 4 }), { status: 200 })
  await world.settle()
  t.equal(world.cluster.alive().length, 4)
  world.cluster.behave('run')
  await world.send('PATCH', '/v2/apps/shop/web?force=true', { instances: 2 })
  await world.deployed()
  t.equal(aliveIds(world).length, 2)
  t.same(
    aliveIds(world).filter((id) => !first.includes(id)),
    [],
    'the youngest went, nothing was restarted',
  )
  await world.send('PUT', '/v2/apps/shop/web', { instances: 0 })
  await world.deployed()
  t.same(aliveIds(world), [])
})

t.test('a rolling update keeps what it promises', async (t) => {
  const world = await open(t)
  world.cluster.behave('run-healthy')
  await world.send('POST', '/v2/apps', checked)
  await world.deployed()
  const old = aliveIds(world)
  world.cluster.behave('run')
  await world.send('PUT', '/v2/apps/shop/web', { env: { V: '2' } })
  await world.settle()
  t.equal(aliveIds(world).length, 6, 'beside the old ones')
  t.equal(callsOf(world, 'kill'), 0, 'none goes before a new one is healthy')
  const fresh = aliveIds(world).filter((id) => !old.includes(id))
  for (const [i, id] of fresh.entries()) {
    world.cluster.update(id, 'TASK_RUNNING', { healthy: true })
    await world.settle()
    t.equal(callsOf(world, 'kill'), i + 1, 'one for one')
  }
  await world.deployed()
  t.same(aliveIds(world), fresh.toSorted())
  t.equal(world.cluster.peak, 6)
  world.cluster.behave('run-healthy')
  t.match(await world.send('POST', '/v2/apps/shop/web/restart'), { status: 200, deployment: String })
  await world.deployed()
  t.same(
    aliveIds(world).filter((id) => fresh.includes(id)),
    [],
    'restart replaces all',
  )
  t.equal(aliveIds(world).length, 3)
})

t.test('an update that never gets healthy is held, and can be forced back', async (t) => {
  const world = await open(t)
  world.cluster.behave('run-healthy')
  await world.send('POST', '/v2/apps', checked)
  await world.deployed()
  const old = aliveIds(world)
  world.cluster.behave('run')
  await world.send('PUT', '/v2/apps/shop/web', { cmd: 'broken' })
  await world.settle()
  for (const id of aliveIds(world).filter((one) => !old.includes(one)))
    world.cluster.update(id, 'TASK_RUNNING', { healthy: false })
  await world.settle()
  t.equal(callsOf(world, 'kill'), 0)
  t.match(await world.read('/v2/apps/shop/web', 'app'), { tasksHealthy: 3, tasksUnhealthy: 3 })
  world.cluster.behave('run-healthy')
  t.match(await world.send('PUT', '/v2/apps/shop/web?force=true', { cmd: 'serve' }), { status: 200 })
  await world.deployed()
  t.equal(aliveIds(world).length, 3)
  t.ok(world.cluster.peak <= 6)
})

t.test('tasks are killed by request', async (t) => {
  const world = await open(t)
  await world.send('POST', '/v2/apps', web)
  await world.deployed()
  const [one = '', two = ''] = aliveIds(world)
  t.match(await world.send('DELETE', `/v2/apps/shop/web/tasks/${one}`), { status: 200, body: { task: { id: one } } })
  await world.settle()
  t.equal(aliveIds(world).length, 3, 'it is replaced')
  t.notOk(aliveIds(world).some((id) => id === one))
  t.match(await world.send('DELETE', `/v2/apps/shop/web/tasks/${two}?scale=true`), { status: 200, deployment: String })
  await world.deployed()
  t.equal(await world.read('/v2/apps/shop/web', 'app', 'instances'), 2)
  t.equal(aliveIds(world).length, 2)
  t.notOk(aliveIds(world).some((id) => id === two))
  t.match(await world.send('POST', '/v2/tasks/delete', { ids: [...aliveIds(world), 'x', 'a.b'] }), { status: 200 })
  await world.settle()
  t.match(await world.send('DELETE', '/v2/apps/shop/web/tasks?host=S0.host'), { status: 200, body: { tasks: Array } })
  await world.settle()
  t.equal(aliveIds(world).length, 2)
})

t.test('a new leader goes on: nothing doubled, nothing lost', async (t) => {
  const first = await open(t)
  await first.send('POST', '/v2/apps', web)
  await first.deployed()
  await first.send('POST', '/v2/apps', { id: '/gone', cmd: 'x' })
  await first.deployed()
  const before = aliveIds(first)
  const frameworkId = first.services.api.frameworkId()
  await first.services.close()
  // While nobody leads: one task ends, and the record of an app is lost.
  const [dead] = before.filter((id) => id.startsWith('shop_web'))
  if (dead === undefined) throw new Error('no task')
  first.cluster.update(dead, 'TASK_FAILED')
  const keys = [...(await first.store.list('services/')).keys()].filter((key) => key.includes('gone'))
  await first.store.write(
    keys.map((key) => ({ key, value: undefined })),
    { term: 1 },
  )

  const second = await open(t, { from: first, term: 2 })
  t.equal(second.services.api.frameworkId(), frameworkId)
  await second.settle()
  second.clock.advance(2_000)
  await second.settle()
  const after = aliveIds(second)
  t.equal(after.length, 3)
  t.equal(after.filter((id) => before.includes(id)).length, 2, 'the living were kept')
  t.equal(after.filter((id) => id.startsWith('gone')).length, 0, 'a task whose app is gone was stopped')
  t.same(await second.read('/v2/deployments'), [])
})

t.test('a leader that stops in a rolling update: the next one finishes it', async (t) => {
  const first = await open(t)
  await first.send('POST', '/v2/apps', checked)
  first.cluster.behave('run-healthy')
  await first.settle()
  for (const id of aliveIds(first)) first.cluster.update(id, 'TASK_RUNNING', { healthy: true })
  await first.deployed()
  const old = aliveIds(first)
  first.cluster.behave('run')
  const { deployment } = await first.send('PUT', '/v2/apps/shop/web', { cmd: 'two' })
  await first.settle()
  const fresh = aliveIds(first).filter((id) => !old.includes(id))
  if (fresh[0] !== undefined) first.cluster.update(fresh[0], 'TASK_RUNNING', { healthy: true })
  await first.settle()
  await first.services.close()
  const second = await open(t, { from: first, term: 2 })
  t.equal(await second.read('/v2/deployments', '0', 'id'), deployment)
  t.equal(second.cluster.alive().length, 5, 'nothing doubled: 2 old, 3 new')
  for (const id of fresh) second.cluster.update(id, 'TASK_RUNNING', { healthy: true })
  await second.deployed()
  t.same(aliveIds(second), fresh.toSorted())
  t.equal(second.cluster.peak, 6)
})

t.test('tasks that fail are launched again, but not in a loop', async (t) => {
  const world = await open(t)
  world.cluster.behave('fail')
  await world.send('POST', '/v2/apps', { ...web, instances: 1 })
  await world.settle()
  t.equal(world.cluster.tasks.size, 1)
  t.match(await world.read('/v2/queue', 'queue', '0'), { count: 1, delay: { timeLeftSeconds: 1, overdue: false } })
  t.match(await world.read('/v2/apps/shop/web', 'app', 'lastTaskFailure'), {
    message: 'exited with 1',
    state: 'TASK_FAILED',
  })
  for (let second = 0; second < 60; second++) {
    world.clock.advance(1_000)
    await world.settle()
  }
  t.ok(
    world.cluster.tasks.size >= 8 && world.cluster.tasks.size <= 18,
    `${world.cluster.tasks.size} launches in a minute`,
  )
  t.ok(world.cluster.peak <= 2)
  world.cluster.behave('run')
  t.match(await world.send('PUT', '/v2/apps/shop/web?force=true', { cmd: 'better' }), { status: 200 })
  world.clock.advance(10_000)
  await world.deployed()
  t.equal(aliveIds(world).length, 1)
})

t.test('what is too large waits, and says why', async (t) => {
  const world = await open(t, { agents: agents(2) })
  t.match(await world.send('POST', '/v2/apps', { id: '/big', cmd: 'x', cpus: 9 }), { status: 201 })
  await world.settle()
  const item = await world.read('/v2/queue', 'queue', '0')
  t.match(item, {
    count: 1,
    app: { id: '/big' },
    processedOffersSummary: { processedOffersCount: 2, unusedOffersCount: 2 },
  })
  const funnel = await world.read('/v2/queue', 'queue', '0', 'processedOffersSummary', 'rejectSummaryLastOffers')
  t.match(funnel, [
    { reason: 'UnfulfilledRole', declined: 0, processed: 2 },
    { reason: 'UnfulfilledConstraint', declined: 0, processed: 2 },
    {},
    {},
    { reason: 'InsufficientCpus', declined: 2, processed: 2 },
    { reason: 'InsufficientMemory', declined: 0, processed: 0 },
  ])
  t.match(
    world.cluster.calls.findLast(({ kind }) => kind === 'decline'),
    { refuseMs: 5_000 },
  )
  await world.send('POST', '/v2/apps', web)
  await world.settle()
  t.equal(aliveIds(world).length, 3, 'another app does not wait for it')
  await world.send('PUT', '/v2/apps/big?force=true', { cpus: 4 })
  await world.deployed()
  t.same(await world.read('/v2/queue', 'queue'), [])
})

t.test('nothing is done while nothing is to do', async (t) => {
  const world = await open(t)
  await world.send('POST', '/v2/apps', web)
  await world.deployed()
  const calls = world.cluster.calls.length
  t.ok(callsOf(world, 'suppress') > 0)
  for (let minute = 0; minute < 30; minute++) {
    world.clock.advance(60_000)
    world.cluster.allocate()
    await world.settle()
  }
  t.equal(world.cluster.calls.length, calls)
})

t.test('a full disk refuses and changes nothing; when there is room it goes on', async (t) => {
  const world = await open(t)
  await world.send('POST', '/v2/apps', web)
  await world.deployed()
  const before = aliveIds(world)
  world.store.full = true
  t.match(await world.send('PUT', '/v2/apps/shop/web', { instances: 9 }), { status: 503, body: { message: /disk/ } })
  t.match(await world.send('DELETE', '/v2/apps/shop/web'), { status: 503 })
  t.match(await world.send('POST', '/v2/apps', { id: '/new', cmd: 'x' }), { status: 503 })
  const [dead] = before
  if (dead !== undefined) world.cluster.update(dead, 'TASK_FAILED')
  for (let i = 0; i < 5; i++) {
    world.clock.advance(1_000)
    await world.settle()
  }
  t.same(aliveIds(world), before.slice(1), 'nothing was started or stopped')
  t.equal(await world.read('/v2/apps/shop/web', 'app', 'instances'), 3)
  t.equal(callsOf(world, 'acknowledge'), 3, 'the end is not acknowledged before it is kept')
  t.match(await world.send('GET', '/v2/apps/new'), { status: 404 })
  world.store.full = false
  world.clock.advance(1_000)
  await world.settle()
  t.equal(aliveIds(world).length, 3)
  t.equal(callsOf(world, 'acknowledge'), 5)
})

t.test('a deposed leader does nothing any more', async (t) => {
  const world = await open(t)
  await world.send('POST', '/v2/apps', web)
  await world.deployed()
  const abort = new AbortController()
  for (let term = 0; term < 2; term++)
    await world.store.elect('another', { signal: abort.signal }).then((l) => l.resign())
  const calls = world.cluster.calls.length
  t.match(await world.send('PUT', '/v2/apps/shop/web', { instances: 9 }), { status: 503 })
  t.match(await world.send('DELETE', '/v2/apps/shop/web'), { status: 503, body: { message: /not the leader/ } })
  await world.settle()
  t.equal(world.cluster.calls.slice(calls).filter(({ kind }) => kind === 'kill' || kind === 'accept').length, 0)
})

t.test('an agent out of reach, and back', async (t) => {
  const world = await open(t)
  await world.send('POST', '/v2/apps', web)
  await world.deployed()
  const [lost] = aliveIds(world)
  if (lost === undefined) throw new Error('no task')
  world.cluster.update(lost, 'TASK_UNREACHABLE')
  await world.settle()
  t.equal(aliveIds(world).length, 4, 'replaced at once')
  world.cluster.update(lost, 'TASK_RUNNING')
  await world.settle()
  t.equal(aliveIds(world).length, 3, 'one too many is stopped')
  world.cluster.killing('never')
  await world.send('DELETE', '/v2/apps/shop/web')
  await world.settle()
  const kills = callsOf(world, 'kill')
  for (let i = 0; i < 4; i++) {
    world.clock.advance(13_001)
    await world.settle()
  }
  t.equal(callsOf(world, 'kill'), kills + 12, 'each of 3 is asked again each time')
  t.match(await world.send('POST', '/v2/apps', web), { status: 409 })
  world.cluster.killing('at-once')
  world.clock.advance(13_001)
  await world.settle()
  t.match(await world.send('POST', '/v2/apps', web), { status: 201 })
})

t.test('500 instances, and all of them anew', async (t) => {
  const world = await open(t, { agents: agents(50) })
  const small = { cpus: 0.1, mem: 32, portDefinitions: [] }
  await world.send('POST', '/v2/apps', { id: '/many', cmd: 'x', instances: 500, ...small })
  await world.deployed()
  t.same(new Set(onAgents(world)), new Set([10]))
  await world.send('PUT', '/v2/apps/many', {
    cmd: 'y',
    upgradeStrategy: { minimumHealthCapacity: 0.5, maximumOverCapacity: 0.2 },
  })
  await world.deployed()
  t.equal(aliveIds(world).length, 500)
  t.ok(world.cluster.peak <= 600, `${world.cluster.peak} at most`)
  t.ok(world.cluster.alive().every(({ info }) => info.command.value === 'y'))
})

t.test('a framework that the master removed begins anew', async (t) => {
  const world = await open(t)
  await world.send('POST', '/v2/apps', web)
  await world.deployed()
  for (const id of aliveIds(world)) world.cluster.update(id, 'TASK_KILLED')
  world.cluster.send({ kind: 'error', message: 'Framework has been removed' })
  await world.settle()
  world.clock.advance(1_000)
  await world.settle()
  t.equal(world.services.api.frameworkId(), 'fake-0001')
  t.equal((await world.store.get('services/framework'))?.value, 'fake-0001')
  world.clock.advance(1_000)
  await world.settle()
  t.equal(aliveIds(world).length, 3)
})

t.test('several apps in one deployment', async (t) => {
  const world = await open(t)
  const done: unknown[] = []
  world.services.api.hub.subscribe(({ type, body }) => type === 'deployment_success' && done.push(body['id']))
  const { deployment, status } = await world.send('PUT', '/v2/apps', [web, { id: '/b', cmd: 'x' }])
  t.equal(status, 200)
  await world.deployed()
  t.same(done, [deployment], 'one end')
  t.match(await world.read('/v2/apps?id=%2Fb', 'apps'), [{ id: '/b', tasksRunning: 1 }])
  t.same(await world.read('/v2/apps?label=x', 'apps'), [])
})

t.test('what else is asked', async (t) => {
  const world = await open(t)
  t.match(await world.send('GET', '/ping'), { status: 200, body: 'pong' })
  t.match(await world.read('/v2/info'), { name: 'marathon', frameworkId: 'fake-0000', leader: 'master:8080' })
  t.same(await world.read('/v2/leader'), { leader: 'master:8080' })
  t.same(await world.read('/v2/tasks'), { tasks: [] })
})

t.test('a stream does not hold up the end of the server', async (t) => {
  const world = await open(t)
  const address = await world.app.listen({ host: '127.0.0.1', port: 0 })
  const response = await fetch(`${address}/v2/events`)
  await world.app.close()
  await t.rejects(response.text(), 'cut off')
})

t.test('events are streamed, filtered, and end with the services', async (t) => {
  const world = await open(t)
  const address = await world.app.listen({ host: '127.0.0.1', port: 0 })
  const response = await fetch(`${address}/v2/events?event_type=deployment_success&plan-format=light`)
  t.match(response.headers.get('content-type'), 'text/event-stream')
  const { deployment } = await world.send('POST', '/v2/apps', web)
  await world.deployed()
  let text = ''
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk
    if (text.includes('\r\n\r\n')) break
  }
  const [name = '', data = ''] = text.split('\r\n')
  t.equal(name, 'event: deployment_success')
  t.match(JSON.parse(data.slice('data: '.length)), {
    eventType: 'deployment_success',
    id: deployment,
    timestamp: String,
  })
  const other = await fetch(`${address}/v2/events`)
  await world.services.close()
  await t.rejects(other.text(), 'cut off')
})
