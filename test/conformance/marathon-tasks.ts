import { firstApp } from './marathon-apps.ts'
import { deployed, idle, noApp, small, type Step, version } from './marathon-step.ts'

/** Former versions. */
export const versions: readonly Step[] = [
  {
    method: 'GET',
    path: '/v2/apps/product/service/my-app/versions',
    status: 200,
    expect: { versions: [version, version] },
  },
  {
    method: 'GET',
    path: '/v2/apps/product/service/my-app/versions/{first}',
    status: 200,
    expect: { id: firstApp.id, instances: 2, version: '{first}' },
  },
  { method: 'GET', path: '/v2/apps/not-there/versions', status: 404, expect: noApp('/not-there') },
  { method: 'GET', path: '/v2/apps/b/versions/2014-03-01T23:42:20.938Z', status: 404, expect: { message: String } },
]

const big = { ...small, id: '/big', cmd: 'x', cpus: 512 }

/** What waits, and what is locked meanwhile. */
export const waiting: readonly Step[] = [
  {
    method: 'POST',
    path: '/v2/apps',
    body: big,
    status: 201,
    header: 'deployment',
    capture: { held: ['deployments', 0, 'id'] },
  },
  {
    method: 'GET',
    path: '/v2/queue',
    status: 200,
    until: true,
    expect: {
      queue: [
        {
          count: 1,
          delay: { timeLeftSeconds: 0, overdue: true },
          since: version,
          app: { id: '/big', cpus: 512 },
          processedOffersSummary: {
            processedOffersCount: Number,
            unusedOffersCount: Number,
            lastUnusedOfferAt: version,
            rejectSummaryLastOffers: [
              { reason: 'UnfulfilledRole', declined: 0, processed: Number },
              { reason: 'UnfulfilledConstraint', declined: 0 },
              { reason: 'NoCorrespondingReservationFound', declined: 0 },
              { reason: 'AgentMaintenance', declined: 0 },
              { reason: 'InsufficientCpus', declined: 2 },
            ],
            rejectSummaryLaunchAttempt: [{ reason: 'UnfulfilledRole', declined: 0, processed: Number }],
          },
        },
      ],
    },
  },
  {
    method: 'GET',
    path: '/v2/queue?embed=lastUnusedOffers',
    status: 200,
    expect: {
      queue: [
        {
          lastUnusedOffers: [
            {
              offer: {
                id: String,
                hostname: String,
                agentId: String,
                resources: [{ name: 'cpus', role: '*', scalar: Number }],
              },
              reason: ['InsufficientCpus'],
              timestamp: version,
            },
          ],
        },
      ],
    },
  },
  {
    method: 'GET',
    path: '/v2/queue/big/delay',
    status: 200,
    expect: { currentDelaySeconds: 0, maxLaunchDelaySeconds: 300, queueDelay: { timeLeftSeconds: 0 } },
  },
  { method: 'DELETE', path: '/v2/queue/big/delay', status: 204 },
  { method: 'DELETE', path: '/v2/queue/not-there/delay', status: 404, expect: { message: String } },
  {
    method: 'GET',
    path: '/v2/deployments',
    status: 200,
    expect: [
      {
        id: '{held}',
        version,
        affectedApps: ['/big'],
        affectedPods: [],
        steps: [{ actions: [{ action: 'StartApplication', app: '/big' }] }],
        currentActions: [{ action: 'StartApplication', app: '/big', readinessCheckResults: [] }],
        currentStep: 1,
        totalSteps: 1,
      },
    ],
  },
  {
    method: 'PUT',
    path: '/v2/apps/big',
    body: { cpus: 256 },
    status: 409,
    expect: { message: /^App is locked by one or more deployments\./, deployments: [{ id: '{held}' }] },
  },
  { method: 'DELETE', path: '/v2/apps/big', status: 409, expect: { deployments: [{ id: '{held}' }] } },
  { method: 'POST', path: '/v2/apps/big/restart', status: 409 },
  { method: 'PUT', path: '/v2/apps/big?force=true', body: { cpus: 0.1 }, status: 200, expect: deployed },
  idle,
  { method: 'GET', path: '/v2/apps/big', status: 200, expect: { app: { cpus: 0.1, tasksRunning: 1 } } },
  { method: 'PUT', path: '/v2/apps/big?force=maybe', body: { cpus: 0.1 }, status: 400, expect: { message: String } },
]

/** Tasks that are killed. */
export const killing: readonly Step[] = [
  {
    method: 'DELETE',
    path: '/v2/apps/product/service/my-app/tasks/{task}',
    status: 200,
    expect: { task: { id: '{task}', appId: firstApp.id } },
  },
  {
    method: 'GET',
    path: '/v2/apps/product/service/my-app',
    status: 200,
    until: true,
    expect: { app: { tasksRunning: 3 } },
    capture: { next: ['app', 'tasks', 1, 'id'] },
  },
  {
    method: 'DELETE',
    path: '/v2/apps/product/service/my-app/tasks/not-there',
    status: 404,
    expect: { message: "Task 'not-there' does not exist" },
  },
  {
    method: 'DELETE',
    path: '/v2/apps/product/service/my-app/tasks/{next}?scale=true',
    status: 200,
    header: 'deployment',
    expect: deployed,
  },
  idle,
  {
    method: 'GET',
    path: '/v2/apps/product/service/my-app',
    status: 200,
    expect: { app: { instances: 2 } },
    capture: { last: ['app', 'tasks', 0, 'id'] },
  },
  {
    method: 'POST',
    path: '/v2/tasks/delete',
    body: { ids: ['{last}'] },
    status: 200,
    expect: { tasks: [{ id: '{last}' }] },
  },
  {
    method: 'POST',
    path: '/v2/tasks/delete',
    body: { ids: ['not_known'] },
    status: 400,
    expect: { message: 'Invalid task id not_known' },
  },
  { method: 'POST', path: '/v2/tasks/delete', body: {}, status: 400 },
  {
    method: 'GET',
    path: '/v2/tasks?status=running',
    status: 200,
    until: true,
    expect: { tasks: [{}, {}] },
    capture: { host: ['tasks', 0, 'host'] },
  },
  {
    method: 'DELETE',
    path: '/v2/apps/product/service/my-app/tasks?host={host}',
    status: 200,
    expect: { tasks: Array },
  },
  { method: 'DELETE', path: '/v2/apps/not-there/tasks', status: 404, expect: noApp('/not-there') },
]

/** Fields of old. */
export const deprecated: readonly Step[] = [
  {
    method: 'POST',
    path: '/v2/apps',
    body: { ...small, id: '/old', cmd: 'x', instances: 0, ports: [8080, 0] },
    status: 201,
    expect: { portDefinitions: [{ port: 8080 }, { port: 0 }], ports: undefined },
  },
  idle,
  {
    method: 'POST',
    path: '/v2/apps',
    body: { ...small, id: '/old-ip', cmd: 'x', instances: 0, ipAddress: { networkName: 'dcos' } },
    status: 201,
    expect: { networks: [{ mode: 'container', name: 'dcos' }], ipAddress: undefined },
  },
  idle,
]

/** The end of all apps. */
export const ends: readonly Step[] = [
  { method: 'DELETE', path: '/v2/apps/not-there', status: 404, expect: noApp('/not-there') },
  ...['/big', '/b', '/c', '/old', '/old-ip', '/product/service/my-app'].flatMap((id): readonly Step[] => [
    { method: 'DELETE', path: `/v2/apps${id}`, status: 200, header: 'deployment', expect: deployed },
    { ...idle },
    { method: 'GET', path: `/v2/apps${id}`, status: 404, expect: noApp(id) },
  ]),
  { method: 'GET', path: '/v2/tasks', accept: 'text/plain', status: 200, expect: /^$/ },
  { method: 'GET', path: '/v2/apps', status: 200, expect: { apps: [] } },
]
