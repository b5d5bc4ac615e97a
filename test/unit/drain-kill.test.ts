import t from 'tap'
import { parseNodeName, parseTaskId, type TaskId } from '../../core/model/ids.ts'
import { noResources } from '../../core/model/resources.ts'
import { type TaskInfo } from '../../core/model/task.ts'
import { drainLabel } from '../../core/model/vip.ts'
import { vipLabels } from '../../core/master/tasks/state.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { startAgent, startFramework, startMaster, startNode, until } from '../support/master.ts'

const drainLimitMs = 1_500

t.test('a task behind a VIP ends when every node that is there has turned away from it', async (t) => {
  const store = openMemoryStore()
  const master = await startMaster(store, { drainTimes: { waitMs: drainLimitMs } })
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
  const [plain, first, second, third, failing, lasting] = [
    await launch('plain', {}),
    await launch('first', onVip),
    await launch('second', onVip),
    await launch('third', onVip),
    await launch('failing', onVip),
    await launch('lasting', { ...onVip, [drainLabel]: '1' }),
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
  const kept = JSON.parse((await store.get(`tasks/${first}`))?.value ?? '{}')
  t.match(kept, { killing: { graceMs: 3_000 } }, 'a next master would not send clients to it again')

  framework.call({ kind: 'kill', taskId: second })
  const askedMs = performance.now()
  await until(() => agent.killed.includes(second), 'a node that hangs does not keep it alive')
  t.ok(performance.now() - askedMs > drainLimitMs * 0.9)

  framework.call({ kind: 'kill', taskId: failing })
  await until(() => nodes.every((node) => node.snapshot().tasks.get(failing)?.state === 'TASK_KILLING'), 'all know')
  const failedMs = performance.now()
  nodes[1]?.ack(nodes[1].snapshot().version, 'nft says no')
  await until(() => agent.killed.includes(failing), 'a node that failed at it is not waited for')
  t.ok(performance.now() - failedMs < drainLimitMs * 0.9)

  framework.call({ kind: 'kill', taskId: third })
  framework.call({ kind: 'kill', taskId: third, graceMs: 1 })
  await nodes[1]?.stop()
  const leftMs = performance.now()
  await until(() => agent.killed.includes(third), 'a node that left may come back, and balances on meanwhile')
  t.ok(performance.now() - leftMs > drainLimitMs * 0.9)

  const heldMs = performance.now()
  framework.call({ kind: 'kill', taskId: lasting })
  await until(() => master.context.tasks.get(lasting)?.killing !== undefined, 'the kill has come')
  t.ok(master.context.drains.waits(lasting))
  const task = master.context.tasks.get(lasting)
  t.equal(task && master.context.drains.longestMs(vipLabels(task)), drainLimitMs + 1_000)
  await until(() => agent.killed.includes(lasting), 'the label keeps it for a second')
  t.ok(performance.now() - heldMs >= 990)
  await until(() => master.context.tasks.size === 0, 'all gone')
  t.equal(agent.killed.filter((id) => id === third).length, 1, 'two kills, one order')
})
