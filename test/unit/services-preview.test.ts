import t from 'tap'
import { type FreeAgent } from '../../core/services/preview-place.ts'
import { parseAgentId } from '../../core/model/ids.ts'
import { aliveIds, open, web } from '../support/services-world.ts'

/** An agent of which so much is free. */
const free = (name: string, cpus: number, more: { mem?: number; addresses?: number } = {}): FreeAgent => ({
  agentId: parseAgentId(name),
  place: { hostname: name.toLowerCase(), attributes: {} },
  resources: {
    ...{ cpuMillis: cpus * 1000, memMb: more.mem ?? 1024, diskMb: 0 },
    ports: [{ begin: 31_000, end: 31_009 }],
  },
  ...(more.addresses === undefined ? {} : { freeAddresses: { dcos: more.addresses } }),
})
const small = { ...web, cpus: 1, mem: 100, instances: 2 }
const pinned = (host: string) => ({ ...small, constraints: [['hostname', 'CLUSTER', host]] })

t.test('a new app: where it goes, and why it goes nowhere', async (t) => {
  const cases: readonly (readonly [string, object, readonly FreeAgent[], object])[] = [
    [
      'spread over both',
      small,
      [free('S0', 4), free('S1', 4)],
      {
        apps: [
          {
            id: '/shop/web',
            change: 'create',
            instances: { from: 0, to: 2 },
            placements: [
              { host: 's0', count: 1 },
              { host: 's1', count: 1 },
            ],
            unplaced: 0,
            reasons: [],
          },
        ],
        fits: true,
      },
    ],
    [
      'too little of the processor',
      small,
      [free('S0', 1.5)],
      {
        apps: [
          {
            placements: [{ host: 's0', count: 1 }],
            unplaced: 1,
            reasons: [{ reason: 'InsufficientCpus', host: 's0' }],
          },
        ],
        fits: false,
      },
    ],
    [
      'too little memory, in words',
      small,
      [free('S0', 9, { mem: 50 })],
      { apps: [{ unplaced: 2, reasons: [{ detail: 'wants 100 MB of memory, 50 are free' }] }] },
    ],
    [
      'no address',
      small,
      [free('S0', 9, { addresses: 1 })],
      { apps: [{ placements: [{ count: 1 }], unplaced: 1, reasons: [{ reason: 'InsufficientAddresses' }] }] },
    ],
    [
      'a constraint',
      pinned('elsewhere'),
      [free('S0', 9)],
      { apps: [{ unplaced: 2, reasons: [{ reason: 'UnfulfilledConstraint' }] }] },
    ],
    ['no agent at all', small, [], { apps: [{ unplaced: 2, reasons: [], advice: /no agent/ }], fits: false }],
    [
      'one after the other takes what the first left',
      [small, { ...small, id: '/shop/other', container: undefined, instances: 1 }],
      [free('S0', 2)],
      { apps: [{ unplaced: 0 }, { id: '/shop/other', unplaced: 1 }], fits: false },
    ],
  ]
  for (const [name, body, agents, expected] of cases) {
    const world = await open(t, { freeAgents: () => agents })
    const { status, body: answer } = await world.send('POST', '/v1/plan', body)
    t.equal(status, 200, name)
    t.match(answer, expected, name)
    t.same(await world.read('/v2/apps', 'apps'), [], `${name}: nothing is done`)
  }
})

t.test('a change: field by field, what restarts, and whether it fits beside the old', async (t) => {
  let agents: readonly FreeAgent[] = [free('S0', 4)]
  const world = await open(t, { freeAgents: () => agents })
  await world.send('POST', '/v2/apps', small)
  await world.deployed()
  const tasks = aliveIds(world)
  const look = async (body: object) => (await world.send('POST', '/v1/plan', body)).body
  const [one] = [await look(small)]
  t.match(one, { apps: [{ change: 'none', changes: [], restarts: [], placements: [] }], fits: true, interrupts: [] })
  t.match(await look({ ...small, instances: 5 }), {
    apps: [
      { change: 'scale', changes: [{ path: '/instances', from: 2, to: 5 }], placements: [{ host: 's0', count: 3 }] },
    ],
  })
  t.match(await look({ ...small, instances: 1 }), { apps: [{ change: 'scale', stops: 1, placements: [] }] })
  const changed = { ...small, env: { A: 'b' } }
  const replaced = await look(changed)
  t.match(replaced, { apps: [{ change: 'replace', changes: [{ path: '/env(A)', to: 'b' }] }], fits: true })
  for (const id of tasks)
    t.match(JSON.stringify(replaced), `{"id":"${id}","host":`, 'each is restarted, in whatever order')
  agents = ['S0', 'S1', 'S2'].map((name) => free(name, 0))
  t.match(await look(changed), { apps: [{ unplaced: 2, reasons: [{ reason: 'InsufficientCpus' }] }], fits: false })
  const giving = { ...changed, upgradeStrategy: { minimumHealthCapacity: 0.5, maximumOverCapacity: 0 } }
  t.match(
    await look(giving),
    { apps: [{ unplaced: 0, placements: [{ count: Number }] }], fits: true },
    'old ones make room',
  )
  t.same(aliveIds(world), tasks, 'nothing was done')
  t.match(await look({ id: '/shop', apps: [] }), { apps: [{ id: '/shop/web', change: 'delete', stops: 2 }] })
  t.match(await look({ ...small, cpus: 'many' }), { message: 'Object is not valid', details: [{ path: '/(0)/cpus' }] })
})

t.test('a deployment in the way is told; thousands of instances are planned at once', async (t) => {
  const world = await open(t, { freeAgents: () => [free('S0', 4)] })
  world.cluster.behave('hold')
  const { deployment } = await world.send('POST', '/v2/apps', small)
  await world.settle()
  t.match((await world.send('POST', '/v1/plan', small)).body, { interrupts: [deployment] })
  const atMs = performance.now()
  const huge = { ...small, id: '/huge', container: undefined, instances: 100_000, cpus: 0.01, mem: 1 }
  t.match((await world.send('POST', '/v1/plan', huge)).body, { apps: [{ placements: [{ count: 400 }] }] })
  t.ok(performance.now() - atMs < 5_000)
})
