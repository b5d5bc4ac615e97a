import t from 'tap'
import { type JobsWorld, openJobsWorld, summary, summerMs } from '../support/jobs-world.ts'

const minute = 60_000
const minutely = { id: 'often', cron: '* * * * *', timezone: 'UTC' }

/** A fresh world with one job. */
async function withJob(
  t: Parameters<typeof openJobsWorld>[0],
  run: object = {},
  schedule?: object,
): Promise<JobsWorld> {
  const world = await openJobsWorld(t)
  await world.send('POST', '/v1/jobs', { ...summary, run: { ...summary.run, ...run } })
  if (schedule !== undefined) await world.send('POST', `/v1/jobs/${summary.id}/schedules`, schedule)
  return world
}

async function history(world: JobsWorld): Promise<{ successes: number; failures: number; last: string | undefined }> {
  const { body } = await world.send('GET', `/v1/jobs/${summary.id}?embed=history`)
  const found = Reflect.get(Object(body), 'history')
  const failed = Reflect.get(Object(found), 'failedFinishedRuns')
  return {
    successes: Reflect.get(Object(found), 'successCount'),
    failures: Reflect.get(Object(found), 'failureCount'),
    last: Array.isArray(failed) ? failed[0]?.message : undefined,
  }
}

const launched = (world: JobsWorld) => [...world.cluster.tasks.keys()]
const only = (world: JobsWorld) => {
  const [id] = world.cluster.alive().map(({ info }) => info.taskId)
  if (id === undefined) throw new Error('no task lives')
  return id
}
const statuses = async (world: JobsWorld) => {
  const { body } = await world.send('GET', `/v1/jobs/${summary.id}/runs`)
  return Array.isArray(body) ? body.map((run: { status: string }) => run.status) : []
}

t.test('from the request to the result', async (t) => {
  const world = await withJob(t)
  world.cluster.behave('hold')
  const { status, body } = await world.send('POST', `/v1/jobs/${summary.id}/runs`)
  t.equal(status, 201)
  t.match(body, { jobId: summary.id, status: 'INITIAL', completedAt: null, tasks: [] })
  await world.settle()
  t.same(await statuses(world), ['STARTING'])
  const task = world.cluster.tasks.get(only(world))
  t.match(task?.info, {
    name: 'summary.email.prod',
    command: { shell: true, value: 'sendSummary', env: { METRONOME_JOB_ID: summary.id } },
    resources: { cpuMillis: 100, memMb: 32 },
    labels: summary.labels,
  })
  world.cluster.update(only(world), 'TASK_RUNNING')
  await world.settle()
  t.same(await statuses(world), ['ACTIVE'])
  world.cluster.update(only(world), 'TASK_FINISHED')
  await world.settle()
  t.same(await statuses(world), [])
  t.match(await history(world), { successes: 1, failures: 0 })
  const { kind } = world.cluster.calls.findLast((call) => call.kind === 'revive' || call.kind === 'suppress') ?? {}
  t.equal(kind, 'suppress')
})

t.test('how a task ends and what becomes of its run', async (t) => {
  const cases = [
    { run: {}, state: 'TASK_FAILED', launches: 1, failures: 1 },
    { run: {}, state: 'TASK_KILLED', launches: 1, failures: 1 },
    { run: {}, state: 'TASK_GONE', launches: 1, failures: 1 },
    { run: {}, state: 'TASK_DROPPED', launches: 2, failures: 0 },
    { run: { restart: { policy: 'ON_FAILURE' } }, state: 'TASK_FAILED', launches: 2, failures: 0 },
    { run: { restart: { policy: 'ON_FAILURE' } }, state: 'TASK_LOST', launches: 2, failures: 0 },
    {
      run: { restart: { policy: 'ON_FAILURE', activeDeadlineSeconds: 1 } },
      state: 'TASK_FAILED',
      launches: 1,
      failures: 1,
    },
  ] as const
  for (const { run, state, launches, failures } of cases) {
    const world = await withJob(t, run)
    await world.send('POST', `/v1/jobs/${summary.id}/runs`)
    await world.pass(2_000)
    world.cluster.update(only(world), state)
    await world.pass(7_000)
    t.equal(launched(world).length, launches, `${state} ${JSON.stringify(run)}: launches`)
    t.equal((await history(world)).failures, failures, `${state} ${JSON.stringify(run)}: failures`)
  }
})

t.test('repetitions wait longer each time, until the deadline', async (t) => {
  const world = await withJob(t, { restart: { policy: 'ON_FAILURE', activeDeadlineSeconds: 120 } })
  world.cluster.behave('fail')
  await world.send('POST', `/v1/jobs/${summary.id}/runs`)
  await world.pass(130_000)
  // Waits of 1, 2, 4, 8, 16, 32 s; the next, of 64, would end after the deadline.
  t.equal(launched(world).length, 7)
  t.match(await history(world), { failures: 1, last: /exited with 1.*activeDeadlineSeconds/ })
})

t.test('an agent out of reach', async (t) => {
  const world = await withJob(t, { restart: { policy: 'ON_FAILURE' } })
  await world.send('POST', `/v1/jobs/${summary.id}/runs`)
  await world.settle()
  const first = only(world)
  world.cluster.update(first, 'TASK_UNREACHABLE')
  await world.pass(30_000)
  world.cluster.update(first, 'TASK_RUNNING')
  await world.pass(90_000)
  t.equal(launched(world).length, 1, 'one that comes back goes on')
  world.cluster.killing('never')
  world.cluster.update(first, 'TASK_UNREACHABLE')
  await world.pass(70_000)
  t.equal(launched(world).length, 2, 'one that does not is given up, and repeated')
  const kills = world.cluster.calls.filter(({ kind }) => kind === 'kill').length
  world.cluster.update(first, 'TASK_RUNNING')
  await world.settle()
  t.equal(
    world.cluster.calls.filter(({ kind }) => kind === 'kill').length,
    kills + 1,
    'it is killed when it comes after all',
  )
  t.same(await statuses(world), ['ACTIVE'])
})

t.test('stopping', async (t) => {
  const world = await withJob(t)
  world.cluster.killing('never')
  const { body } = await world.send('POST', `/v1/jobs/${summary.id}/runs`)
  await world.settle()
  const path = `/v1/jobs/${summary.id}/runs/${Reflect.get(Object(body), 'id')}`
  t.match(await world.send('POST', `${path}/actions/stop`), { status: 200, body: { status: 'ACTIVE' } })
  await world.pass(30_000)
  const kills = world.cluster.calls.filter(({ kind }) => kind === 'kill').length
  t.ok(kills >= 2, `asked again: ${kills} times`)
  world.cluster.killing('at-once')
  await world.pass(30_000)
  t.match(await history(world), { failures: 1, last: 'stopped by request' })
  t.match(await world.send('GET', path), { status: 200, body: { status: 'FAILED', message: 'stopped by request' } })
})

t.test('what cannot be placed waits, says why, and gives up in time', async (t) => {
  const world = await withJob(t, { cpus: 9, maxLaunchDelay: 60 })
  await world.send('POST', `/v1/jobs/${summary.id}/runs`)
  await world.settle()
  const { body } = await world.send('GET', '/v1/queue')
  t.match(body, [{ jobId: summary.id, runs: [{ processedOffersSummary: { unusedOffersCount: 2 } }] }])
  t.match(JSON.stringify(body), /"reason":"InsufficientCpus","declined":2,"processed":2/)
  await world.pass(61_000)
  t.same((await world.send('GET', '/v1/queue')).body, [])
  t.match(await history(world), { failures: 1, last: /maxLaunchDelay/ })
})

t.test('schedules', async (t) => {
  const world = await withJob(t, {}, minutely)
  world.cluster.behave('run')
  await world.pass(3 * minute + 1_000, 1_000)
  t.equal(launched(world).length, 3, 'one each minute')
  t.match((await world.send('GET', `/v1/jobs/${summary.id}/schedules/often`)).body, {
    nextRunAt: '2026-07-01T12:04:00.000+0000',
  })
  await world.send('PUT', `/v1/jobs/${summary.id}/schedules/often`, { ...minutely, concurrencyPolicy: 'FORBID' })
  await world.pass(2 * minute)
  t.equal(launched(world).length, 3, 'none beside those that run')
  for (const { info } of world.cluster.alive()) world.cluster.update(info.taskId, 'TASK_FINISHED')
  await world.pass(minute)
  t.equal(launched(world).length, 4)
  await world.send('PUT', `/v1/jobs/${summary.id}/schedules/often`, { ...minutely, enabled: false })
  for (const { info } of world.cluster.alive()) world.cluster.update(info.taskId, 'TASK_FINISHED')
  await world.pass(5 * minute, 10_000)
  t.equal(launched(world).length, 4, 'disabled')
})

t.test('the wall clock is set', async (t) => {
  const hourly = { id: 'hourly', cron: '0 * * * *', timezone: 'UTC', startingDeadlineSeconds: 900 }
  const cases = [
    { name: 'forward over a due time, within its deadline', toMs: summerMs + 65 * minute, runs: 1 },
    { name: 'forward over a due time, after its deadline', toMs: summerMs + 85 * minute, runs: 0 },
    { name: 'forward over many: one run', toMs: summerMs + 48 * 60 * minute + minute, runs: 1 },
    { name: 'back', toMs: summerMs - 24 * 60 * minute, runs: 0 },
  ] as const
  for (const { name, toMs, runs } of cases) {
    const world = await withJob(t, {}, hourly)
    await world.pass(minute, 10_000)
    world.clock.setWall(toMs)
    await world.pass(minute, 10_000)
    t.equal(launched(world).length, runs, name)
  }
  const world = await withJob(t, {}, hourly)
  await world.pass(61 * minute, minute)
  t.equal(launched(world).length, 1)
  world.clock.setWall(summerMs + 55 * minute)
  await world.pass(30 * minute, minute)
  t.equal(launched(world).length, 1, 'set back over a due time that was a run already: not again')
  await world.pass(60 * minute, minute)
  t.equal(launched(world).length, 2, 'the next one is')
})

t.test('jobs that depend on others', async (t) => {
  const world = await openJobsWorld(t)
  const job = (id: string, ...on: readonly string[]) => ({
    ...{ id, run: { cmd: id, cpus: 0.1, mem: 32 } },
    dependencies: on.map((other) => ({ id: other })),
  })
  for (const body of [job('a'), job('b'), job('c', 'a', 'b'), job('d', 'c')]) {
    t.equal((await world.send('POST', '/v1/jobs', body)).status, 201)
  }
  const end = async (id: string, state: 'TASK_FINISHED' | 'TASK_FAILED') => {
    await world.send('POST', `/v1/jobs/${id}/runs`)
    await world.settle()
    world.cluster.update(only(world), state)
    await world.settle()
  }
  const commands = () => world.cluster.alive().map(({ info }) => info.command.value)
  await end('a', 'TASK_FINISHED')
  await end('b', 'TASK_FAILED')
  t.same(commands(), [], 'a failure starts nothing')
  await end('a', 'TASK_FINISHED')
  t.same(commands(), [], 'all of them are needed')
  await end('b', 'TASK_FINISHED')
  t.same(commands(), ['c'])
  world.cluster.update(only(world), 'TASK_FINISHED')
  await world.settle()
  t.same(commands(), ['d'])
  world.cluster.update(only(world), 'TASK_FINISHED')
  await world.settle()
  t.same(commands(), [])
  await end('a', 'TASK_FINISHED')
  t.same(commands(), [], 'each success counts once')
  t.match(await world.send('DELETE', '/v1/jobs/a'), { status: 409, body: { message: /dependency of c/ } })
  t.match(await world.send('PUT', '/v1/jobs/a', job('a', 'd')), {
    status: 422,
    body: { details: [{ path: '/dependencies', errors: [/circle/] }] },
  })
})

t.test('nothing is done while nothing is to do', async (t) => {
  const world = await withJob(t, {}, { id: 'yearly', cron: '0 0 1 1 *', timezone: 'UTC' })
  const { length } = world.cluster.calls
  for (let i = 0; i < 20; i++) {
    world.cluster.allocate()
    await world.pass(minute, minute)
  }
  t.equal(world.cluster.calls.length, length)
})
