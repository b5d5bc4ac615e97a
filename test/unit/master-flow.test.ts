import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { noResources } from '../../core/model/resources.ts'
import { type Offer } from '../../core/model/scheduler.ts'
import { parseNetworkName, parseTaskId } from '../../core/model/ids.ts'
import { type TaskInfo } from '../../core/model/task.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { openSqliteStore } from '../../core/store/sqlite.ts'
import { startAgent, startFramework, startMaster, startNode, type TestFramework, until } from '../support/master.ts'

const folder = mkdtempSync(join(tmpdir(), 'weft-master-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

/** A web server behind a VIP on the given offer. */
function webTask(id: string, offer: Offer, more: Partial<TaskInfo> = {}): TaskInfo {
  return {
    taskId: parseTaskId(id),
    name: 'web',
    agentId: offer.agentId,
    resources: { ...noResources, cpuMillis: 100, memMb: 32 },
    command: { shell: true, value: 'serve', arguments: [], env: {} },
    networks: [{ name: parseNetworkName('dcos'), labels: {}, portMappings: [] }],
    discovery: {
      name: 'web',
      visibility: 'CLUSTER',
      ports: [{ number: 80, protocols: ['tcp'], labels: { VIP_0: '/web:80' } }],
    },
    killGraceMs: 3_000,
    labels: {},
    ...more,
  }
}

/** Launches on the first offer, as soon as there is one. */
async function launch(framework: TestFramework, id: string, more: Partial<TaskInfo> = {}) {
  const used = new Set<string>()
  await until(() => framework.offers().some((offer) => !used.has(offer.id)), 'an offer')
  const offer = framework.offers().at(-1)
  if (offer === undefined) throw new Error('no offer')
  const task = webTask(id, offer, more)
  framework.call({ kind: 'accept', offerIds: [offer.id], launches: [task], refuseMs: 0 })
  return { task, offer }
}

t.test('from a launch to a VIP on every node, and back', async (t) => {
  const store = openSqliteStore(join(folder, 'flow.db'))
  const master = await startMaster(store)
  const node = startNode('node1', master.address)
  const agent = startAgent({ name: 'node1', address: master.address })
  const framework = startFramework(master)
  t.teardown(async () => {
    await Promise.all([agent.stop(), node.stop()])
    await master.crash()
  })
  const { task } = await launch(framework, 'web.1', {
    healthCheck: {
      probe: { kind: 'tcp', port: 80 },
      gracePeriodMs: 1,
      intervalMs: 1,
      timeoutMs: 1,
      maxConsecutiveFailures: 3,
    },
  })
  await until(() => node.snapshot().tasks.has(task.taskId), 'the task in the snapshot')
  await until(() => agent.acknowledged.length === 1, 'the acknowledgement')
  t.same(agent.launched, [task], 'the agent got exactly what the framework asked for')
  const running = node.snapshot().tasks.get(task.taskId)
  t.match(running, { state: 'TASK_RUNNING', health: 'pending', framework: 'marathon', node: 'node1', name: 'web' })
  await until(() => node.snapshot().vips.has('web.marathon'), 'the VIP')
  t.match(node.snapshot().vips.get('web.marathon')?.addresses, [/^100\.96\./])
  t.match(await store.get('vips/web.marathon'), { value: /100\.96\./ }, 'its address is durable')
  t.match(framework.updates(task.taskId), [{ state: 'TASK_RUNNING' }])

  agent.health(task.taskId, true)
  await until(() => node.snapshot().tasks.get(task.taskId)?.health === 'healthy', 'health in the snapshot')
  t.match(framework.updates(task.taskId).at(-1), { healthy: true, uuid: undefined })

  const { progress, keeper } = master.context
  const done = await progress.wait(keeper.flush(), { timeoutMs: 20_000, signal: new AbortController().signal })
  t.match(done, { converged: true, missing: [] })

  framework.call({ kind: 'kill', taskId: task.taskId })
  const after = keeper.flush()
  t.equal(keeper.tasks.values.get(task.taskId)?.state, 'TASK_KILLING', 'at once, before the agent says anything')
  await until(() => node.snapshot().tasks.size === 0 && node.snapshot().vips.size === 0, 'the task to be gone')
  await until(() => master.context.tasks.size === 0, 'its end to be acknowledged')
  t.ok(keeper.version() > after)
  t.match(framework.updates(task.taskId).at(-1), { state: 'TASK_KILLED' })
  await until(() => framework.offers().at(-1)?.resources.cpuMillis === 100, 'what the task had to be offered again')
})

t.test('a new master takes over: no task vanishes, versions grow, the framework goes on', async (t) => {
  const path = join(folder, 'restart.db')
  const first = await startMaster(openSqliteStore(path))
  const node = startNode('node1', first.address)
  const agent = startAgent({ name: 'node1', address: first.address })
  const framework = startFramework(first)
  t.teardown(() => Promise.all([agent.stop(), node.stop()]))
  const { task } = await launch(framework, 'web.1')
  await until(() => node.snapshot().vips.size === 1 && agent.acknowledged.length === 1, 'the task and its VIP')
  await first.context.tasks.close() // what its timer writes soon
  const before = node.snapshot()
  const { port } = first.grpc
  await first.crash()

  const store = openSqliteStore(path)
  const second = await startMaster(store, { port })
  t.teardown(() => second.crash())
  t.ok(second.context.term > first.context.term)
  t.ok(second.context.keeper.version() > before.version, 'a version is never used twice')
  t.match([...second.context.keeper.tasks.values.keys()], [task.taskId], 'before any agent is back')
  await until(
    () => agent.registrations() === 2 && node.kinds.filter((kind) => kind === 'full').length === 2,
    'both back',
  )
  const { version: _, ...same } = before
  await until(() => node.snapshot().version > before.version, 'the new version')
  t.same({ ...node.snapshot(), version: 0 }, { ...same, version: 0 }, 'nothing has changed for the node')
  t.same(node.removedTasks, [])

  const id = framework.id()
  const again = startFramework(second, id === undefined ? {} : { id })
  await until(() => again.id() !== undefined, 'the framework')
  again.call({ kind: 'reconcile', taskIds: [task.taskId, parseTaskId('never.was')] })
  await until(() => again.updates(parseTaskId('never.was')).length === 1, 'the answers')
  t.match(again.updates(task.taskId), [{ state: 'TASK_RUNNING', reason: 'REASON_RECONCILIATION' }])
  t.match(again.updates(parseTaskId('never.was')), [{ state: 'TASK_UNKNOWN' }])
  again.call({ kind: 'kill', taskId: task.taskId })
  await until(() => node.snapshot().tasks.size === 0, 'the task to be gone')
})

t.test('a task that died with its agent is gone when the agent is back', async (t) => {
  const path = join(folder, 'lost.db')
  const first = await startMaster(openSqliteStore(path))
  const agent = startAgent({ name: 'node1', address: first.address })
  const framework = startFramework(first)
  const { task } = await launch(framework, 'web.1')
  await until(() => agent.acknowledged.length === 1, 'the task')
  await first.context.tasks.close()
  await agent.stop()
  const id = agent.id()
  await first.crash()
  const second = await startMaster(openSqliteStore(path))
  const frameworkId = framework.id()
  const again = startFramework(second, frameworkId === undefined ? {} : { id: frameworkId })
  again.call({ kind: 'reconcile', taskIds: [parseTaskId('staged.1')] })
  await until(() => again.id() !== undefined, 'the framework')
  t.same(again.updates(parseTaskId('staged.1')), [], 'unknown only when no agent is awaited any more')
  const back = startAgent({ name: 'node1', address: second.address, ...(id === undefined ? {} : { id }) })
  t.teardown(async () => {
    await back.stop()
    await second.crash()
  })
  await until(() => again.updates(task.taskId).length === 1, 'the end')
  t.match(again.updates(task.taskId), [{ state: 'TASK_GONE', source: 'MASTER' }])
  t.equal(second.context.keeper.tasks.values.size, 0)
  await until(() => again.updates(parseTaskId('staged.1')).length === 1, 'the late answer')
  t.match(again.updates(parseTaskId('staged.1')), [{ state: 'TASK_UNKNOWN' }])
  t.equal(back.id(), id)
})

t.test('an agent that stays away is unreachable, and may come back with its task', async (t) => {
  const master = await startMaster(openMemoryStore(), { pingIntervalMs: 60 })
  const { address } = master
  const agent = startAgent({ name: 'node1', address })
  const framework = startFramework(master)
  const { task } = await launch(framework, 'web.1')
  await until(() => master.context.keeper.tasks.values.size === 1, 'the task')
  await agent.stop()
  await until(() => framework.updates(task.taskId).at(-1)?.state === 'TASK_UNREACHABLE', 'the verdict')
  t.equal(master.context.keeper.tasks.values.size, 0, 'it is out of the snapshot')
  t.ok(framework.events.some(({ kind }) => kind === 'failure'))
  const id = agent.id()
  const tasks = agent.tasks.values()
  const back = startAgent({ name: 'node1', address, tasks, ...(id === undefined ? {} : { id }) })
  t.teardown(async () => {
    await back.stop()
    await master.crash()
  })
  await until(() => framework.updates(task.taskId).at(-1)?.reason === 'REASON_AGENT_REREGISTERED', 'its return')
  t.match(framework.updates(task.taskId).at(-1), { state: 'TASK_RUNNING' })
  t.equal(master.context.keeper.tasks.values.size, 1)
  await until(() => framework.offers().at(-1)?.resources.cpuMillis === 1_900, 'offers without what the task has')
})

t.test('calls that a master refuses are answered by updates', async (t) => {
  const master = await startMaster(openMemoryStore())
  const agent = startAgent({ name: 'node1', address: master.address })
  const framework = startFramework(master)
  t.teardown(async () => {
    await agent.stop()
    await master.crash()
  })
  await until(() => framework.offers().length === 1, 'an offer')
  const [offer] = framework.offers()
  if (offer === undefined) throw new Error('no offer')
  const tooMuch = { ...noResources, cpuMillis: 1_500, memMb: 32 }
  const cases: readonly { readonly task: TaskInfo; readonly reason: RegExp }[] = [
    { task: webTask('big.1', offer, { resources: { ...tooMuch, cpuMillis: 2_001 } }), reason: /more than the offers/ },
    { task: webTask('half.1', offer, { resources: tooMuch }), reason: /^$/ },
    { task: webTask('half.2', offer, { resources: tooMuch }), reason: /more than the offers/ },
    { task: webTask('half.1', offer), reason: /twice/ },
    { task: webTask('nothing.1', offer, { resources: noResources }), reason: /no resources/ },
    { task: webTask('broken.1', offer, { resources: { ...tooMuch, cpuMillis: 0.5 } }), reason: /whole numbers/ },
    {
      task: webTask('net.1', offer, { networks: [{ name: parseNetworkName('nope'), labels: {}, portMappings: [] }] }),
      reason: /no network "nope"/,
    },
    {
      task: webTask('vip.1', offer, {
        discovery: {
          name: 'x',
          visibility: 'CLUSTER',
          ports: [{ number: 1, protocols: ['tcp'], labels: { VIP_0: 'x' } }],
        },
      }),
      reason: /no port/,
    },
  ]
  framework.call({ kind: 'accept', offerIds: [offer.id], launches: cases.map(({ task }) => task), refuseMs: 0 })
  await until(() => agent.launched.length === 1, 'the one good task')
  t.match(agent.launched, [{ taskId: 'half.1' }])
  for (const { task, reason } of cases.filter((each) => each.task.taskId !== 'half.1')) {
    t.match(framework.updates(task.taskId), [{ state: 'TASK_ERROR', reason: 'REASON_TASK_INVALID', message: reason }])
  }
  framework.call({ kind: 'accept', offerIds: [offer.id], launches: [webTask('late.1', offer)], refuseMs: 0 })
  await until(() => framework.updates(parseTaskId('late.1')).length === 1, 'the answer')
  t.match(framework.updates(parseTaskId('late.1')), [{ state: 'TASK_DROPPED', reason: 'REASON_INVALID_OFFERS' }])
})

t.test('a full store refuses what must be durable, and harms nothing', async (t) => {
  const store = openMemoryStore()
  const master = await startMaster(store)
  const node = startNode('node1', master.address)
  const agent = startAgent({ name: 'node1', address: master.address })
  const framework = startFramework(master)
  await until(() => framework.offers().length === 1 && node.snapshot().nodes.size === 2, 'everyone')
  store.full = true
  const second = startAgent({ name: 'node2', address: master.address })
  t.teardown(async () => {
    await Promise.all([agent.stop(), node.stop(), second.stop()])
    await master.crash()
  })
  await until(() => second.refused.length > 0, 'the refusal')
  t.equal(second.refused[0], 'ERR_STORE_FULL')
  t.equal(master.context.registrar.state.agents.size, 1, 'what was not written is not there')
  const { task } = await launch(framework, 'web.1')
  await until(() => node.snapshot().tasks.has(task.taskId), 'the task runs all the same')
  t.equal(node.snapshot().vips.size, 0, 'no address is used before it is durable')
  store.full = false
  await until(() => second.registrations() === 1, 'the second agent')
  await until(() => node.snapshot().vips.size === 1, 'the VIP')
})

t.test('an agent that has obeyed a newer master, a namesake, another agent with the same state folder', async (t) => {
  const master = await startMaster(openMemoryStore())
  const { address } = master
  const agents = [startAgent({ name: 'node1', address })]
  t.teardown(async () => {
    await Promise.all(agents.map((agent) => agent.stop()))
    await master.crash()
  })
  await until(() => agents[0]?.registrations() === 1, 'the first agent')
  const id = agents[0]?.id()
  const cases = [
    { options: { name: 'node2', address, highestTerm: 9 }, code: 'ERR_MASTER_TERM' },
    { options: { name: 'node1', address, underlay: '127.0.0.99' }, code: 'ERR_MASTER_NODE_NAME' },
    { options: { name: 'node2', address, ...(id === undefined ? {} : { id }) }, code: 'ERR_MASTER_AGENT_NODE' },
    { options: { name: 'node3', address, underlay: '127.0.0.11' }, code: 'ERR_MASTER_NODE_ADDRESS' },
    { options: { name: 'node4', address, underlay: '10.80.3.4' }, code: 'ERR_MASTER_UNDERLAY_OVERLAP' },
  ]
  for (const { options, code } of cases) {
    const wrong = startAgent(options)
    agents.push(wrong)
    await until(() => wrong.refused.length > 0, code)
    t.equal(wrong.refused[0], code)
  }
  t.equal(master.context.registrar.state.nodes.size, 2, 'the master and the first agent')
})
