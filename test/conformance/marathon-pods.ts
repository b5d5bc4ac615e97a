import { idle, invalid, type Step, version } from './marathon-step.ts'

const resources = { cpus: 0.1, mem: 32 }
const pod = {
  id: '/simplepod',
  scaling: { kind: 'fixed', instances: 1 },
  containers: [
    { name: 'one', exec: { command: { shell: 'sleep 1000' } }, resources },
    { name: 'two', exec: { command: { shell: 'sleep 1000' } }, resources },
  ],
  networks: [{ mode: 'host' }],
}
const path = '/v2/pods/simplepod'
const missing = { message: "Pod '/simplepod' does not exist" }

/** Pods. Source: marathon, docs/pods.md and public/api/v2/pods.raml. */
export const pods: readonly Step[] = [
  { method: 'HEAD', path: '/v2/pods', status: 204 },
  { method: 'GET', path: '/v2/pods', status: 200, accept: 'as-text', expect: /^\[\]$/ },
  { method: 'POST', path: '/v2/pods', body: { id: '/simplepod' }, status: 422, expect: invalid('/containers') },
  {
    method: 'POST',
    path: '/v2/pods',
    body: pod,
    status: 201,
    header: 'deployment',
    expect: { id: '/simplepod', version },
  },
  idle,
  { method: 'POST', path: '/v2/pods', body: pod, status: 409 },
  {
    method: 'GET',
    path: '/v2/pods',
    status: 200,
    expect: [{ id: '/simplepod', scaling: { kind: 'fixed', instances: 1 } }],
  },
  {
    ...{ method: 'GET', path, status: 200, capture: { podVersion: ['version'] } },
    expect: { id: '/simplepod', containers: [{ name: 'one' }, { name: 'two' }], version },
  },
  {
    ...{ method: 'GET', path: `${path}::status`, status: 200, until: true },
    capture: { instance: ['instances', 0, 'id'] },
    expect: { id: '/simplepod', status: 'STABLE', instances: [{ status: 'STABLE', containers: [{}, {}] }] },
  },
  { method: 'GET', path: '/v2/pods/::status', status: 200, expect: [{ id: '/simplepod' }] },
  { method: 'GET', path: `${path}::versions`, status: 200, expect: [version] },
  {
    method: 'GET',
    path: `${path}::versions/{podVersion}`,
    status: 200,
    expect: { id: '/simplepod', version: '{podVersion}' },
  },
  { method: 'GET', path: `${path}::versions/2000-01-01T00:00:00.000Z`, status: 404 },
  { method: 'GET', path: '/v2/apps/simplepod', status: 404 },
  { method: 'DELETE', path: '/v2/apps/simplepod', status: 404 },
  { method: 'GET', path: '/v2/apps', status: 200, expect: { apps: [] } },
  { method: 'GET', path: '/v2/groups', status: 200, expect: { pods: [{ id: '/simplepod' }] } },
  { method: 'DELETE', path: `${path}::instances/{instance}`, status: 200, expect: { id: '{instance}' } },
  { method: 'DELETE', path: `${path}::instances/nothing`, status: 404 },
  { method: 'DELETE', path: `${path}::instances`, body: ['nothing'], status: 404 },
  { method: 'DELETE', path: `${path}::instances`, body: { ids: [] }, status: 400 },
  {
    ...{ method: 'PUT', path, status: 200, header: 'deployment' },
    body: { ...pod, scaling: { kind: 'fixed', instances: 2 } },
    expect: { scaling: { kind: 'fixed', instances: 2 } },
  },
  idle,
  { method: 'PUT', path: '/v2/pods/other', body: { ...pod, id: '/other' }, status: 404 },
  { method: 'DELETE', path, status: 202, header: 'deployment' },
  idle,
  { method: 'GET', path, status: 404, expect: missing },
  { method: 'DELETE', path, status: 404, expect: missing },
]
