import t from 'tap'
import { type JobsWorld, openJobsWorld, summary } from '../support/jobs-world.ts'

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'
type Row = readonly [what: string, method: Method, url: string, body: unknown, status: number, answer: unknown]

const job = `/v1/jobs/${summary.id}`
const nightly = {
  ...{ id: 'nightly', cron: '20 0 * * *', timezone: 'America/Chicago' },
  ...{ startingDeadlineSeconds: 900, concurrencyPolicy: 'ALLOW', enabled: true },
}

async function play(world: JobsWorld, rows: readonly Row[], t: { match(a: unknown, b: unknown, c: string): unknown }) {
  for (const [what, method, url, body, status, answer] of rows) {
    t.match(await world.send(method, url, body), { status, ...(answer === undefined ? {} : { body: answer }) }, what)
  }
}

// From Metronome's own documentation: api.raml, its examples and schemas.
t.test('requests and answers as they are documented', async (t) => {
  const world = await openJobsWorld(t)
  world.cluster.behave('hold')
  const defaults = {
    ...{ cpus: 0.1, mem: 32, disk: 0, env: {}, artifacts: [], volumes: [], maxLaunchDelay: 3600 },
    ...{ placement: { constraints: [] }, restart: { policy: 'NEVER' } },
  }
  await play(
    world,
    [
      ['none yet', 'GET', '/v1/jobs', undefined, 200, []],
      ['create', 'POST', '/v1/jobs', summary, 201, { ...summary, run: { ...summary.run, ...defaults } }],
      ['twice', 'POST', '/v1/jobs', summary, 409, { message: 'Job with this id already exists' }],
      ['list', 'GET', '/v1/jobs', undefined, 200, [{ id: summary.id }]],
      ['one', 'GET', job, undefined, 200, { id: summary.id, activeRuns: undefined, history: undefined }],
      ['unknown', 'GET', '/v1/jobs/not_existent', undefined, 404, { message: "Job 'not_existent' does not exist" }],
      ['unknown, well formed', 'GET', '/v1/jobs/nobody', undefined, 404, { message: "Job 'nobody' does not exist" }],
      ['change', 'PUT', job, { ...summary, description: 'new' }, 200, { description: 'new' }],
      ['change without its id', 'PUT', job, { run: summary.run }, 200, { id: summary.id, description: undefined }],
      ['change the unknown', 'PUT', '/v1/jobs/nobody', summary, 404, { message: "Job 'nobody' does not exist" }],
      ['delete the unknown', 'DELETE', '/v1/jobs/nobody', undefined, 404, { message: /nobody/ }],

      ['no schedules', 'GET', `${job}/schedules`, undefined, 200, []],
      ['schedule', 'POST', `${job}/schedules`, nightly, 201, { ...nightly, nextRunAt: '2026-07-02T05:20:00.000+0000' }],
      ['schedule twice', 'POST', `${job}/schedules`, nightly, 409, { message: /non existing/ }],
      ['schedules', 'GET', `${job}/schedules`, undefined, 200, [nightly]],
      ['one schedule', 'GET', `${job}/schedules/nightly`, undefined, 200, nightly],
      ['no such', 'GET', `${job}/schedules/x`, undefined, 404, { message: "Schedule 'x' does not exist" }],
      [
        'defaults',
        'POST',
        `${job}/schedules`,
        { id: 'min', cron: '0 0 1 1 *' },
        201,
        { ...nightly, id: 'min', cron: /./, timezone: 'UTC' },
      ],
      [
        'replace',
        'PUT',
        `${job}/schedules/min`,
        { cron: '5 5 * * *', enabled: false },
        200,
        { id: 'min', enabled: false, nextRunAt: null },
      ],
      ['replace no such', 'PUT', `${job}/schedules/x`, nightly, 404, { message: /'x'/ }],
      ['drop', 'DELETE', `${job}/schedules/min`, undefined, 200, undefined],
      ['drop again', 'DELETE', `${job}/schedules/min`, undefined, 404, { message: /'min'/ }],
      ['of no job', 'POST', '/v1/jobs/nobody/schedules', nightly, 404, { message: /nobody/ }],

      ['no runs', 'GET', `${job}/runs`, undefined, 200, []],
      [
        'run',
        'POST',
        `${job}/runs`,
        undefined,
        201,
        {
          id: /^\d{14}\w{5}$/,
          jobId: summary.id,
          status: 'INITIAL',
          completedAt: null,
          createdAt: '2026-07-01T12:00:00.000+0000',
          tasks: [],
        },
      ],
      ['run of no job', 'POST', '/v1/jobs/nobody/runs', undefined, 404, { message: /nobody/ }],
      ['an empty object is no change', 'POST', `${job}/runs`, {}, 201, { status: 'INITIAL' }],
      ['a run of another kind', 'POST', `${job}/runs`, { cmd: 'x' }, 422, { details: [{ path: '/cmd' }] }],
      [
        'no such run',
        'GET',
        `${job}/runs/20200101000000abcde`,
        undefined,
        404,
        { message: "JobRun '20200101000000abcde' does not exist" },
      ],
      [
        'stop no such run',
        'POST',
        `${job}/runs/x/actions/stop`,
        undefined,
        404,
        { message: "JobRun 'x' does not exist" },
      ],
      [
        'delete with runs',
        'DELETE',
        job,
        undefined,
        409,
        { message: 'There are active job runs. Override with stopCurrentJobRuns=true' },
      ],
      [
        'embed',
        'GET',
        `${job}?embed=activeRuns&embed=schedules&embed=history&embed=historySummary`,
        undefined,
        200,
        {
          activeRuns: [{}, {}],
          schedules: [{ id: 'nightly' }],
          history: { successCount: 0, successfulFinishedRuns: [], failedFinishedRuns: [], lastSuccessAt: null },
          historySummary: { failureCount: 0, lastFailureAt: null },
        },
      ],
      [
        'embed, with commas',
        'GET',
        '/v1/jobs?embed=activeRuns,historySummary',
        undefined,
        200,
        [{ activeRuns: [{}, {}], historySummary: {} }],
      ],
      ['embed what is not', 'GET', '/v1/jobs?embed=nothing', undefined, 400, { message: /embed/ }],
      ['metrics', 'GET', '/v1/metrics', undefined, 200, { gauges: { 'metronome.jobs.gauge': { value: 1 } } }],
      ['behind the proxy', 'GET', `/service/metronome${job}`, undefined, 200, { id: summary.id }],
      ['ping', 'GET', '/service/metronome/ping', undefined, 200, 'pong'],
      ['no JSON', 'GET', '/service/metronome/v1/nothing', undefined, 404, undefined],
      ['delete with runs, stopped', 'DELETE', `${job}?stopCurrentJobRuns=true`, undefined, 200, { id: summary.id }],
      ['gone', 'GET', job, undefined, 404, {}],
    ],
    t,
  )
  await world.settle()
  t.same(world.cluster.alive(), [], 'its tasks were stopped')
  t.same([...(await world.store.list('jobs/')).keys()], ['jobs/framework'], 'and nothing of them is kept')
})

t.test('the old shape', async (t) => {
  const world = await openJobsWorld(t)
  const old = { ...summary, schedules: [nightly] }
  const path = `/v0/scheduled-jobs/${summary.id}`
  await play(
    world,
    [
      ['create', 'POST', '/v0/scheduled-jobs', old, 201, { id: summary.id, schedules: [nightly] }],
      ['list', 'GET', '/v0/scheduled-jobs', undefined, 200, [{ schedules: [nightly] }]],
      ['one', 'GET', path, undefined, 200, { schedules: [nightly] }],
      ['change', 'PUT', path, { ...old, schedules: [] }, 200, { schedules: [] }],
      [
        'wrong schedule',
        'PUT',
        path,
        { ...old, schedules: [{ id: 'x', cron: 'never' }] },
        422,
        { details: [{ path: '/cron' }] },
      ],
      ['no list', 'PUT', path, { ...old, schedules: 1 }, 422, { details: [{ path: '/schedules' }] }],
      ['in the new shape they mean nothing', 'PUT', job, old, 200, { schedules: undefined }],
      ['and are not touched', 'GET', `${job}/schedules`, undefined, 200, []],
    ],
    t,
  )
})

t.test('every field wrong: 422 and its path', async (t) => {
  const world = await openJobsWorld(t)
  const run = (field: object) => ({ run: { ...summary.run, ...field } })
  const cases: readonly (readonly [object, string])[] = [
    [{ id: 'Upper' }, '/id'],
    [{ id: 'a..b' }, '/id'],
    [{ id: '-a' }, '/id'],
    [{ id: 'x'.repeat(181) }, '/id'],
    [{ id: 1 }, '/id'],
    [{ description: 1 }, '/description'],
    [{ labels: { a: 1 } }, '/labels(a)'],
    [{ nonsense: 1 }, '/nonsense'],
    [{ dependencies: [{ id: 'nobody' }] }, '/dependencies(0)/id'],
    [{ dependencies: [{ id: summary.id }] }, '/dependencies(0)/id'],
    [{ dependencies: [{ id: 'NO' }] }, '/dependencies(0)/id'],
    [{ run: undefined }, '/run'],
    [run({ cmd: undefined }), '/run/cmd'],
    [run({ cmd: '' }), '/run/cmd'],
    [run({ args: ['a'] }), '/run/args'],
    [run({ cpus: 0.001 }), '/run/cpus'],
    [run({ cpus: '1' }), '/run/cpus'],
    [run({ cpus: 1e300 }), '/run/cpus'],
    [run({ mem: 31 }), '/run/mem'],
    [run({ disk: -1 }), '/run/disk'],
    [run({ gpus: 1 }), '/run/gpus'],
    [run({ user: 'a b' }), '/run/user'],
    [run({ env: { A: 1 } }), '/run/env(A)'],
    [run({ env: { A: { secret: 's' } } }), '/run/env(A)'],
    [run({ secrets: { s: { source: 'x' } } }), '/run/secrets'],
    [run({ maxLaunchDelay: 0 }), '/run/maxLaunchDelay'],
    [run({ taskKillGracePeriodSeconds: -1 }), '/run/taskKillGracePeriodSeconds'],
    [run({ restart: { policy: 'ALWAYS' } }), '/run/restart/policy'],
    [run({ restart: { policy: 'NEVER', activeDeadlineSeconds: 0 } }), '/run/restart/activeDeadlineSeconds'],
    [
      run({ placement: { constraints: [{ attribute: 'rack', operator: 'UNIQUE' }] } }),
      '/run/placement/constraints(0)/operator',
    ],
    [run({ placement: { constraints: [{ attribute: 'rack', operator: 'IS' }] } }), '/run/placement/constraints(0)'],
    [run({ networks: [{ mode: 'container', name: 'nowhere' }] }), '/run/networks(0)/name'],
    [run({ networks: [{ mode: 'container' }] }), '/run/networks(0)/name'],
    [run({ networks: [{ mode: 'host', name: 'dcos' }] }), '/run/networks(0)/name'],
    [run({ networks: [{ mode: 'host' }, { name: 'dcos' }] }), '/run/networks'],
    [run({ networks: [{ mode: 'container/bridge' }] }), '/run/networks(0)/mode'],
    [run({ networks: [{ name: 'dcos' }, { name: 'dcos' }] }), '/run/networks(1)/name'],
    [run({ artifacts: [{ extract: true }] }), '/run/artifacts(0)/uri'],
    [run({ docker: {} }), '/run/docker/image'],
    [run({ docker: { image: 'a', parameters: [{ key: 'a', value: 'b' }] } }), '/run/docker/parameters'],
    [run({ docker: { image: 'a' }, ucr: { image: { id: 'a' } } }), '/run/ucr'],
    [run({ ucr: { image: { id: 'a', kind: 'appc' } } }), '/run/ucr/image/kind'],
    [run({ volumes: [{ containerPath: 'a', hostPath: 'relative' }] }), '/run/volumes(0)/hostPath'],
    [run({ volumes: [{ containerPath: 'a', secret: 's' }] }), '/run/volumes(0)/secret'],
  ]
  for (const [field, path] of cases) {
    const { status, body } = await world.send('POST', '/v1/jobs', { ...summary, ...field })
    t.match({ status, body }, { status: 422, body: { message: 'Object is not valid', details: [{ path }] } }, path)
  }
  t.match(await world.send('POST', '/v1/jobs', { ...summary, ...run({ cpus: 0, mem: 1, disk: -1 }) }), {
    body: { details: [{ path: '/run/cpus' }, { path: '/run/mem' }, { path: '/run/disk' }] },
  })
  t.match(await world.send('POST', '/v1/jobs', []), { status: 422, body: { details: [{ path: '/' }] } })
  t.same((await world.send('GET', '/v1/jobs')).body, [], 'none of them was taken')
  await world.send('POST', '/v1/jobs', summary)
  const schedules: readonly (readonly [object, string])[] = [
    [{ id: '-a' }, '/id'],
    [{ cron: '* * *' }, '/cron'],
    [{ cron: '0 0 30 2 *' }, '/cron'],
    [{ timezone: 'Mars/Olympus' }, '/timezone'],
    [{ startingDeadlineSeconds: 0 }, '/startingDeadlineSeconds'],
    [{ concurrencyPolicy: 'REPLACE' }, '/concurrencyPolicy'],
    [{ enabled: 'yes' }, '/enabled'],
    [{ what: 1 }, '/what'],
  ]
  for (const [field, path] of schedules) {
    const answer = await world.send('POST', `${job}/schedules`, { ...nightly, ...field })
    t.match(answer, { status: 422, body: { message: 'Object is not valid', details: [{ path }] } }, path)
  }
})

t.test('constraints, networks and images reach the task', async (t) => {
  const world = await openJobsWorld(t)
  const run = {
    ...summary.run,
    placement: { constraints: [{ attribute: 'rack', operator: 'EQ', value: 's1' }] },
    networks: [{ mode: 'container', name: 'lab', labels: { a: 'b' } }],
    ucr: { image: { id: 'busybox' } },
    artifacts: [{ uri: 'http://192.0.2.1/a.tgz' }],
    volumes: [{ containerPath: '/data', hostPath: '/srv', mode: 'RW' }],
    ...{ user: 'nobody', taskKillGracePeriodSeconds: 7 },
  }
  await world.send('POST', '/v1/jobs', { ...summary, run })
  await world.send('POST', `${job}/runs`)
  await world.settle()
  t.match(world.cluster.alive()[0]?.info, {
    agentId: 'S1',
    networks: [{ name: 'lab', labels: { a: 'b' }, portMappings: [] }],
    container: {
      type: 'mesos',
      image: { kind: 'oci', reference: 'busybox', forcePull: false },
      volumes: [{ containerPath: '/data', mode: 'rw', source: { kind: 'host', path: '/srv' } }],
    },
    fetch: [{ uri: 'http://192.0.2.1/a.tgz', extract: true }],
    command: { user: 'nobody' },
    killGraceMs: 7_000,
  })
})
