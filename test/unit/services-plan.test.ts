import t from 'tap'
import { parseAgentId, parseTaskId } from '../../core/model/ids.ts'
import { type TaskState, type TaskStatus } from '../../core/model/task.ts'
import { backoffAfterFailure, noBackoff } from '../../core/services/backoff.ts'
import { isServing, stepInstance } from '../../core/services/instance.ts'
import { defaultPlanTimes, planApp } from '../../core/services/plan.ts'
import { instance, nowMs, record } from '../support/services-instances.ts'

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

/** Instances, draining agents, launches, stops, and whether it is settled; every app wants 2. */
const drains: readonly (readonly [string, string, string, number, readonly number[], boolean, object?])[] = [
  ['a replacement first', 'run-new run-new', 'S1', 1, [], false],
  ['until it serves', 'run-new run-new pending-new', 'S1', 0, [], false],
  ['then the drained one stops', 'run-new run-new run-new', 'S1', 0, [1], false],
  ['moved', 'run-new run-new', 'S5', 0, [], true],
  ['all of them', 'run-new run-new', 'S0 S1', 2, [], false],
  ['with neither less nor more: one more, once', 'run-new run-new', 'S0 S1', 1, [], false, { upgradeStrategy: tight }],
  ['may be fewer', 'run-new run-new', 'S0 S1', 0, [1], false, { upgradeStrategy: half }],
  ['an outdated one there goes by the same rule', 'run-old run-new run-new', 'S0', 0, [0], false],
  ['killed by the master in the end', 'run-new killing-new', 'S1', 1, [], false],
]

t.test('instances on agents that are being emptied', async (t) => {
  for (const [name, words, ids, launches, stops, settled, fields] of drains) {
    const input = { instances: words.split(' ').map(instance), backoff: noBackoff, nowMs, times: defaultPlanTimes }
    const draining = new Set(ids.split(' ').map(parseAgentId))
    const plan = planApp({ record: record({ ...fields, instances: 2 }), ...input, draining })
    const seen = { launches: plan.launches, stops: plan.stops.map(({ createdAtMs }) => createdAtMs) }
    t.same({ ...seen, settled: plan.settled }, { launches, stops, settled }, name)
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
    'its agent is emptied',
    'run-new',
    status('TASK_KILLED', { reason: 'REASON_AGENT_DRAINING' }),
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
