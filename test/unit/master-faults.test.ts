import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { AppError } from '../../core/base/errors.ts'
import { silentLog } from '../../core/base/log.ts'
import { parseTaskId } from '../../core/model/ids.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { openTenure } from '../../core/store/tenure.ts'
import { formatCachedTask, parseCachedTask } from '../../core/master/tasks/cache.ts'
import { openTermFile } from '../../networking/node/terms.ts'
import { type ManualClock, openManualClock } from '../support/agent-clock.ts'
import {
  startAgent,
  startFramework,
  startMaster,
  type TestFramework,
  type TestMaster,
  until,
} from '../support/master.ts'

const hour = 3_600_000

/** A clock whose wall time may jump; what is measured by it must not. */
function openJumpingClock() {
  const clock = openManualClock()
  let offset = 0
  const jump = (ms: number) => {
    offset += ms
  }
  return { ...clock, nowMs: () => clock.nowMs() + offset, jump }
}

t.test('a lease looks at the monotonic clock', async (t) => {
  const open = () => {
    const clock = openJumpingClock()
    const tenure = openTenure({ term: 3, holdMs: 1_000, sentAtMs: 0, clock, release: async () => undefined })
    return { clock, tenure, lost: () => tenure.leadership.lost.aborted }
  }
  for (const jumpMs of [-24 * hour, 24 * hour]) {
    const { clock, tenure, lost } = open()
    clock.jump(jumpMs)
    await clock.advance(999)
    t.notOk(lost(), `the wall clock jumped by ${jumpMs} ms, and it is held`)
    tenure.confirm(900)
    clock.jump(-2 * jumpMs)
    await clock.advance(900)
    t.notOk(lost(), 'a confirmation holds from when it was asked for')
    await clock.advance(1)
    t.ok(lost(), 'and no longer')
  }
  const stopped = open()
  const late = { ...stopped.clock, monotonicMs: () => 5_000, after: () => () => undefined }
  const tenure = openTenure({ term: 3, holdMs: 1_000, sentAtMs: 0, clock: late, release: async () => undefined })
  tenure.confirm(4_900)
  t.ok(tenure.leadership.lost.aborted, 'a process that was stopped can not confirm afterwards')
  t.match(tenure.leadership.lost.reason, { code: 'ERR_STORE_LAPSED' })
  t.ok(tenure.leadership.lost.reason instanceof AppError)
})

async function launch(framework: TestFramework, id: string): Promise<void> {
  await until(() => framework.offers().length > 0, 'an offer')
  const offer = framework.offers().at(-1)
  if (offer === undefined) throw new Error('no offer')
  const info = {
    ...{ taskId: parseTaskId(id), name: id, agentId: offer.agentId, networks: [], killGraceMs: 0, labels: {} },
    resources: { cpuMillis: 100, memMb: 32, diskMb: 0, ports: [] },
    command: { shell: true, value: 'sleep 1000', arguments: [], env: {} },
  }
  framework.call({ kind: 'accept', offerIds: [offer.id], launches: [info], refuseMs: hour })
}

/** A leader with a clock of its own, an agent, a framework, and one running task. */
async function startScene(t: Test, more: { readonly failoverTimeoutMs?: number } = {}) {
  const store = openMemoryStore()
  const clock = openJumpingClock()
  const master = await startMaster(store, { clock })
  const agent = startAgent({ name: 'node1', address: master.address })
  t.teardown(() => agent.stop())
  const framework = startFramework(master, more)
  const task = parseTaskId('t.1')
  await launch(framework, task)
  await until(() => framework.updates(task).some(({ state }) => state === 'TASK_RUNNING'), 'the task runs')
  await until(() => agent.acknowledged.length === 1, 'acknowledged')
  return { store, clock, master, agent, framework, task }
}

t.test('an agent is away for less than 75 s, and for more', async (t) => {
  const { clock, master, agent, framework, task } = await startScene(t)
  t.teardown(() => master.crash())
  const { context } = master
  const states = () => framework.updates(task).map(({ state, reason }) => `${state} ${reason ?? ''}`.trim())
  const id = agent.id()
  const known = { name: 'node1', address: master.address, ...(id === undefined ? {} : { id }) }
  const tasks = [...agent.tasks.values()]
  const isConnected = () => [...context.agents.values()].some(({ state }) => state.kind === 'connected')

  await agent.stop()
  await until(() => !isConnected(), 'it is away')
  clock.jump(24 * hour)
  await clock.advance(59_000)
  t.same(states(), ['TASK_RUNNING'], 'nothing is told; a jump of the wall clock counts for nothing')
  t.ok(context.keeper.tasks.values.has(task), 'its task stays in the snapshot')
  const second = startAgent({ ...known, tasks })
  await until(isConnected, 'it is back')
  t.same(states(), ['TASK_RUNNING'], 'and was never lost')
  t.same([second.launched, second.killed], [[], []])

  await second.stop()
  await until(() => !isConnected(), 'it is away again')
  await clock.advance(76_000)
  await until(() => states().length === 2, 'the framework is told')
  t.same(states(), ['TASK_RUNNING', 'TASK_UNREACHABLE REASON_AGENT_REMOVED'])
  t.notOk(context.keeper.tasks.values.has(task))
  const third = startAgent({ ...known, tasks })
  t.teardown(() => third.stop())
  await until(() => states().length === 3, 'the framework is told of its return')
  t.equal(states().at(-1), 'TASK_RUNNING REASON_AGENT_REREGISTERED')
  t.same([third.launched, third.killed], [[], []], 'it is the same task, and no other')
})

/** Lets time pass while the agents answer their pings. */
async function pass({ context }: TestMaster, clock: ManualClock, ms: number): Promise<void> {
  const answered = () =>
    [...context.agents.values()].every(({ state }) => 'missedPings' in state && state.missedPings === 0)
  for (let left = ms; left > 0; left -= 10_000) {
    await clock.advance(Math.min(left, 10_000))
    await until(answered, 'the answer to a ping')
  }
}

t.test("a framework's deadline runs over leaders", async (t) => {
  const { store, clock, master, agent } = await startScene(t, { failoverTimeoutMs: 300_000 })
  const { port } = master.grpc
  await master.abdicate()
  const second = await startMaster(store, { port, clock })
  await until(() => agent.registrations() === 2, 'the agent is back')
  await pass(second, clock, 100_000)
  await second.abdicate()
  const third = await startMaster(store, { port, clock })
  t.teardown(() => third.crash())
  await until(() => agent.registrations() === 3, 'the agent is back again')
  await pass(third, clock, 199_000)
  t.same(agent.killed, [], 'all of its time: 299 s')
  await pass(third, clock, 2_000)
  await until(() => agent.killed.length === 1, 'and no second time with each leader')
})

t.test('a former leader has cached less than its framework acknowledged', async (t) => {
  const { store, clock, master, agent, framework, task } = await startScene(t)
  const { port } = master.grpc
  const frameworkId = framework.id()
  await master.abdicate()
  for (const [key, { value }] of await store.list('tasks/')) {
    const cached = parseCachedTask(value)
    if (cached === undefined) throw new Error('no such text is written')
    const older = formatCachedTask({ ...cached, status: { ...cached.status, state: 'TASK_STAGING' } })
    await store.write([{ key, value: older }], { term: 1 })
  }
  const second = await startMaster(store, { port, clock })
  t.teardown(() => second.crash())
  t.equal(second.context.tasks.get(task)?.status.state, 'TASK_STAGING')
  const again = startFramework(second, frameworkId === undefined ? {} : { id: frameworkId })
  again.call({ kind: 'reconcile', taskIds: [task] })
  again.call({ kind: 'reconcile', taskIds: [] })
  await until(() => agent.registrations() === 2 && again.updates(task).length > 0, 'the agent is back')
  t.same(
    again.updates(task).map(({ state }) => state),
    ['TASK_RUNNING'],
    'its agent is asked first: it tells nothing twice',
  )
})

t.test('a node daemon keeps the highest term', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-term-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'net', 'term')
  const first = openTermFile(file, silentLog)
  t.equal(first.heard, 0)
  first.keep(41)
  first.keep(42)
  t.equal(openTermFile(file, silentLog).heard, 42)
  t.equal(readFileSync(file, 'utf8'), '42\n')
  for (const text of ['', 'x', '-1', '1e9']) {
    writeFileSync(file, text)
    t.equal(openTermFile(file, silentLog).heard, 0, `"${text}" is none`)
  }
  writeFileSync(join(folder, 'file'), '')
  openTermFile(join(folder, 'file', 'term'), silentLog).keep(1) // can't be written: logged, not thrown
})
