import t from 'tap'
import { type JobsWorld, openJobsWorld, summary, summerMs } from '../support/jobs-world.ts'

const minute = 60_000
const at = (minutes: number) => summerMs + minutes * minute

/** What is done in a world; a leader may be gone after any of it. */
type Step = (world: JobsWorld) => Promise<void>

const alive = (world: JobsWorld) => world.cluster.alive().map(({ info }) => info.taskId)
const tell = (state: 'TASK_RUNNING' | 'TASK_FINISHED' | 'TASK_FAILED'): Step => {
  return async (world) => {
    for (const id of alive(world)) world.cluster.update(id, state)
    await world.settle()
  }
}

/** The leader is gone at once: what it was about to say is not said, what it was told is not heard. */
async function succeed(t: Parameters<typeof openJobsWorld>[0], from: JobsWorld, term: number): Promise<JobsWorld> {
  from.cluster.disconnect()
  await from.close()
  return openJobsWorld(t, { from, term })
}

t.test('a leader ends after each step of a run: nothing doubled, nothing lost', async (t) => {
  const steps: readonly (readonly [string, Step])[] = [
    ['requested', async (world) => void (await world.send('POST', `/v1/jobs/${summary.id}/runs`))],
    ['launched', (world) => world.settle()],
    ['running', tell('TASK_RUNNING')],
    ['failed', tell('TASK_FAILED')],
    ['repeated', (world) => world.pass(2_000)],
    ['running again', tell('TASK_RUNNING')],
    ['finished', tell('TASK_FINISHED')],
  ]
  for (let end = 0; end < steps.length; end++) {
    const name = steps[end]?.[0] ?? ''
    let world = await openJobsWorld(t)
    world.cluster.behave('hold')
    await world.send('POST', '/v1/jobs', { ...summary, run: { ...summary.run, restart: { policy: 'ON_FAILURE' } } })
    for (const [i, [, step]] of steps.entries()) {
      await step(world)
      if (i !== end) continue
      world = await succeed(t, world, 2)
      await world.pass(2_000)
    }
    t.equal(world.cluster.tasks.size, 2, `${name}: one launch and one repetition`)
    t.equal(world.cluster.peak, 1, `${name}: never two at a time`)
    const { body } = await world.send('GET', `/v1/jobs/${summary.id}?embed=history&embed=activeRuns`)
    t.match(body, { history: { successCount: 1, failureCount: 0 }, activeRuns: [] }, name)
  }
})

t.test('a leader ends between writing and acting', async (t) => {
  const first = await openJobsWorld(t)
  await first.send('POST', '/v1/jobs', summary)
  first.store.full = true
  t.match(await first.send('POST', `/v1/jobs/${summary.id}/runs`), { status: 503 })
  t.equal(first.cluster.tasks.size, 0, 'what is not written is not done')
  first.store.full = false
  // The launch is written, the call never reaches the master.
  const { write } = first.store
  first.store.write = async (...args) => {
    const revision = await write.apply(first.store, args)
    if (args[0].some(({ value }) => value?.includes('"task"') === true)) first.cluster.disconnect()
    return revision
  }
  await first.send('POST', `/v1/jobs/${summary.id}/runs`)
  await first.settle()
  first.store.write = write
  t.equal(first.cluster.tasks.size, 0)
  const second = await succeed(t, first, 2)
  await second.pass(2_000)
  t.equal(second.cluster.tasks.size, 1, 'its agent is there without it: it is launched after all')
  const { body } = await second.send('GET', `/v1/jobs/${summary.id}?embed=activeRuns`)
  t.match(body, { activeRuns: [{ status: 'ACTIVE' }] }, 'and that was no failure')
})

t.test('due times while nobody leads', async (t) => {
  const schedule = { id: 's', cron: '*/10 * * * *', timezone: 'UTC', startingDeadlineSeconds: 120 }
  const cases = [
    { name: 'none', back: at(9), runs: 0 },
    { name: 'one, its deadline not over', back: at(11), runs: 1 },
    { name: 'one, its deadline over', back: at(13), runs: 0 },
    { name: 'many, the last one in time', back: at(61), runs: 1 },
    { name: 'many, none in time', back: at(65), runs: 0 },
  ] as const
  for (const { name, back, runs } of cases) {
    const first = await openJobsWorld(t)
    await first.send('POST', '/v1/jobs', summary)
    await first.send('POST', `/v1/jobs/${summary.id}/schedules`, schedule)
    await first.close()
    first.clock.advance(back - first.clock.nowMs())
    const second = await openJobsWorld(t, { from: first, term: 2 })
    t.equal(second.cluster.tasks.size, runs, name)
    const { body } = await second.send('GET', `/v1/jobs/${summary.id}?embed=historySummary`)
    t.match(body, { historySummary: { failureCount: 0 } }, `${name}: what is left out is no failure`)
    const third = await succeed(t, second, 3)
    await third.settle()
    t.equal(third.cluster.tasks.size, runs, `${name}: nor does the next leader start it again`)
  }
})

t.test('a leader whose write of a due time fails, and one that was deposed', async (t) => {
  const first = await openJobsWorld(t)
  await first.send('POST', '/v1/jobs', summary)
  await first.send('POST', `/v1/jobs/${summary.id}/schedules`, { id: 's', cron: '*/10 * * * *', timezone: 'UTC' })
  first.store.full = true
  await first.pass(10 * minute + 5_000, 5_000)
  t.equal(first.cluster.tasks.size, 0)
  first.store.full = false
  await first.pass(5_000)
  t.equal(first.cluster.tasks.size, 1, 'once there is room, once')
  first.store.full = true
  await tell('TASK_FINISHED')(first)
  first.store.full = false
  await first.pass(2_000)
  const { body } = await first.send('GET', `/v1/jobs/${summary.id}?embed=historySummary`)
  t.match(body, { historySummary: { successCount: 1 } }, 'an end that could not be written is not lost')
  const signal = new AbortController().signal
  for (let term = 0; term < 2; term++) await first.store.elect('another', { signal }).then((l) => l.resign())
  await first.pass(10 * minute, 10_000)
  t.equal(first.cluster.tasks.size, 1, 'a newer leader decides')
  t.match(await first.send('POST', `/v1/jobs/${summary.id}/runs`), { status: 503 })
})

t.test('a task that no run has is stopped', async (t) => {
  const first = await openJobsWorld(t)
  await first.send('POST', '/v1/jobs', summary)
  await first.send('POST', `/v1/jobs/${summary.id}/runs`)
  await first.settle()
  t.equal(alive(first).length, 1)
  await first.close()
  const keys = [...(await first.store.list('jobs/runs/')).keys()]
  await first.store.write(
    keys.map((key) => ({ key, value: undefined })),
    { term: 1 },
  )
  const second = await openJobsWorld(t, { from: first, term: 2 })
  t.same(alive(second), [])
})
