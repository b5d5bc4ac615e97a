import t, { type Test } from 'tap'
import { type ExecutorInfo } from '../../core/model/executor.ts'
import { type AgentId, parseExecutorId, parseNetworkName, parseNodeName, parseTaskId } from '../../core/model/ids.ts'
import { noResources } from '../../core/model/resources.ts'
import { type TaskInfo } from '../../core/model/task.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { startAgent, startFramework, startMaster, startNode, until } from '../support/master.ts'

const executor: ExecutorInfo = {
  id: parseExecutorId('pod'),
  kind: 'default',
  name: '',
  resources: { ...noResources, cpuMillis: 100, memMb: 32 },
  networks: [
    {
      name: parseNetworkName('dcos'),
      labels: {},
      portMappings: [{ hostPort: 31_000, containerPort: 80, protocol: 'tcp' }],
    },
  ],
  shutdownGraceMs: 5_000,
  labels: {},
}

function groupOf(agentId: AgentId, names: readonly string[], change: Partial<TaskInfo> = {}): readonly TaskInfo[] {
  return names.map((name) => ({
    taskId: parseTaskId(name),
    ...{ name, agentId, networks: [], killGraceMs: 3_000, labels: {}, executor, groupId: names[0] ?? '' },
    resources: { ...noResources, cpuMillis: 100, memMb: 32 },
    command: { shell: true, value: 'x', arguments: [], env: {} },
    ...change,
  }))
}

async function openWorld(t: Test) {
  const master = await startMaster(openMemoryStore())
  const node = startNode('node1', master.address)
  const agent = startAgent({ name: 'node1', address: master.address })
  const framework = startFramework(master)
  t.teardown(async () => {
    await Promise.all([agent.stop(), node.stop()])
    await master.crash()
  })
  await until(() => master.context.progress.of(parseNodeName('node1')).connected, 'the node')
  /** Accepts the newest offer. */
  const launch = async (make: (agentId: AgentId) => readonly TaskInfo[]) => {
    await until(() => framework.offers().length > 0, 'an offer')
    const offer = framework.offers().at(-1)
    if (offer === undefined) throw new Error('no offer')
    const tasks = make(offer.agentId)
    const operations = [{ kind: 'launch-group', executor: tasks[0]?.executor ?? executor, tasks }] as const
    const seen = framework.events.length
    framework.call({ kind: 'accept', offerIds: [offer.id], launches: [], operations, refuseMs: 0 })
    await until(() => framework.events.slice(seen).some(({ kind }) => kind === 'offers'), 'the rest offered')
    return { before: offer.resources, tasks }
  }
  return { master, agent, node, framework, launch, rest: () => framework.offers().at(-1)?.resources }
}

t.test('a group is sent as a whole, with what its executor takes', async (t) => {
  const { master, agent, node, framework, launch, rest } = await openWorld(t)
  const { before } = await launch((agentId) => groupOf(agentId, ['a', 'b']))
  await until(() => node.snapshot().tasks.size === 2, 'both run')
  t.match(agent.launched, [
    { taskId: 'a', groupId: 'a', executor },
    { taskId: 'b', groupId: 'a', executor },
  ])
  t.equal(before.cpuMillis - (rest()?.cpuMillis ?? 0), 300, 'two tasks and one executor')
  t.same(node.snapshot().tasks.get(parseTaskId('b'))?.portMappings, executor.networks[0]?.portMappings)
  await launch((agentId) => groupOf(agentId, ['c']))
  t.equal(before.cpuMillis - (rest()?.cpuMillis ?? 0), 400, 'the executor is there already')
  framework.call({ kind: 'kill', taskId: parseTaskId('a') })
  await until(() => agent.killed.length === 2, 'the other one of its group too')
  t.same([...agent.killed].toSorted(), ['a', 'b'])
  framework.call({ kind: 'kill', taskId: parseTaskId('c') })
  const agentId = agent.id()
  const frameworkId = framework.id()
  if (agentId === undefined || frameworkId === undefined) throw new Error('not registered')
  const place = { agentId, frameworkId, executorId: executor.id }
  await until(() => master.context.tasks.executors.find(place) === undefined, 'the executor ends with its last task')
})

const cases: readonly { name: string; change: Partial<TaskInfo>; text: RegExp }[] = [
  {
    name: 'too large',
    change: { resources: { ...noResources, cpuMillis: 10 ** 6, memMb: 32 } },
    text: /more than the offers/,
  },
  { name: 'networks of a task', change: { networks: executor.networks }, text: /give none to task/ },
  { name: 'no command', change: { executor: { ...executor, kind: 'custom' } }, text: /custom executor needs one/ },
  {
    name: 'no such network',
    change: {
      executor: { ...executor, networks: [{ name: parseNetworkName('nowhere'), labels: {}, portMappings: [] }] },
    },
    text: /no network "nowhere"/,
  },
]

t.test('with one bad task none is launched', async (t) => {
  const { agent, framework, launch } = await openWorld(t)
  for (const [index, { name, change, text }] of cases.entries()) {
    const { tasks } = await launch((agentId) => {
      const [good, bad] = groupOf(agentId, [`good${index}`, `bad${index}`])
      return good === undefined || bad === undefined
        ? []
        : [
            { ...good, ...(change.executor && change) },
            { ...bad, ...change },
          ]
    })
    for (const { taskId } of tasks) {
      const [status] = framework.updates(taskId)
      t.match(status, { state: 'TASK_ERROR', reason: 'REASON_TASK_GROUP_INVALID', message: text }, `${name}: ${taskId}`)
    }
  }
  t.same(agent.launched, [])
})
