import t from 'tap'
import { parseAgentId, parseOfferId, parseTaskId } from '../../core/model/ids.ts'
import { type TaskState, type TaskStatus } from '../../core/model/task.ts'
import { type AppRecord } from '../../core/services/app.ts'
import { backoffAfterFailure, noBackoff } from '../../core/services/backoff.ts'
import { fulfils, type Place } from '../../core/services/constraints.ts'
import { parseAppId } from '../../core/services/ids.ts'
import { type Instance, isServing, stepInstance } from '../../core/services/instance.ts'
import { matchOffer, type OfferPool } from '../../core/services/match.ts'
import { parseApp } from '../../core/services/parse-app.ts'
import { placeDemands } from '../../core/services/place.ts'
import { defaultPlanTimes, planApp } from '../../core/services/plan.ts'
import { taskInfoOf } from '../../core/services/task.ts'

const nowMs = 10_000_000
const context = {
  networkNames: new Set(['dcos', 'lab']),
  vipConflict: () => undefined,
  pathConflict: () => undefined,
}

function record(fields: object = {}, more: Partial<AppRecord> = {}): AppRecord {
  const definition = parseApp({ id: '/shop/web', cmd: 'x', ...fields }, context)
  return { definition, version: 5, configVersion: 5, scalingVersion: 5, goal: 'run', ...more }
}

/**
 * An instance from a word: state (`run`, `staged`, `sick`, `pending`, `lost` = unreachable, `back` = recovered), `-` and
 * configuration (`new`, `old`), then `!` when its kill was sent just now, `!!` when that was long ago.
 */
function instance(word: string, index: number): Instance {
  const [state = '', rest = ''] = word.split('-')
  const health = state === 'sick' ? 'unhealthy' : state === 'pending' ? 'pending' : 'unchecked'
  const phases: Readonly<Record<string, Instance['phase']>> = {
    staged: { kind: 'staged', sinceMs: nowMs - 1_000, state: 'TASK_STAGING' },
    stuck: { kind: 'staged', sinceMs: nowMs - 300_000, state: 'TASK_STAGING' },
    killing: { kind: 'killing', sinceMs: nowMs },
    lost: { kind: 'unreachable', sinceMs: nowMs },
    back: { kind: 'recovered', sinceMs: nowMs - 1_000 },
    forgotten: { kind: 'recovered', sinceMs: nowMs - 90_000 },
  }
  const askedAtMs = rest.endsWith('!!') ? nowMs - 60_000 : nowMs
  return {
    id: parseTaskId(`${word.replaceAll('!', '')}.${index}`),
    appId: parseAppId('/shop/web'),
    configVersion: rest.startsWith('old') ? 4 : 5,
    agentId: parseAgentId(`S${index}`),
    place: { hostname: `h${index}`, attributes: {} },
    hostPorts: [],
    createdAtMs: index,
    health: health === 'unchecked' ? 'unchecked' : 'checked',
    networks: [],
    goal: rest.includes('!') ? { kind: 'stop', askedAtMs } : { kind: 'run' },
    phase: phases[state] ?? { kind: 'running', sinceMs: nowMs - 60_000, health },
  }
}

const half = { minimumHealthCapacity: 0.5, maximumOverCapacity: 0 }
const tight = { minimumHealthCapacity: 1, maximumOverCapacity: 0 }

/** n, instances, launches, stops (as indexes), and whether it is settled; then other fields of the app. */
type PlanCase = readonly [string, number, string, number, readonly number[], boolean, object?]

const plans: readonly PlanCase[] = [
  ['nothing there', 3, '', 3, [], false],
  ['all there', 2, 'run-new run-new', 0, [], true],
  ['one on its way', 2, 'run-new staged-new', 0, [], false],
  ['one failed', 3, 'run-new run-new', 1, [], false],
  ['scale up', 5, 'run-new run-new', 3, [], false],
  ['scale down: youngest first', 1, 'run-new run-new run-new', 0, [2, 1], false],
  ['scale down: oldest first', 1, 'run-new run-new run-new', 0, [0, 1], false, { killSelection: 'OLDEST_FIRST' }],
  ['scale down: what does not serve first', 1, 'sick-new run-new run-new', 0, [0, 2], false],
  ['scale to nothing', 0, 'run-new staged-new', 0, [1, 0], false],
  ['scaled to nothing', 0, '', 0, [], true],
  ['unhealthy: not settled', 1, 'sick-new', 0, [], false],
  ['not checked yet: not settled', 1, 'pending-new', 0, [], false],
  ['being killed by its agent: replaced', 1, 'killing-new', 1, [], false],
  ['being stopped: replaced while there is room', 1, 'run-new!', 1, [], false],
  ['being stopped: not replaced without room', 1, 'run-new!', 0, [], false, { upgradeStrategy: tight }],
  ['unreachable: replaced', 2, 'run-new lost-new', 1, [], false],
  ['unreachable and replaced', 1, 'run-new lost-new', 0, [], true],
  ['came back, was replaced: the youngest goes', 1, 'run-new run-new', 0, [1], false],
  ['recovered: neither doubled nor lost', 2, 'back-new back-new', 0, [], false],
  ['never came back', 1, 'forgotten-new', 1, [], false],
  ['stuck in staging', 1, 'stuck-new', 1, [0], false],
  ['update: new beside old', 3, 'run-old run-old run-old', 3, [], false],
  ['update: old ones wait for new ones', 3, 'run-old run-old run-old staged-new staged-new staged-new', 0, [], false],
  ['update: unchecked is not healthy', 2, 'run-old run-old pending-new pending-new', 0, [], false],
  ['update: one for one', 3, 'run-old run-old run-old run-new staged-new staged-new', 0, [2], false],
  ['update: all new', 2, 'run-old run-old run-new run-new', 0, [1, 0], false],
  ['update: an old one that is on its way is not waited for', 1, 'staged-old run-new', 0, [0], false],
  ['update: recovered old ones are kept', 2, 'back-old back-old', 2, [], false],
  [
    'update: over capacity is kept',
    4,
    'run-old run-old run-old run-old',
    2,
    [],
    false,
    { upgradeStrategy: { maximumOverCapacity: 0.5 } },
  ],
  ['update within half', 4, 'run-old run-old run-old run-old', 0, [3, 2], false, { upgradeStrategy: half }],
  ['update within half, going on', 4, 'run-old run-old run-old! run-old!', 0, [], false, { upgradeStrategy: half }],
  ['update within half, room', 4, 'run-old run-old', 2, [], false, { upgradeStrategy: half }],
  ['update with neither: one more', 2, 'run-old run-old', 1, [], false, { upgradeStrategy: tight }],
  ['update with neither: one more, once', 2, 'run-old run-old staged-new', 0, [], false, { upgradeStrategy: tight }],
  ['update and scale down', 1, 'run-old run-old run-old', 0, [2, 1], false],
]

t.test('what is done, from what is there', async (t) => {
  for (const [name, instances, words, launches, stops, settled, fields] of plans) {
    const there = words.split(' ').filter(Boolean).map(instance)
    const app = record({ ...fields, instances })
    const plan = planApp({ record: app, instances: there, backoff: noBackoff, nowMs, times: defaultPlanTimes })
    const seen = {
      launches: plan.launches,
      stops: plan.stops.map(({ createdAtMs }) => createdAtMs),
      settled: plan.settled,
    }
    t.same(seen, { launches, stops, settled }, name)
  }
})

t.test('an app that goes away', async (t) => {
  const plan = (words: string) => {
    const instances = words.split(' ').filter(Boolean).map(instance)
    return planApp({
      record: record({}, { goal: 'delete' }),
      instances,
      backoff: noBackoff,
      nowMs,
      times: defaultPlanTimes,
    })
  }
  t.same(
    plan('run-new run-old back-old')
      .stops.map(({ createdAtMs }) => createdAtMs)
      .toSorted(),
    [0, 1, 2],
  )
  t.equal(plan('run-new!').settled, false)
  t.match(plan('lost-new'), { settled: true, launches: 0 }, 'nobody waits for what is out of reach')
})

t.test('kills are sent again, and launches wait', async (t) => {
  const plan = (word: string, untilMs = 0) => {
    const input = { instances: [instance(word, 0)], backoff: { delayMs: 1, untilMs }, nowMs, times: defaultPlanTimes }
    return planApp({ record: record(), ...input })
  }
  t.match(plan('run-new!'), { kills: [], wakeAtMs: nowMs + 13_000 }, 'grace and retry are 3 s and 10 s')
  t.equal(plan('run-new!!').kills.length, 1)
  t.equal(plan('lost-new!!').kills.length, 0)
  t.match(plan('lost-new', nowMs + 500), { launches: 0, wakeAtMs: nowMs + 500 }, 'while backing off')
  t.match(plan('staged-new'), { wakeAtMs: nowMs + 299_000 })
  t.match(plan('back-new'), { wakeAtMs: nowMs + 89_000 })
  t.match(plan('forgotten-new'), { lost: [{ createdAtMs: 0 }] })
})

t.test('a rolling update never breaks its promises, whatever comes when', async (t) => {
  let seed = 1
  const random = (below: number): number => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % below
  }
  for (let round = 0; round < 60; round++) {
    const instances = 1 + random(6)
    const upgradeStrategy = { minimumHealthCapacity: random(3) / 2, maximumOverCapacity: random(3) / 2 }
    const app = record({ instances, upgradeStrategy })
    const least = Math.ceil(instances * upgradeStrategy.minimumHealthCapacity)
    const most = Math.floor(instances * (1 + upgradeStrategy.maximumOverCapacity))
    let alive = Array.from({ length: instances }, (_, i) => instance('run-old', i))
    let settled = false
    for (let step = 0; step < 400 && !settled; step++) {
      const plan = planApp({ record: app, instances: alive, backoff: noBackoff, nowMs, times: defaultPlanTimes })
      settled = plan.settled
      const stops = new Set(plan.stops)
      alive = alive.map((one) => (stops.has(one) ? { ...one, goal: { kind: 'stop', askedAtMs: nowMs } } : one))
      for (let i = 0; i < plan.launches; i++) alive.push(instance('staged-new', 1_000 * round + step * 10 + i))
      if (alive.filter(isServing).length < least) t.fail(`round ${round}: ${alive.filter(isServing).length} < ${least}`)
      if (alive.length > Math.max(most, least + 1)) t.fail(`round ${round}: ${alive.length} > ${most}`)
      const target = alive[random(alive.length)]
      if (target?.goal.kind === 'stop') alive = alive.filter((one) => one !== target)
      else if (target?.phase.kind === 'staged')
        alive = alive.map((one) => (one === target ? { ...one, phase: instance('run-new', 0).phase } : one))
    }
    t.ok(settled, `round ${round}: ${instances} instances, ${JSON.stringify(upgradeStrategy)}`)
    t.equal(alive.filter(({ configVersion }) => configVersion === 5).length, instances)
  }
})

function status(state: TaskState, more: Partial<TaskStatus> = {}): TaskStatus {
  return { taskId: parseTaskId('a.1'), state, source: 'AGENT', timestampMs: 77, networks: [], ...more }
}

const steps: readonly (readonly [string, string, TaskStatus, object])[] = [
  ['starting', 'staged-new', status('TASK_STARTING'), { phase: { kind: 'staged', state: 'TASK_STARTING' } }],
  ['running', 'staged-new', status('TASK_RUNNING'), { startedAtMs: 77, phase: { kind: 'running', sinceMs: nowMs } }],
  ['checked, no answer yet', 'pending-new', status('TASK_RUNNING'), { phase: { health: 'pending' } }],
  ['checked, passed', 'pending-new', status('TASK_RUNNING', { healthy: true }), { phase: { health: 'healthy' } }],
  ['checked, failed', 'pending-new', status('TASK_RUNNING', { healthy: false }), { phase: { health: 'unhealthy' } }],
  ['told again without an answer', 'sick-new', status('TASK_RUNNING'), { phase: { health: 'unhealthy' } }],
  ['STAGING told late', 'run-new', status('TASK_STAGING'), { phase: { kind: 'running' } }],
  ['back after a restart', 'back-new', status('TASK_RUNNING'), { phase: { kind: 'running', sinceMs: nowMs } }],
  ['not known', 'run-new', status('TASK_UNKNOWN'), { phase: { kind: 'recovered' } }],
  ['not known, was to stop', 'run-new!', status('TASK_UNKNOWN'), { phase: { kind: 'ended', outcome: 'stopped' } }],
  ['out of reach', 'run-new', status('TASK_UNREACHABLE'), { phase: { kind: 'unreachable' } }],
  ['back in reach', 'lost-new', status('TASK_RUNNING'), { phase: { kind: 'running' } }],
  ['killed by its agent', 'run-new', status('TASK_KILLING'), { phase: { kind: 'killing' }, goal: { kind: 'run' } }],
  ['finished', 'run-new', status('TASK_FINISHED'), { phase: { kind: 'ended', outcome: 'failed' } }],
  ['stopped', 'run-new!', status('TASK_FAILED'), { phase: { kind: 'ended', outcome: 'stopped' } }],
  ['agent gone', 'run-new', status('TASK_GONE'), { phase: { kind: 'ended', outcome: 'lost' } }],
  [
    'lost with its agent',
    'run-new',
    status('TASK_LOST', { reason: 'REASON_AGENT_REMOVED' }),
    { phase: { outcome: 'lost' } },
  ],
  [
    'dropped',
    'staged-new',
    status('TASK_DROPPED', { reason: 'REASON_INVALID_OFFERS' }),
    { phase: { outcome: 'failed' } },
  ],
]

t.test('steps of an instance', async (t) => {
  for (const [name, word, told, expected] of steps) {
    t.match(stepInstance(instance(word, 1), { kind: 'status', status: told, nowMs }), expected, name)
  }
  const ended = stepInstance(instance('run-new', 1), { kind: 'give-up' })
  t.equal(stepInstance(ended, { kind: 'status', status: status('TASK_RUNNING'), nowMs }), ended, 'ended is ended')
})

t.test('failures are waited after, longer each time', async (t) => {
  const policy = { backoffSeconds: 1, backoffFactor: 2, maxLaunchDelaySeconds: 5 }
  const delays: number[] = []
  let backoff = noBackoff
  for (let i = 0; i < 5; i++) {
    backoff = backoffAfterFailure(backoff, policy, { ranMs: 10, nowMs: backoff.untilMs })
    delays.push(backoff.delayMs)
  }
  t.same(delays, [1_000, 2_000, 4_000, 5_000, 5_000])
  t.equal(
    backoffAfterFailure(backoff, policy, { ranMs: 0, nowMs: backoff.untilMs - 1 }),
    backoff,
    'many at once are one',
  )
  const later = backoffAfterFailure(backoff, policy, { ranMs: 60_000, nowMs: backoff.untilMs })
  t.equal(later.delayMs, 1_000, 'one that ran well begins anew')
})

function pool(name: string, more: Partial<OfferPool['resources']> = {}, attributes = {}): OfferPool {
  const resources = { cpuMillis: 4_000, memMb: 4_096, diskMb: 1_000, ports: [{ begin: 31_000, end: 31_009 }], ...more }
  return {
    agentId: parseAgentId(name),
    role: '*',
    place: { hostname: name, attributes },
    offerIds: [parseOfferId(name)],
    resources,
  }
}

const matches: readonly (readonly [string, object, OfferPool, string])[] = [
  ['fits', {}, pool('a'), 'match'],
  ['a foreign role', {}, { ...pool('a'), role: 'x' }, 'UnfulfilledRole'],
  ['a constraint', { constraints: [['@hostname', 'IS', 'b']] }, pool('a'), 'UnfulfilledConstraint'],
  ['before cpus', { cpus: 9, constraints: [['rack', 'IS', 'b']] }, pool('a'), 'UnfulfilledConstraint'],
  ['cpus', { cpus: 4.001 }, pool('a'), 'InsufficientCpus'],
  ['before memory', { cpus: 5, mem: 9_999 }, pool('a'), 'InsufficientCpus'],
  ['exactly all cpus', { cpus: 4 }, pool('a'), 'match'],
  ['memory', { mem: 4_096.5 }, pool('a'), 'InsufficientMemory'],
  ['disk', { disk: 1_001 }, pool('a'), 'InsufficientDisk'],
  ['no ports left', {}, pool('a', { ports: [] }), 'InsufficientPorts'],
  ['no ports wanted', { portDefinitions: [] }, pool('a', { ports: [] }), 'match'],
  ['a certain port', { requirePorts: true, portDefinitions: [{ port: 31_005 }] }, pool('a'), 'match'],
  [
    'a certain port that is taken',
    { requirePorts: true, portDefinitions: [{ port: 80 }] },
    pool('a'),
    'InsufficientPorts',
  ],
]

t.test('an app and an offer', async (t) => {
  for (const [name, fields, offer, expected] of matches) {
    const result = matchOffer(record(fields).definition, offer, { running: [], seed: 3 })
    t.equal(result.kind === 'match' ? 'match' : result.reason, expected, name)
  }
})

t.test('constraints', async (t) => {
  const at = (rack: string): Place => ({ hostname: `h-${rack}`, attributes: { rack } })
  const table: readonly (readonly [readonly string[], string, readonly string[], boolean])[] = [
    [['rack', 'UNIQUE'], 'a', ['b'], true],
    [['rack', 'UNIQUE'], 'a', ['a'], false],
    [['rack', 'CLUSTER'], 'a', [], true],
    [['rack', 'CLUSTER'], 'a', ['b'], false],
    [['rack', 'CLUSTER', 'b'], 'a', [], false],
    [['rack', 'MAX_PER', '2'], 'a', ['a'], true],
    [['rack', 'MAX_PER', '2'], 'a', ['a', 'a'], false],
    [['rack', 'GROUP_BY'], 'a', ['a', 'b'], true],
    [['rack', 'GROUP_BY'], 'a', ['a', 'a', 'b'], false],
    [['rack', 'GROUP_BY', '3'], 'a', ['a', 'b'], false],
    [['rack', 'GROUP_BY', '3'], 'c', ['a', 'b'], true],
    [['@hostname', 'IS', 'h-a'], 'a', [], true],
    [['shelf', 'UNIQUE'], 'a', [], false],
  ]
  for (const [constraint, here, running, expected] of table) {
    t.equal(
      fulfils(constraint, at(here), running.map(at)),
      expected,
      `${constraint.join(' ')} at ${here} beside ${running}`,
    )
  }
})

t.test('instances spread', async (t) => {
  const placed = (count: number, instances: readonly Instance[], pools: readonly OfferPool[], fields = {}) => {
    const placing = placeDemands([{ record: record(fields), count, instances }], pools, 0)
    const names = placing.placements
      .map((placement) => placement.pool.agentId)
      .toSorted()
      .join(' ')
    return { names, reasons: Object.fromEntries(placing.rejections.get(parseAppId('/shop/web')) ?? []) }
  }
  const three = [pool('S0'), pool('S1'), pool('S2')]
  t.match(placed(3, [], three), { names: 'S0 S1 S2', reasons: {} })
  t.match(placed(2, [instance('run-new', 0)], three), { names: 'S1 S2' }, 'where it is not yet')
  t.match(placed(1, [], [pool('S0', { cpuMillis: 2_000 }), pool('S1')]), { names: 'S1' }, 'where most is free')
  const small = placed(5, [], [pool('S0', { cpuMillis: 1_500 }), pool('S1', { memMb: 100 })])
  t.same(small, { names: 'S0', reasons: { S0: 'InsufficientCpus', S1: 'InsufficientMemory' } })
  const racks = [pool('S0', {}, { rack: 'a' }), pool('S1', {}, { rack: 'a' }), pool('S2', {}, { rack: 'b' })]
  t.match(placed(4, [], racks, { constraints: [['rack', 'GROUP_BY']] }), { names: 'S0 S1 S2 S2' })
  const ports = placeDemands(
    [{ record: record({ instances: 9 }), count: 9, instances: [] }],
    [pool('S0', { cpuMillis: 99_000 })],
    8,
  )
  t.equal(new Set(ports.placements.flatMap(({ hostPorts }) => hostPorts)).size, 9, 'each has a port of its own')
})

t.test('the task of an instance', async (t) => {
  const portMappings = [
    { containerPort: 80, name: 'http', labels: { VIP_0: '/web:80' }, networkNames: ['dcos'] },
    { containerPort: 0, hostPort: 0, protocol: 'udp,tcp', name: 'in-out', networkNames: ['lab'] },
  ]
  const app = record({
    networks: [{ name: 'dcos' }, { name: 'lab' }],
    container: { portMappings },
    healthChecks: [{ protocol: 'MESOS_HTTPS', portIndex: 0 }],
    env: { PORT: 'mine' },
    labels: { 'a-b': 'c' },
    cpus: 0.1,
  })
  const resources = { cpuMillis: 100, memMb: 128, diskMb: 0, ports: [{ begin: 31_001, end: 31_001 }] }
  const task = taskInfoOf(
    { record: app, pool: pool('a'), resources, hostPorts: [undefined, 31_001] },
    parseTaskId('x.1'),
  )
  t.match(task, {
    name: 'web.shop',
    command: {
      shell: true,
      value: 'x',
      env: {
        HOST: 'a',
        PORT: 'mine',
        PORT0: '80',
        PORT1: '31001',
        PORTS: '80,31001',
        PORT_80: '80',
        PORT_HTTP: '80',
        PORT_IN_OUT: '31001',
        MARATHON_APP_ID: '/shop/web',
        MARATHON_APP_LABEL_A_B: 'c',
        MARATHON_APP_RESOURCE_CPUS: '0.1',
        MESOS_TASK_ID: 'x.1',
      },
    },
    healthCheck: { probe: { kind: 'http', scheme: 'https', path: '/', port: 80 }, gracePeriodMs: 300_000 },
    killGraceMs: 3_000,
  })
  t.same(
    task.networks.map(({ name, portMappings }) => [name, portMappings]),
    [
      ['dcos', []],
      [
        'lab',
        [
          { hostPort: 31_001, containerPort: 31_001, protocol: 'tcp' },
          { hostPort: 31_001, containerPort: 31_001, protocol: 'udp' },
        ],
      ],
    ],
  )
  t.same(task.discovery?.ports, [
    {
      number: 80,
      name: 'http',
      protocols: ['tcp'],
      labels: { VIP_0: '/web:80', 'network-scope': 'container', 'network-name': 'dcos' },
    },
    {
      number: 31_001,
      name: 'in-out',
      protocols: ['tcp', 'udp'],
      labels: { 'network-scope': 'host', 'network-name': 'lab' },
    },
  ])
  const argv = taskInfoOf(
    { record: record({ cmd: undefined, args: ['/bin/echo', 'hi'] }), pool: pool('a'), resources, hostPorts: [31_001] },
    parseTaskId('x.2'),
  )
  t.match(argv, { command: { shell: false, value: '/bin/echo', arguments: ['/bin/echo', 'hi'] }, networks: [] })
  t.match(argv.discovery?.ports, [{ number: 31_001, name: 'default', labels: { 'network-scope': 'host' } }])
})
