import t from 'tap'
import {
  agents,
  aliveIds,
  callsOf,
  checked,
  onAgents,
  open,
  type ServicesWorld,
  web,
} from '../support/services-world.ts'

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
    'instance_changed_event',
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
    [404, 'PUT', '/v2/apps/shop/web', { version: '2020-01-01T00:00:00.000Z' }, { message: /no version/ }],
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
    [400, 'GET', '/v2/apps?label=a%20in%20b'],
    [400, 'POST', '/v2/tasks/delete', { ids: ['x'] }, { message: 'Invalid task id x' }],
    [404, 'GET', '/v2/queue/new/delay', undefined, { message: "App '/new' does not exist" }],
    [404, 'GET', '/v2/queue/shop/web'],
    [400, 'DELETE', '/v2/leader'],
    [404, 'GET', '/v2/pods/shop/web'],
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
  t.match(await world.send('POST', '/v2/tasks/delete', { ids: aliveIds(world) }), { status: 200 })
  await world.settle()
  t.match(await world.send('DELETE', '/v2/apps/shop/web/tasks?host=S0.host'), { status: 200, body: { tasks: Array } })
  await world.settle()
  t.equal(aliveIds(world).length, 2)
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
