import t from 'tap'
import { parseNodeName, parseTaskId, type TaskId } from '../../core/model/ids.ts'
import { noResources } from '../../core/model/resources.ts'
import { type TaskInfo } from '../../core/model/task.ts'
import { drainLimitMs } from '../../core/master/tasks/drains.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { startAgent, startFramework, startMaster, startNode, until } from '../support/master.ts'

t.test('a task behind a VIP ends when every node that is there has turned away from it', async (t) => {
  const master = await startMaster(openMemoryStore())
  let held = false
  const nodes = [startNode('node1', master.address), startNode('node2', master.address, { held: () => held })]
  const agent = startAgent({ name: 'node1', address: master.address })
  const framework = startFramework(master)
  t.teardown(async () => {
    await Promise.all([agent.stop(), ...nodes.map((node) => node.stop())])
    await master.crash()
  })
  await until(() => master.context.progress.of(parseNodeName('node2')).connected, 'both nodes')
  const launch = async (name: string, labels: Record<string, string>): Promise<TaskId> => {
    await until(() => framework.offers().length > 0, 'an offer')
    const seen = framework.events.length
    const offer = framework.offers().at(-1)
    if (offer === undefined) throw new Error('no offer')
    const task: TaskInfo = {
      taskId: parseTaskId(name),
      ...{ name, agentId: offer.agentId, networks: [], killGraceMs: 3_000, labels: {} },
      resources: { ...noResources, cpuMillis: 100, memMb: 32 },
      command: { shell: true, value: 'x', arguments: [], env: {} },
      discovery: { name, visibility: 'CLUSTER', ports: [{ number: 80, protocols: ['tcp'], labels }] },
    }
    framework.call({ kind: 'accept', offerIds: [offer.id], launches: [task], refuseMs: 0 })
    await until(() => nodes.every((node) => node.snapshot().tasks.has(task.taskId)), 'it runs everywhere')
    await until(() => framework.events.slice(seen).some(({ kind }) => kind === 'offers'), 'the rest offered')
    return task.taskId
  }
  const onVip = { VIP_0: '/web:80' }
  const [plain, first, second, third] = [
    await launch('plain', {}),
    await launch('first', onVip),
    await launch('second', onVip),
    await launch('third', onVip),
  ]
  held = true
  framework.call({ kind: 'kill', taskId: plain })
  await until(() => agent.killed.includes(plain), 'one without VIP is killed at once')

  framework.call({ kind: 'kill', taskId: first })
  await until(() => nodes.every((node) => node.snapshot().tasks.get(first)?.state === 'TASK_KILLING'), 'all know')
  const startedMs = performance.now()
  t.notOk(agent.killed.includes(first), 'but one has not said that it is done')
  nodes[1]?.ack(nodes[1].snapshot().version)
  await until(() => agent.killed.includes(first), 'now')
  t.ok(performance.now() - startedMs < drainLimitMs, 'by the event, not by the limit')

  framework.call({ kind: 'kill', taskId: second })
  const askedMs = performance.now()
  await until(() => agent.killed.includes(second), 'a node that hangs does not keep it alive')
  t.ok(performance.now() - askedMs > drainLimitMs * 0.9)

  framework.call({ kind: 'kill', taskId: third })
  framework.call({ kind: 'kill', taskId: third, graceMs: 1 })
  await nodes[1]?.stop()
  const leftMs = performance.now()
  await until(() => agent.killed.includes(third), 'a node that left is not waited for')
  t.ok(performance.now() - leftMs < drainLimitMs * 0.9)
  await until(() => master.context.tasks.size === 0, 'all gone')
  t.equal(agent.killed.filter((id) => id === third).length, 1, 'two kills, one order')
})
