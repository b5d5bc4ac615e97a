import { deployed, idle, small, type Step, version } from './marathon-step.ts'

/** Groups. */
export const groups: readonly Step[] = [
  { method: 'GET', path: '/v2/groups', status: 200, expect: { id: '/', apps: Array, groups: Array, version } },
  {
    method: 'POST',
    path: '/v2/groups',
    body: {
      id: '/test',
      apps: [{ ...small, id: 'db', cmd: 'x' }],
      groups: [{ id: 'web', apps: [{ ...small, id: 'front', cmd: 'x', dependencies: ['/test/db'] }] }],
    },
    status: 201,
    header: 'deployment',
    expect: deployed,
  },
  idle,
  {
    method: 'GET',
    path: '/v2/groups/test',
    status: 200,
    expect: {
      id: '/test',
      apps: [{ id: '/test/db' }],
      groups: [{ id: '/test/web', apps: [{ id: '/test/web/front' }] }],
    },
  },
  { method: 'GET', path: '/v2/apps/test/web/front', status: 200, expect: { app: { dependencies: ['/test/db'] } } },
  { method: 'GET', path: '/v2/groups/not-there', status: 404, expect: { message: String } },
  { method: 'POST', path: '/v2/groups', body: { id: '/test', apps: [] }, status: 409, expect: { message: String } },
  {
    method: 'PUT',
    path: '/v2/groups/test',
    body: {
      apps: [{ ...small, id: 'db', cmd: 'x', dependencies: ['/test/web/front'] }],
      groups: [{ id: 'web', apps: [{ ...small, id: 'front', cmd: 'x', dependencies: ['/test/db'] }] }],
    },
    status: 422,
    expect: { message: 'Object is not valid' },
  },
  { method: 'DELETE', path: '/v2/groups/test', status: 200, header: 'deployment', expect: deployed },
  idle,
  { method: 'GET', path: '/v2/groups/test', status: 404, expect: { message: String } },
]
