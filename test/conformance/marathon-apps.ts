import { deployed, idle, invalid, noApp, small, type Step, uuid, version } from './marathon-step.ts'

/** The app that most requests are about. */
export const firstApp = {
  ...small,
  id: '/product/service/my-app',
  cmd: 'env && sleep 300',
  instances: 2,
  env: { LD_LIBRARY_PATH: '/usr/local/lib' },
  labels: { environment: 'staging', tier: 'frontend' },
  portDefinitions: [{ port: 8080, protocol: 'tcp', name: 'http', labels: {} }],
  upgradeStrategy: { minimumHealthCapacity: 0.5, maximumOverCapacity: 0.5 },
}

/** What there is before there is anything. */
export const information: readonly Step[] = [
  { method: 'GET', path: '/ping', status: 200, expect: /^pong$/ },
  { method: 'GET', path: '/v2/leader', status: 200, expect: { leader: /^[^:]+:\d+$/ } },
  {
    method: 'GET',
    path: '/v2/info',
    status: 200,
    expect: {
      name: 'marathon',
      version: /^\d+\.\d+\.\d+/,
      elected: true,
      leader: /:\d+$/,
      frameworkId: String,
      marathon_config: { framework_name: 'marathon', checkpoint: true, failover_timeout: Number },
      http_config: { http_port: Number },
    },
  },
  { method: 'GET', path: '/v2/apps', status: 200, expect: { apps: [] } },
  { method: 'GET', path: '/v2/tasks', status: 200, expect: { tasks: [] } },
  { method: 'GET', path: '/v2/queue', status: 200, expect: { queue: [] } },
  idle,
  { method: 'GET', path: '/v2/nothing', status: 404 },
]

/** The first app. */
export const creation: readonly Step[] = [
  {
    method: 'POST',
    path: '/v2/apps',
    body: firstApp,
    status: 201,
    header: 'deployment',
    expect: {
      ...firstApp,
      args: undefined,
      backoffFactor: 1.15,
      backoffSeconds: 1,
      constraints: [],
      dependencies: [],
      deployments: [{ id: uuid }],
      disk: 0,
      executor: '',
      fetch: [],
      healthChecks: [],
      killSelection: 'YOUNGEST_FIRST',
      maxLaunchDelaySeconds: 300,
      networks: [{ mode: 'host' }],
      requirePorts: false,
      tasks: [],
      tasksHealthy: 0,
      tasksRunning: 0,
      tasksStaged: 0,
      tasksUnhealthy: 0,
      unreachableStrategy: { inactiveAfterSeconds: 0, expungeAfterSeconds: 0 },
      version,
      versionInfo: { lastConfigChangeAt: version, lastScalingAt: version },
    },
    capture: { first: ['version'] },
  },
  {
    method: 'POST',
    path: '/v2/apps',
    body: firstApp,
    status: 409,
    expect: { message: 'An app with id [/product/service/my-app] already exists.' },
  },
  idle,
  {
    method: 'GET',
    path: '/v2/apps//product/service/my-app',
    status: 200,
    expect: { app: { id: firstApp.id, tasksRunning: 2, tasks: [{ state: 'TASK_RUNNING' }, {}], deployments: [] } },
    capture: { task: ['app', 'tasks', 0, 'id'], host: ['app', 'tasks', 0, 'host'] },
  },
  { method: 'GET', path: '/v2/apps/product/service/my-app', status: 200, expect: { app: { version: '{first}' } } },
  { method: 'GET', path: '/v2/apps/not-there', status: 404, expect: noApp('/not-there') },
  {
    method: 'GET',
    path: '/v2/apps/product/service/my-app/tasks',
    status: 200,
    expect: {
      tasks: [
        {
          appId: firstApp.id,
          host: String,
          id: /^product_service_my-app\./,
          ports: [Number],
          servicePorts: [8080],
          slaveId: String,
          stagedAt: version,
          startedAt: version,
          state: 'TASK_RUNNING',
          version: '{first}',
          healthCheckResults: [],
          localVolumes: [],
        },
        {},
      ],
    },
  },
  {
    method: 'GET',
    path: '/v2/apps/product/service/my-app/tasks',
    accept: 'text/plain',
    status: 200,
    expect: /^product_service_my-app\t8080\t[^\t]+:\d+\t[^\t]+:\d+\n$/,
  },
  { method: 'GET', path: '/v2/apps/not-there/tasks', status: 404, expect: noApp('/not-there') },
  { method: 'GET', path: '/v2/tasks', accept: 'text/plain', status: 200, expect: /^product_service_my-app\t8080\t/ },
  { method: 'GET', path: '/v2/tasks', status: 200, expect: { tasks: [{ id: String }, { id: String }] } },
  { method: 'GET', path: '/v2/tasks?status=running', status: 200, expect: { tasks: [{}, {}] } },
  { method: 'GET', path: '/v2/tasks?status=staging', status: 200, expect: { tasks: [] } },
  { method: 'GET', path: '/v2/tasks?status[]=running&status[]=staging', status: 200, expect: { tasks: [{}, {}] } },
]

const second = { ...small, id: '/b', args: ['/bin/server', '-v'], instances: 1, labels: { environment: 'production' } }

/** Filters and embedded parts. */
export const lists: readonly Step[] = [
  { method: 'POST', path: '/v2/apps', body: second, status: 201, header: 'deployment', expect: { id: '/b' } },
  idle,
  { method: 'GET', path: '/v2/apps', status: 200, expect: { apps: [{ tasksRunning: Number, deployments: [] }, {}] } },
  ...(
    [
      ['cmd=sleep', ['/product/service/my-app']],
      ['cmd=nothing', []],
      ['id=product', ['/product/service/my-app']],
      ['id=%2Fb', ['/b']],
      ['label=environment', ['/b', '/product/service/my-app']],
      ['label=tier', ['/product/service/my-app']],
      ['label=environment==production', ['/b']],
      ['label=environment!=production', ['/product/service/my-app']],
      ['label=environment%20in%20(production,test)', ['/b']],
      ['label=environment%20notin%20(production,test)', ['/product/service/my-app']],
      ['label=environment,tier', ['/product/service/my-app']],
      ['label=tier==frontend,environment%20in%20(staging)', ['/product/service/my-app']],
      ['label=missing', []],
    ] as const
  ).map(([query, ids]): Step => {
    return { method: 'GET', path: `/v2/apps?${query}`, status: 200, expect: { apps: ids.map((id) => ({ id })) } }
  }),
  { method: 'GET', path: '/v2/apps?label=environment%20in', status: 400, expect: { message: String } },
  {
    method: 'GET',
    path: '/v2/apps?embed=apps.tasks&id=/b',
    status: 200,
    expect: { apps: [{ tasks: [{ id: String }] }] },
  },
  { method: 'GET', path: '/v2/apps?embed=apps.counts&id=/b', status: 200, expect: { apps: [{ tasksRunning: 1 }] } },
  {
    method: 'GET',
    path: '/v2/apps?embed=apps.deployments&id=/b',
    status: 200,
    expect: { apps: [{ deployments: [] }] },
  },
  { method: 'GET', path: '/v2/apps/b?embed=app.lastTaskFailure', status: 200, expect: { app: { id: '/b' } } },
]

/** Updates, partial and whole, of one and of several. */
export const updates: readonly Step[] = [
  {
    method: 'PUT',
    path: '/v2/apps/product/service/my-app',
    body: { instances: 3 },
    status: 200,
    header: 'deployment',
    expect: deployed,
  },
  idle,
  {
    method: 'GET',
    path: '/v2/apps/product/service/my-app',
    status: 200,
    expect: {
      app: { instances: 3, tasksRunning: 3, cmd: firstApp.cmd, versionInfo: { lastConfigChangeAt: '{first}' } },
    },
  },
  { method: 'PATCH', path: '/v2/apps/b', body: { instances: 2 }, status: 200, header: 'deployment', expect: deployed },
  idle,
  { method: 'PUT', path: '/v2/apps/b', body: { cmd: 'sleep 9' }, status: 200, header: 'deployment', expect: deployed },
  idle,
  {
    method: 'GET',
    path: '/v2/apps/b',
    status: 200,
    expect: { app: { cmd: 'sleep 9', args: undefined, instances: 2 } },
  },
  {
    method: 'PUT',
    path: '/v2/apps/b?partialUpdate=false',
    body: { ...small, cmd: 'sleep 10' },
    status: 200,
    expect: deployed,
  },
  idle,
  { method: 'GET', path: '/v2/apps/b', status: 200, expect: { app: { cmd: 'sleep 10', instances: 1, labels: {} } } },
  {
    method: 'PUT',
    path: '/v2/apps/c',
    body: { ...small, cmd: 'x' },
    status: 201,
    header: 'deployment',
    expect: deployed,
  },
  idle,
  { method: 'PATCH', path: '/v2/apps/d', body: { cmd: 'x' }, status: 404, expect: noApp('/d') },
  { method: 'PUT', path: '/v2/apps/c', body: { id: '/d' }, status: 422, expect: invalid('/id') },
  { method: 'POST', path: '/v2/apps/b/restart', status: 200, header: 'deployment', expect: deployed },
  idle,
  { method: 'POST', path: '/v2/apps/d/restart', status: 404, expect: noApp('/d') },
  {
    method: 'PUT',
    path: '/v2/apps',
    body: [
      { ...small, id: '/b', cmd: 'sleep 11' },
      { ...small, id: '/c', instances: 0 },
    ],
    status: 200,
    header: 'deployment',
    expect: deployed,
  },
  idle,
  { method: 'GET', path: '/v2/apps/c', status: 200, expect: { app: { instances: 0, tasksRunning: 0, cmd: 'x' } } },
  {
    method: 'PUT',
    path: '/v2/apps',
    body: [{ id: '/b', cpus: -1 }],
    status: 422,
    expect: invalid('/(0)/cpus'),
  },
]
