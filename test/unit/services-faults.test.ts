import t from 'tap'
import { agents, aliveIds, callsOf, checked, open, web } from '../support/services-world.ts'

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
