import t from 'tap'
import { aliveIds, open, type ServicesWorld } from '../support/services-world.ts'

const app = (id: string, more: object = {}) => ({ id, cmd: 'x', cpus: 0.1, ...more })
/** Source: marathon, docs/application-groups. */
const product = {
  id: '/product',
  groups: [
    { id: 'database', apps: [app('mongo'), app('mysql', { instances: 2 })] },
    {
      id: '/product/service',
      dependencies: ['../database'],
      apps: [app('rails'), app('play', { dependencies: ['rails'] })],
    },
  ],
}

const actions = (world: ServicesWorld, url = '/v2/deployments') => world.read(url, '0', 'steps')
const idsOf = (world: ServicesWorld) =>
  [...world.services.api.world.apps()].map(({ definition }) => definition.id).toSorted()

t.test('a group is deployed in the order of its dependencies', async (t) => {
  const world = await open(t)
  world.cluster.behave('hold')
  const posted = await world.send('POST', '/v2/groups', product)
  t.match(posted, { status: 201, body: { version: String, deploymentId: posted.deployment } })
  await world.settle()
  const start = (id: string) => ({ action: 'StartApplication', app: id })
  t.same(await actions(world), [
    { actions: [start('/product/database/mongo'), start('/product/database/mysql')] },
    { actions: [start('/product/service/rails')] },
    { actions: [start('/product/service/play')] },
  ])
  t.match(await world.read('/v2/deployments', '0'), {
    currentStep: 1,
    totalSteps: 3,
    affectedPods: [],
    currentActions: [{ readinessCheckResults: [] }, {}],
    waitingFor: [
      { app: '/product/database/mongo', for: 'start: TASK_STAGING' },
      {},
      {},
      { app: '/product/service/rails', for: 'dependency /product/database' },
      { app: '/product/service/play', for: 'dependency /product/service/rails' },
    ],
  })
  t.equal(aliveIds(world).length, 3, 'only the first step runs')
  t.match(await world.send('PUT', '/v2/apps/product/service/rails', { instances: 2 }), {
    status: 409,
    body: { deployments: [{ id: posted.deployment }] },
  })
  for (const id of aliveIds(world)) world.cluster.update(id, 'TASK_RUNNING')
  await world.settle()
  t.match(await world.read('/v2/deployments', '0'), {
    currentStep: 2,
    currentActions: [start('/product/service/rails')],
  })
  world.cluster.behave('run')
  for (const id of aliveIds(world)) world.cluster.update(id, 'TASK_RUNNING')
  await world.deployed()
  t.equal(aliveIds(world).length, 5)
  t.match(await world.read('/v2/groups/product'), {
    id: '/product',
    apps: [],
    groups: [
      { id: '/product/database', apps: [{ id: '/product/database/mongo' }, {}], dependencies: [] },
      { id: '/product/service', dependencies: ['/product/database'] },
    ],
  })
  t.match(
    await world.read(
      '/v2/groups?embed=group.groups&embed=group.apps&embed=group.apps.counts',
      'groups',
      '0',
      'groups',
      '0',
      'apps',
    ),
    [{ tasksRunning: 1 }, { tasksRunning: 2 }],
  )
  t.match(await world.read('/v2/groups?embed=group.groups'), { apps: undefined, groups: [{ id: '/product' }] })
})

t.test('a group is changed, scaled, taken back and removed', async (t) => {
  const world = await open(t)
  await world.send('POST', '/v2/groups', product)
  await world.deployed()
  const [first] = (await world.read('/v2/groups/product/versions')) as readonly string[]
  const kept = aliveIds(world)
  const update = { groups: [{ id: 'database', apps: [app('mongo', { cmd: 'y' }), app('redis')] }] }
  const dry = await world.send('PUT', '/v2/groups/product?dryRun=true', update)
  t.match(dry, {
    status: 200,
    body: {
      steps: [
        { actions: [{ action: 'StopApplication', app: '/product/service/play' }] },
        { actions: [{ action: 'StopApplication', app: '/product/service/rails' }] },
        { actions: [{ action: 'StopApplication', app: '/product/database/mysql' }] },
        { actions: [{ action: 'RestartApplication' }, { action: 'StartApplication', app: '/product/database/redis' }] },
      ],
    },
  })
  await world.settle()
  t.same(aliveIds(world), kept, 'nothing of it was done')
  t.match(await world.send('PUT', '/v2/groups/product', update), { status: 200 })
  await world.deployed()
  t.same(idsOf(world), ['/product/database/mongo', '/product/database/redis'])
  t.match(await world.send('PUT', '/v2/groups/product', { scaleBy: 1.5 }), { status: 200 })
  await world.deployed()
  t.equal(aliveIds(world).length, 4)
  t.match(await world.send('PUT', '/v2/groups/product', { version: first }), { status: 200 })
  await world.deployed()
  t.equal(idsOf(world).length, 4)
  t.equal(aliveIds(world).length, 5)
  t.match(await world.read('/v2/groups/product', 'groups', '1'), { dependencies: ['/product/database'] })
  t.match(await world.read(`/v2/groups/product/versions/${first}`), { id: '/product', apps: [{}, {}, {}, {}] })
  t.match(await world.send('DELETE', '/v2/groups/product/database'), { status: 409, body: { message: /depend on it/ } })
  t.match(await world.send('DELETE', '/v2/groups/product'), { status: 200 })
  await world.deployed()
  t.match(await world.send('GET', '/v2/groups/product'), {
    status: 404,
    body: { message: "Group '/product' does not exist" },
  })
  t.same([...(await world.store.list('')).keys()], ['services/framework'], 'nothing is kept')
})

t.test('an empty group stays, one that only held apps goes', async (t) => {
  const world = await open(t)
  t.match(await world.send('POST', '/v2/groups', { id: '/empty' }), { status: 201 })
  t.match(await world.send('GET', '/v2/groups/empty'), { status: 200, body: { id: '/empty', apps: [], groups: [] } })
  t.match(await world.send('POST', '/v2/groups', { id: 'empty' }), { status: 409 })
  await world.send('POST', '/v2/apps', app('/a/b/c'))
  await world.deployed()
  t.match(await world.send('GET', '/v2/groups/a/b'), { status: 200, body: { apps: [{ id: '/a/b/c' }] } })
  await world.send('DELETE', '/v2/apps/a/b/c')
  await world.deployed()
  t.match(await world.send('GET', '/v2/groups/a/b'), { status: 404 })
  t.match(await world.send('PUT', '/v2/groups/made', { apps: [app('one')] }), { status: 201 })
  await world.deployed()
  t.same(idsOf(world), ['/made/one'])
})

const bad: readonly (readonly [number, 'POST' | 'PUT', string, unknown, object])[] = [
  [422, 'POST', '/v2/groups', {}, { details: [{ path: '/id' }] }],
  [422, 'POST', '/v2/groups', [], { details: [{ path: '/' }] }],
  [422, 'POST', '/v2/groups', { id: '/Bad' }, { details: [{ path: '/id' }] }],
  [422, 'POST', '/v2/groups', { id: '/g', nope: 1 }, { details: [{ path: '/nope' }] }],
  [422, 'POST', '/v2/groups', { id: '/g', apps: [{ id: 'a' }] }, { details: [{ path: '/apps(0)/cmd' }] }],
  [422, 'POST', '/v2/groups', { id: '/g', apps: [app('/h/a')] }, { details: [{ path: '/apps(0)/id' }] }],
  [422, 'POST', '/v2/groups', { id: '/g', apps: [app('a'), app('a')] }, { details: [{ path: '/apps(1)/id' }] }],
  [422, 'POST', '/v2/groups', { id: '/g', apps: 7 }, { details: [{ path: '/apps' }] }],
  [
    422,
    'POST',
    '/v2/groups',
    { id: '/g', groups: [{ id: 'h', apps: [{ id: 'a', cmd: 'x', cpus: -1 }] }] },
    { details: [{ path: '/groups(0)/apps(0)/cpus' }] },
  ],
  [422, 'POST', '/v2/groups', { id: '/g', dependencies: ['/nowhere'] }, { details: [{ path: '/dependencies(0)' }] }],
  [
    422,
    'POST',
    '/v2/groups',
    { id: '/g', apps: [app('a', { dependencies: ['b'] }), app('b', { dependencies: ['a'] })] },
    { details: [{ path: '/dependencies', errors: [/cycle.*\/g\/a/] }] },
  ],
  [422, 'PUT', '/v2/apps/old/one', { cmd: 'x', dependencies: ['/old'] }, { details: [{ path: '/dependencies' }] }],
  [422, 'PUT', '/v2/apps/old/one', { cmd: 'x', dependencies: ['nope'] }, { details: [{ path: '/dependencies(0)' }] }],
  [422, 'PUT', '/v2/groups/old', { scaleBy: -1 }, { details: [{ path: '/scaleBy' }] }],
  [422, 'PUT', '/v2/groups/old', { id: '/other' }, { details: [{ path: '/id' }] }],
  [404, 'PUT', '/v2/groups/old', { version: '2020-01-01T00:00:00.000Z' }, { message: /no version/ }],
  [409, 'POST', '/v2/groups', { id: '/old' }, { message: /already/ }],
]

t.test('what is wrong is refused with its path', async (t) => {
  const world = await open(t)
  await world.send('PUT', '/v2/groups/old', { apps: [app('one'), app('two', { dependencies: ['one'] })] })
  await world.deployed()
  const before = JSON.stringify([...(await world.store.list(''))])
  for (const [status, method, url, body, expected] of bad) {
    t.match(await world.send(method, url, body), { status, body: expected }, `${method} ${url} ${JSON.stringify(body)}`)
  }
  t.equal(JSON.stringify([...(await world.store.list(''))]), before, 'nothing was changed')
})
