import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { parseAgentId, parseFrameworkId, parseNetworkName, parseNodeName, parseTaskId } from '../../core/model/ids.ts'
import { noResources } from '../../core/model/resources.ts'
import { type TaskInfo, type TaskState, type TaskStatus } from '../../core/model/task.ts'
import { findReturned, mergeReturned } from '../../core/master/agents/returning.ts'
import { type AgentEvent, type AgentState, stepAgent } from '../../core/master/agents/state.ts'
import { formatCachedTask, parseCachedTask } from '../../core/master/tasks/cache.ts'
import { type MasterTask, runningTask, stateFor, stepTask } from '../../core/master/tasks/state.ts'

const taskId = parseTaskId('web.1')
const frameworkId = parseFrameworkId('f-0000')
const agentId = parseAgentId('m-S0')
const place = { node: parseNodeName('node1'), agentId, framework: 'marathon' }
const info: TaskInfo = {
  taskId,
  name: 'web',
  agentId,
  resources: { ...noResources, cpuMillis: 100, ports: [{ begin: 31_000, end: 31_001 }] },
  command: { shell: true, value: 'serve', arguments: ['a', ''], env: { A: 'ü' }, user: 'www' },
  networks: [
    {
      name: parseNetworkName('dcos'),
      labels: { x: 'y' },
      portMappings: [{ hostPort: 31_000, containerPort: 80, protocol: 'tcp' }],
    },
  ],
  healthCheck: {
    probe: { kind: 'http', scheme: 'http', path: '/', port: 80 },
    gracePeriodMs: 1,
    intervalMs: 2,
    timeoutMs: 3,
    maxConsecutiveFailures: 4,
  },
  discovery: {
    name: 'web',
    visibility: 'EXTERNAL',
    ports: [{ number: 80, name: 'http', protocols: ['tcp', 'udp'], labels: { VIP_0: '/web:80' } }],
  },
  killGraceMs: 5_000,
  labels: { team: 'a' },
}

function status(state: TaskState, more: Partial<TaskStatus> = {}): TaskStatus {
  return { taskId, state, source: 'AGENT', timestampMs: 5, networks: [], ...more }
}

const networks = [{ name: 'dcos', addresses: [parseIp('10.80.1.2'), parseIp('fd00::2')] }]
const staging: MasterTask = { info, frameworkId, role: '*', status: status('TASK_STAGING') }
const running = stepTask(staging, { kind: 'update', status: status('TASK_RUNNING', { networks, uuid: 'u1' }) })

t.test('agents: connected, disconnected, unreachable', async (t) => {
  const cases: readonly {
    readonly name: string
    readonly events: readonly AgentEvent['kind'][]
    readonly end: AgentState
  }[] = [
    { name: 'registers', events: ['registered'], end: { kind: 'connected', missedPings: 0 } },
    { name: 'misses some', events: ['registered', 'ping-due', 'ping-due'], end: { kind: 'connected', missedPings: 2 } },
    { name: 'answers', events: ['registered', 'ping-due', 'pong'], end: { kind: 'connected', missedPings: 0 } },
    {
      name: 'leaves',
      events: ['registered', 'ping-due', 'session-lost'],
      end: { kind: 'disconnected', missedPings: 1 },
    },
    { name: 'leaves before it came', events: ['session-lost'], end: { kind: 'recovered', missedPings: 0 } },
    { name: 'is given up', events: Array(5).fill('ping-due'), end: { kind: 'unreachable' } },
    {
      name: 'stays given up',
      events: [...Array(5).fill('ping-due'), 'pong', 'session-lost'],
      end: { kind: 'unreachable' },
    },
    {
      name: 'comes back',
      events: [...Array(7).fill('ping-due'), 'registered'],
      end: { kind: 'connected', missedPings: 0 },
    },
  ]
  for (const { name, events, end } of cases) {
    const start: AgentState = { kind: 'recovered', missedPings: 0 }
    t.same(
      events.reduce<AgentState>((state, kind) => stepAgent(state, { kind }), start),
      end,
      name,
    )
  }
  let state: AgentState = { kind: 'connected', missedPings: 0 }
  for (let i = 0; i < 4; i++) state = stepAgent(state, { kind: 'ping-due' })
  t.equal(state.kind, 'connected', 'the fifth miss is what counts')
})

t.test('tasks: what an event makes of them', async (t) => {
  const finished = stepTask(running, { kind: 'update', status: status('TASK_FINISHED', { uuid: 'u2' }) })
  const cases: readonly { readonly name: string; readonly task: MasterTask; readonly expect: object }[] = [
    {
      name: 'running',
      task: running,
      expect: { status: { state: 'TASK_RUNNING', networks }, unacknowledged: { uuid: 'u1' } },
    },
    {
      name: 'a repeated update keeps addresses and health',
      task: stepTask(stepTask(running, { kind: 'health', healthy: true, timestampMs: 9 }), {
        kind: 'update',
        status: status('TASK_KILLING'),
      }),
      expect: { status: { state: 'TASK_KILLING', networks, healthy: true } },
    },
    {
      name: 'acknowledged',
      task: stepTask(running, { kind: 'acknowledge', uuid: 'u1' }),
      expect: { unacknowledged: undefined },
    },
    {
      name: 'another acknowledgement',
      task: stepTask(running, { kind: 'acknowledge', uuid: 'u0' }),
      expect: { unacknowledged: { uuid: 'u1' } },
    },
    {
      name: 'what has ended stays ended',
      task: stepTask(finished, { kind: 'update', status: status('TASK_RUNNING', { uuid: 'u3' }) }),
      expect: { status: { state: 'TASK_FINISHED' }, unacknowledged: { uuid: 'u3' } },
    },
    {
      name: 'no health after the end',
      task: stepTask(finished, { kind: 'health', healthy: false, timestampMs: 9 }),
      expect: { status: { state: 'TASK_FINISHED', healthy: undefined } },
    },
    { name: 'killed', task: stepTask(running, { kind: 'kill', graceMs: 7 }), expect: { killing: { graceMs: 7 } } },
  ]
  for (const { name, task, expect } of cases) t.match(task, expect, name)
})

t.test('tasks in the snapshot', async (t) => {
  const { healthCheck: _, ...unchecked } = info
  const cases: readonly { readonly name: string; readonly task: MasterTask; readonly expect: object | undefined }[] = [
    { name: 'not before it runs', task: staging, expect: undefined },
    { name: 'no answer yet', task: running, expect: { state: 'TASK_RUNNING', health: 'pending', networks } },
    { name: 'no check', task: { ...running, info: unchecked }, expect: { health: 'unchecked' } },
    {
      name: 'healthy',
      task: stepTask(running, { kind: 'health', healthy: true, timestampMs: 1 }),
      expect: { health: 'healthy', ports: info.resources.ports, discovery: info.discovery },
    },
    {
      name: 'unhealthy',
      task: stepTask(running, { kind: 'health', healthy: false, timestampMs: 1 }),
      expect: { health: 'unhealthy' },
    },
    {
      name: 'being killed, whatever its agent has said so far',
      task: stepTask(running, { kind: 'kill', graceMs: 1 }),
      expect: { state: 'TASK_KILLING', portMappings: info.networks[0]?.portMappings },
    },
    {
      name: 'unreachable',
      task: stepTask(running, { kind: 'update', status: status('TASK_UNREACHABLE') }),
      expect: undefined,
    },
    { name: 'over', task: stepTask(running, { kind: 'update', status: status('TASK_KILLED') }), expect: undefined },
  ]
  for (const { name, task, expect } of cases) {
    const found = runningTask(task, place)
    if (expect === undefined) t.equal(found, undefined, name)
    else t.match(found, { id: taskId, node: 'node1', framework: 'marathon', ...expect }, name)
  }
})

t.test('what a returning agent means for its tasks', async (t) => {
  const latest = status('TASK_RUNNING', { networks, uuid: 'u9' })
  const reported = { frameworkId, info, latest }
  const lost = stepTask(running, { kind: 'update', status: status('TASK_UNREACHABLE') })
  const ended = stepTask(running, { kind: 'update', status: status('TASK_FAILED', { uuid: 'u4' }) })
  const cases = [
    { name: 'both have it', known: [running], reports: [reported], expect: [{ kind: 'enter', back: 'as-before' }] },
    { name: 'the master is new', known: [], reports: [reported], expect: [{ kind: 'enter', back: 'as-before' }] },
    { name: 'it was unreachable', known: [lost], reports: [reported], expect: [{ kind: 'enter', back: 'back' }] },
    { name: 'it never arrived', known: [staging], reports: [], expect: [{ kind: 'missing', state: 'TASK_DROPPED' }] },
    { name: 'it died', known: [running], reports: [], expect: [{ kind: 'missing', state: 'TASK_GONE' }] },
    { name: 'its end awaits the acknowledgement', known: [ended], reports: [], expect: [] },
  ]
  for (const { name, known, reports, expect } of cases) {
    const found = findReturned(known, reports)
    t.equal(found.length, expect.length, name)
    t.match(found, expect, name)
  }
  t.match(mergeReturned(undefined, reported, 'dev'), { role: 'dev', status: { state: 'TASK_RUNNING', networks } })
  t.match(mergeReturned(lost, reported, 'x'), { role: '*', status: { state: 'TASK_RUNNING' } })
  t.equal(mergeReturned(undefined, reported, '*').unacknowledged, undefined, 'its agent sends the update itself')
})

t.test('states that not every framework knows', async (t) => {
  const cases = [
    ['TASK_DROPPED', 'TASK_LOST'],
    ['TASK_UNREACHABLE', 'TASK_LOST'],
    ['TASK_GONE', 'TASK_LOST'],
    ['TASK_UNKNOWN', 'TASK_LOST'],
    ['TASK_RUNNING', 'TASK_RUNNING'],
    ['TASK_ERROR', 'TASK_ERROR'],
  ] as const
  for (const [state, old] of cases) {
    t.equal(stateFor(state, ['PARTITION_AWARE']), state)
    t.equal(stateFor(state, []), old)
  }
})

t.test('a cached task is read back as it was; what is none is left out', async (t) => {
  const killed = stepTask(running, { kind: 'kill', graceMs: 7 })
  for (const task of [staging, running, killed, { ...running, role: 'dev' }]) {
    t.same(parseCachedTask(formatCachedTask(task)), task)
  }
  const broken = ['', '{}', 'null', '{"task":"AAAA","role":"*"}', '{"task":"!","role":"*"}']
  for (const text of broken) t.equal(parseCachedTask(text), undefined, text)
})
