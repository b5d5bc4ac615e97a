import t from 'tap'
import { aliveIds, open } from '../support/services-world.ts'

const resources = { cpus: 0.5, mem: 64 }
const pod = {
  id: '/shop/pair',
  labels: { owner: 'zeus' },
  environment: { A: 'pod', B: 'pod', KEY: { secret: 'key' } },
  secrets: { key: { source: '/pair/key' } },
  networks: [{ mode: 'container', name: 'dcos' }],
  scaling: { kind: 'fixed', instances: 2 },
  volumes: [{ name: 'shared' }, { name: 'host', host: '/srv' }],
  containers: [
    {
      name: 'web',
      exec: { command: { shell: 'serve' } },
      resources,
      endpoints: [{ name: 'http', containerPort: 80, protocol: ['http'], labels: { VIP_0: '/pair:80' } }],
      healthCheck: { http: { endpoint: 'http', path: '/ping' } },
      volumeMounts: [{ name: 'shared', mountPath: 'data' }],
      lifecycle: { killGracePeriodSeconds: 9 },
    },
    {
      name: 'log',
      exec: { command: { argv: ['/bin/log', '-f'] } },
      resources,
      environment: { B: 'own' },
      volumeMounts: [{ name: 'host', mountPath: '/srv', readOnly: true }],
      artifacts: [{ uri: 'https://example.com/a.tgz' }],
    },
  ],
}

t.test('a pod from POST to DELETE', async (t) => {
  const world = await open(t)
  world.cluster.behave('run-healthy')
  t.match(await world.send('POST', '/v2/pods', pod), {
    status: 201,
    deployment: String,
    body: {
      id: '/shop/pair',
      scaling: { kind: 'fixed', instances: 2 },
      containers: [{ name: 'web' }, { name: 'log' }],
    },
  })
  await world.deployed()
  t.equal(aliveIds(world).length, 4, 'two groups of two')
  const [call] = world.cluster.calls.filter((one) => one.kind === 'accept')
  t.match(call, {
    launches: [],
    operations: [
      {
        kind: 'launch-group',
        executor: { kind: 'default', networks: [{ name: 'dcos' }], resources: { cpuMillis: 100, memMb: 32 } },
        tasks: [
          {
            command: { shell: true, value: 'serve', env: { A: 'pod', PORT0: '80' }, secretEnv: { KEY: '/pair/key' } },
            container: { volumes: [{ containerPath: 'data', source: { kind: 'shared', path: 'shared' } }] },
            discovery: { name: 'pair.shop', ports: [{ number: 80, labels: { VIP_0: '/pair:80' } }] },
            healthCheck: { probe: { kind: 'http', path: '/ping', port: 80 } },
            killGraceMs: 9_000,
            networks: [],
          },
          {
            command: { shell: false, value: '/bin/log', env: { B: 'own' } },
            container: { volumes: [{ mode: 'ro', source: { kind: 'host', path: '/srv' } }] },
            fetch: [{ uri: 'https://example.com/a.tgz' }],
            discovery: { ports: [] },
          },
        ],
      },
    ],
  })
  t.match(await world.read('/v2/pods/shop/pair::status'), {
    status: 'STABLE',
    instances: [{ status: 'STABLE', containers: [{ name: 'web', status: 'TASK_RUNNING' }, { name: 'log' }] }, {}],
  })
  t.match(await world.read('/v2/pods/::status'), [{ id: '/shop/pair' }])
  const [version] = Object(await world.read('/v2/pods//shop/pair::versions'))
  t.match(await world.read(`/v2/pods/shop/pair::versions/${version}`), { id: '/shop/pair', version })
  t.match(await world.read('/v2/groups/shop'), { apps: [], pods: [{ id: '/shop/pair', containers: [{}, {}] }] })
  t.same(await world.read('/v2/apps'), { apps: [] }, 'it is no app')
  for (const method of ['GET', 'PUT', 'DELETE'] as const) {
    t.match(await world.send(method, '/v2/apps/shop/pair', method === 'PUT' ? { instances: 9 } : undefined), {
      status: 404,
    })
  }
  const before = aliveIds(world)
  const [first = ''] = before
  const instance = first.replace(/\.(web|log)$/, '')
  t.match(await world.send('DELETE', `/v2/pods/shop/pair::instances/${instance}`), {
    status: 200,
    body: { containers: [{}, {}] },
  })
  await world.settle()
  t.equal(aliveIds(world).length, 4, 'it is replaced as a whole')
  t.equal(aliveIds(world).filter((id) => before.includes(id)).length, 2)
  const instances = aliveIds(world).map((id) => id.replace(/\.(web|log)$/, ''))
  t.match(await world.send('DELETE', '/v2/pods/shop/pair::instances', [...new Set(instances)]), {
    status: 200,
    body: [{ containers: [{}, {}] }, {}],
  })
  await world.settle()
  t.equal(aliveIds(world).length, 4, 'both are replaced')
  world.cluster.behave('hold')
  t.match(await world.send('PUT', '/v2/pods/shop/pair', { ...pod, labels: { owner: 'hera' } }), { status: 200 })
  t.match(await world.read('/v2/deployments'), [
    { affectedApps: [], affectedPods: ['/shop/pair'], steps: [{ actions: [{ pod: '/shop/pair' }] }] },
  ])
  world.cluster.behave('run-healthy')
  for (const { info, state } of world.cluster.alive()) {
    if (state === 'TASK_STAGING') world.cluster.update(info.taskId, 'TASK_RUNNING', { healthy: true })
  }
  await world.settle()
  for (const { info, state } of world.cluster.alive()) {
    if (state === 'TASK_STAGING') world.cluster.update(info.taskId, 'TASK_RUNNING', { healthy: true })
  }
  await world.deployed()
  t.match(await world.send('PUT', '/v2/pods/shop/pair', { ...pod, scaling: { kind: 'fixed', instances: 1 } }), {
    status: 200,
  })
  await world.deployed()
  t.equal(aliveIds(world).length, 2)
  t.match(await world.send('DELETE', '/v2/pods/shop/pair'), { status: 202, deployment: String })
  await world.settle()
  t.same(aliveIds(world), [])
  t.match(await world.send('GET', '/v2/pods/shop/pair'), {
    status: 404,
    body: { message: "Pod '/shop/pair' does not exist" },
  })
})

t.test('a pod that fits nowhere waits as a pod', async (t) => {
  const world = await open(t)
  const [web] = pod.containers
  const large = { ...pod, containers: [{ ...web, resources: { cpus: 99, mem: 64 } }] }
  await world.send('POST', '/v2/pods', large)
  await world.settle()
  const [item, ...more] = Object(await world.read('/v2/queue', 'queue'))
  t.match(item, { count: 2, pod: { id: '/shop/pair' } })
  t.equal(item.app, undefined)
  t.same(more, [])
})

t.test('a wrong pod is refused with its path', async (t) => {
  const world = await open(t)
  const [web, log] = pod.containers
  const table: readonly (readonly [object, string])[] = [
    [{ containers: [] }, '/containers'],
    [{ environment: { A: { secret: 'none' } } }, '/environment/A/secret'],
    [{ scheduling: { placement: { acceptedResourceRoles: ['x'] } } }, '/scheduling/placement/acceptedResourceRoles'],
    [{ containers: [web, web] }, '/containers(1)/name'],
    [{ containers: [{ ...web, resources: { cpus: -1, mem: 32 } }] }, '/containers(0)/resources/cpus'],
    [
      { containers: [{ ...log, volumeMounts: [{ name: 'none', mountPath: '/x' }] }] },
      '/containers(0)/volumeMounts(0)/name',
    ],
    [
      { containers: [{ ...log, healthCheck: { tcp: { endpoint: 'none' } } }] },
      '/containers(0)/healthCheck/tcp/endpoint',
    ],
    [
      { containers: [log, { ...web, endpoints: [{ name: 'http', containerPort: 80, labels: { VIP_0: 'x' } }] }] },
      '/containers(1)/endpoints(0)/labels(VIP_0)',
    ],
    [{ scaling: { kind: 'fixed', instances: -1 } }, '/scaling/instances'],
    [{ scaling: { kind: 'auto' } }, '/scaling/kind'],
    [
      { scheduling: { placement: { constraints: [{ fieldName: 'a', operator: 'NEAR' }] } } },
      '/scheduling/placement/constraints(0)',
    ],
    [{ networks: [{ mode: 'container', name: 'nowhere' }] }, '/networks(0)/name'],
    [{ wrong: 1 }, '/wrong'],
  ]
  for (const [overlay, path] of table) {
    const answer = await world.send('POST', '/v2/pods', { ...pod, ...overlay })
    t.match(answer, { status: 422, body: { details: [{ path }] } }, path)
  }
})
