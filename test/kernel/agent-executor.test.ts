import { type ChildProcess } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { type AgentReport } from '../../core/api/messages.ts'
import { type ExecutorInfo } from '../../core/model/executor.ts'
import { parseExecutorId, parseNetworkName, parseTaskId } from '../../core/model/ids.ts'
import { type TaskInfo } from '../../core/model/task.ts'
import { openScriptedMaster, type ScriptedMaster } from '../support/agent-master.ts'
import { type AgentBench, makeAgentBench, shellTask, stopProcess } from '../support/agent-process.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { hidesCheckout } from '../support/visible.ts'

const program = fileURLToPath(new URL('../fixtures/mesos-executor.ts', import.meta.url))

function customExecutor(id: string, args = 'socket', change: Partial<ExecutorInfo> = {}): ExecutorInfo {
  return {
    id: parseExecutorId(id),
    kind: 'custom',
    name: 'of a test',
    resources: { cpuMillis: 500, memMb: 128, diskMb: 0, ports: [] },
    command: { shell: true, value: `exec ${process.execPath} ${program} ${args}`, arguments: [], env: { MINE: 'yes' } },
    networks: [],
    shutdownGraceMs: 5000,
    labels: {},
    ...change,
  }
}

/** A task of an executor; `order` is its data. */
function taskOf(executor: ExecutorInfo, id: string, order = 'run', change: Partial<TaskInfo> = {}): TaskInfo {
  const command = { shell: false, value: '', arguments: [], env: {} }
  return shellTask(id, '', { executor, command, data: Buffer.from(order).toString('base64'), ...change })
}

interface World {
  readonly bench: AgentBench
  readonly master: ScriptedMaster
  /** Starts an agent and waits for its registration; a loaded machine needs patience. */
  readonly start: (patience?: readonly string[]) => Promise<ChildProcess>
}

async function makeWorld(t: Test): Promise<World> {
  const bench = makeAgentBench()
  const master = await openScriptedMaster()
  t.teardown(async () => {
    await bench.remove()
    master.close()
  })
  const start = async (flags: readonly string[] = ['--executor-reregistration-timeout', '60']) => {
    const before = master.registrations.length
    const agent = bench.start(master.address, { flags })
    await master.until('registration', () => master.registrations.length > before)
    return agent
  }
  return { bench, master, start }
}

/** Waits for what an executor has written. */
async function says(bench: AgentBench, executor: string, words: RegExp): Promise<boolean> {
  return eventually(() => words.test(bench.output(executor)))
}

/** First process of an executor's container. */
function pidOf({ stateDir }: AgentBench, executor: string): number {
  const containers = join(stateDir, 'containers')
  const id = readdirSync(containers).find((name) => name.startsWith(`${executor}-`)) ?? ''
  const text = readFileSync(join(containers, id, 'executor'), 'utf8')
  return Number(/"kind":"started","pid":(\d+)/.exec(text)?.[1])
}

/** Of control groups version 1 or 2; without limits: Infinity. */
function memoryLimitBytes(pid: number): number {
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n')
  const files = lines.flatMap((line) => {
    const [, controllers = '', path = ''] = line.split(':')
    if (controllers === '') return [`/sys/fs/cgroup${path}/memory.max`]
    return controllers === 'memory' ? [`/sys/fs/cgroup/memory${path}/memory.limit_in_bytes`] : []
  })
  const found = files.find((file) => existsSync(file))
  const limit = found === undefined ? Number.NaN : Number.parseInt(readFileSync(found, 'utf8'), 10)
  return Number.isNaN(limit) ? Number.POSITIVE_INFINITY : limit
}

async function eventually(look: () => boolean): Promise<boolean> {
  for (let i = 0; i < 500 && !look(); i++) await pause(20)
  return look()
}

const frameworkOf = ({ framework: frameworkId }: ScriptedMaster) => ({ frameworkId })

t.test('several tasks, messages both ways, a kill, the end', { skip: canMakeHosts || hidesCheckout() }, async (t) => {
  const { bench, master, start } = await makeWorld(t)
  await start()
  const networks = [{ name: parseNetworkName('dcos'), labels: {}, portMappings: [] }]
  const executor = customExecutor('exec', 'socket', { networks })
  const place = { ...frameworkOf(master), executorId: executor.id }
  master.launch(taskOf(executor, 'one'), taskOf(executor, 'two'), taskOf(executor, 'bad', 'fail'))
  for (const id of ['one', 'two']) {
    t.match(await master.status(id, 'TASK_RUNNING'), {
      source: 'EXECUTOR',
      data: 'ZGF0YQ==',
      message: `${id} by itself`,
      networks: [{ name: 'dcos', addresses: ['192.0.2.7'] }],
    })
  }
  await master.status('bad', 'TASK_FAILED')
  t.ok(await says(bench, 'exec', /EVENT ACKNOWLEDGED/), 'it is told that the update is kept')
  const env = JSON.parse(/^ENV (.*)$/m.exec(bench.output('exec'))?.[1] ?? '{}')
  t.match(env, {
    MINE: 'yes',
    MESOS_EXECUTOR_ID: 'exec',
    MESOS_FRAMEWORK_ID: master.framework,
    MESOS_SLAVE_ID: 'master-S0',
    MESOS_CHECKPOINT: '1',
    MESOS_RECOVERY_TIMEOUT: '15mins',
    MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD: '5secs',
    MESOS_AGENT_ENDPOINT: /^127\.0\.0\.1:\d+$/,
    MESOS_SANDBOX: '/mnt/mesos/sandbox',
  })
  t.notOk('MESOS_TASK_ID' in env, 'an executor is no task')
  master.launch(taskOf(executor, 'three'))
  await master.status('three', 'TASK_RUNNING')
  t.equal(bench.output('exec').match(/^ENV /gm)?.length, 1, 'the same executor')
  master.order({ kind: 'executor-message', ...place, data: Buffer.from('häs').toString('base64') })
  const heard = await master.until('a message', () => master.reports.find(({ kind }) => kind === 'executor-message'))
  t.same(heard, { kind: 'executor-message', ...place, data: Buffer.from('HÄS').toString('base64') })
  master.order({ kind: 'kill', taskId: parseTaskId('one'), graceMs: 1000 })
  await master.status('one', 'TASK_KILLED')
  t.ok(await says(bench, 'exec', /EVENT KILL one/))
  await refusals(t, master, env)
  master.order({ kind: 'executor-message', ...place, data: Buffer.from('exit 7').toString('base64') })
  for (const id of ['two', 'three']) {
    t.match(await master.status(id, 'TASK_FAILED'), { reason: 'REASON_EXECUTOR_TERMINATED', message: /status 7/ })
  }
  const ended = await master.until('the end', () => master.reports.find(({ kind }) => kind === 'executor-ended'))
  t.match(ended, { ...place, status: 7 })
  t.same(await bench.leftovers(), [], 'nothing is left behind')
  t.same(
    bench.cniCalls().map((call) => call.split(' ')[0]),
    ['ADD', 'DEL'],
  )
})

/** What is answered to calls that are wrong, with the token of a subscribed executor or without. */
async function refusals(t: Test, master: ScriptedMaster, env: Record<string, string>): Promise<void> {
  const url = `http://${env['MESOS_AGENT_ENDPOINT']}/slave(1)/api/v1/executor`
  const ids = { executor_id: { value: 'exec' }, framework_id: { value: master.framework } }
  const uuid = Buffer.alloc(16, 1).toString('base64')
  const status = { task_id: { value: 'two' }, state: 'TASK_RUNNING', source: 'SOURCE_EXECUTOR', uuid }
  const update = (change: object) => ({ type: 'UPDATE', ...ids, update: { status: { ...status, ...change } } })
  const token = { Authorization: `Bearer ${env['MESOS_EXECUTOR_AUTHENTICATION_TOKEN']}` }
  const json = { 'Content-Type': 'application/json' }
  const heartbeat = { type: 'HEARTBEAT', ...ids }
  const cases = [
    { status: 202, body: heartbeat },
    { status: 401, body: heartbeat, headers: json },
    { status: 401, body: heartbeat, headers: { ...json, Authorization: 'Bearer x' } },
    { status: 403, body: { ...heartbeat, executor_id: { value: 'other' } } },
    { status: 403, body: { ...heartbeat, framework_id: { value: 'other-0000' } } },
    { status: 405, method: 'GET' },
    { status: 400, body: heartbeat, headers: { ...token, 'Content-Type': '' } },
    { status: 415, body: heartbeat, headers: { ...token, 'Content-Type': 'application/x-protobuf' } },
    { status: 406, body: heartbeat, headers: { ...token, ...json, Accept: 'text/html' } },
    { status: 400, text: '{', says: /Failed to parse body into JSON/ },
    { status: 400, body: { ...heartbeat, type: 'DANCE' }, says: /enum/ },
    { status: 400, body: ids, says: /'type'/ },
    { status: 400, body: { type: 'HEARTBEAT', framework_id: ids.framework_id }, says: /'executor_id'/ },
    { status: 400, body: { type: 'MESSAGE', ...ids }, says: /'message'/ },
    { status: 400, body: { type: 'MESSAGE', ...ids, message: { data: '*' } }, says: /base64/ },
    { status: 400, body: update({ uuid: null }), says: /'uuid'/ },
    { status: 400, body: update({ uuid: 'AAAA' }), says: /16 octets/ },
    { status: 400, body: update({ source: 'SOURCE_AGENT' }), says: /SOURCE_EXECUTOR/ },
    { status: 400, body: update({ state: 'TASK_STAGING' }), says: /not allowed/ },
    { status: 202, body: update({ task_id: { value: 'unknown' } }) },
  ]
  for (const { status: wanted, body, text, headers = { ...token, ...json }, method = 'POST', says } of cases) {
    const content = method === 'POST' ? { body: text ?? JSON.stringify(body) } : {}
    const answer = await fetch(url, { method, headers, ...content })
    const told = await answer.text()
    t.equal(answer.status, wanted, `${wanted} to ${text ?? JSON.stringify(body)}: ${told}`)
    if (says !== undefined) t.match(told, says)
  }
}

t.test(
  "the agent's SIGKILL: nothing is lost, nothing doubled",
  { skip: canMakeHosts || hidesCheckout() },
  async (t) => {
    const { bench, master, start } = await makeWorld(t)
    const first = await start()
    const executor = customExecutor('lives')
    master.launch(taskOf(executor, 'stays'), taskOf(executor, 'ends', 'finish-alone'))
    for (const id of ['stays', 'ends']) await master.status(id, 'TASK_RUNNING')
    await stopProcess(first, 'SIGKILL')
    t.ok(await says(bench, 'lives', /UPDATE ends TASK_FINISHED/), 'it ends while there is no agent')
    const uuid = /UPDATE ends TASK_FINISHED (\S+)/.exec(bench.output('lives'))?.[1] ?? ''
    const second = await start()
    t.match(await master.status('ends', 'TASK_FINISHED'), { uuid: Buffer.from(uuid, 'base64').toString('hex') })
    t.ok(await says(bench, 'lives', new RegExp(`ACKNOWLEDGED ${uuid.replaceAll('+', '\\+')}`)), 'told again, and kept')
    master.launch(taskOf(executor, 'later'))
    await master.status('later', 'TASK_RUNNING')
    await stopProcess(second, 'SIGTERM')
    await start()
    t.same(
      master.registrations
        .at(-1)
        ?.tasks.map(({ info, latest }) => `${info.taskId} ${latest.state}`)
        .toSorted(),
      ['later TASK_RUNNING', 'stays TASK_RUNNING'],
    )
    t.equal(bench.output('lives').match(/^ENV /gm)?.length, 1, 'one executor all the time')
    t.equal(bench.output('lives').match(/^UPDATE stays/gm)?.length, 1, 'no task was launched twice')
    const kinds = new Map(master.updates.map(({ uuid: id, taskId, state }) => [id, `${taskId} ${state}`]))
    t.same([...kinds.values()].toSorted(), [
      'ends TASK_FINISHED',
      'ends TASK_RUNNING',
      'later TASK_RUNNING',
      'stays TASK_RUNNING',
    ])
    t.ok(await eventually(() => (bench.output('lives').match(/^SUBSCRIBE 200/gm)?.length ?? 0) >= 3))
    master.order({ kind: 'shutdown-executor', ...frameworkOf(master) })
    for (const id of ['stays', 'later']) {
      t.match(await master.status(id, 'TASK_FAILED'), { reason: 'REASON_EXECUTOR_TERMINATED' })
    }
    t.match(await master.until('the end', () => master.reports.find(({ kind }) => kind === 'executor-ended')), {
      status: 0,
    })
    t.same(await bench.leftovers(), [])
  },
)

t.test(
  'an executor that ends without an agent, and one that does not come back',
  { skip: canMakeHosts || hidesCheckout() },
  async (t) => {
    const { bench, master, start } = await makeWorld(t)
    const agent = await start()
    const [gone, silent] = [customExecutor('gone', 'tcp'), customExecutor('silent', 'tcp')]
    master.launch(taskOf(gone, 'a'), taskOf(silent, 'b'))
    for (const id of ['a', 'b']) await master.status(id, 'TASK_RUNNING')
    await stopProcess(agent, 'SIGKILL')
    process.kill(pidOf(bench, 'gone'), 'SIGKILL')
    // Over TCP the other one looks for the agent at a port that the next one does not have.
    await start([])
    t.match(await master.status('a', 'TASK_FAILED'), { reason: 'REASON_EXECUTOR_TERMINATED', message: /137/ })
    t.match(await master.status('b', 'TASK_FAILED'), { reason: 'REASON_EXECUTOR_REREGISTRATION_TIMEOUT' })
    const ends = () => master.reports.flatMap((each) => (each.kind === 'executor-ended' ? [each.executorId] : []))
    await master.until('both ends', () => ends().length === 2)
    t.same(await bench.leftovers(), [])
  },
)

t.test(
  'SHUTDOWN is followed by SIGKILL; SIGKILL of an executor; one that can not start',
  { skip: canMakeHosts || hidesCheckout() },
  async (t) => {
    const { bench, master, start } = await makeWorld(t)
    await start()
    const stubborn = customExecutor('stubborn', 'socket stubborn', { shutdownGraceMs: 300 })
    const broken = customExecutor('broken', '', {
      command: { shell: false, value: '/no/such', arguments: [], env: {} },
    })
    const small = customExecutor('small', 'socket', { resources: { cpuMillis: 100, memMb: 100, diskMb: 0, ports: [] } })
    master.launch(
      taskOf(stubborn, 's'),
      taskOf(broken, 'n'),
      taskOf(small, 'm1', 'run', { groupId: 'g' }),
      taskOf(small, 'm2', 'run', { groupId: 'g' }),
    )
    for (const id of ['s', 'm1', 'm2']) await master.status(id, 'TASK_RUNNING')
    t.match(bench.output('small'), /EVENT LAUNCH_GROUP/)
    t.match(await master.status('n', 'TASK_FAILED'), { message: /broken|executor/ })
    master.order({ kind: 'shutdown-executor', ...frameworkOf(master), executorId: stubborn.id })
    await master.status('s', 'TASK_FAILED')
    t.match(bench.output('stubborn'), /EVENT SHUTDOWN/)
    const isStubborn = (each: AgentReport) => each.kind === 'executor-ended' && each.executorId === stubborn.id
    t.match(await master.until('its end', () => master.reports.find(isStubborn)), { status: 137 })
    master.launch(taskOf(small, 'm3', 'run', { resources: { cpuMillis: 100, memMb: 200, diskMb: 0, ports: [] } }))
    await master.status('m3', 'TASK_RUNNING')
    const pid = pidOf(bench, 'small')
    const mib = memoryLimitBytes(pid) / 1024 ** 2
    t.ok(mib >= 100 + 64 + 64 + 200, `its control group has grown with its tasks: ${mib} MiB`)
    process.kill(pid, 'SIGKILL')
    for (const id of ['m1', 'm2', 'm3']) await master.status(id, 'TASK_FAILED')
    t.same(await bench.leftovers(), [])
  },
)
