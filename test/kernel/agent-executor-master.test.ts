import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { makeAgentBench } from '../support/agent-process.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { hidesCheckout } from '../support/visible.ts'
import { type Json, type MesosFramework, subscribeMesos, wireTask } from '../support/mesos-framework-client.ts'
import { startMesosMaster } from '../support/mesos-master.ts'

const program = fileURLToPath(new URL('../fixtures/mesos-executor.ts', import.meta.url))

const resources = (cpus: number, mem: number) => [
  { name: 'cpus', type: 'SCALAR', scalar: { value: cpus } },
  { name: 'mem', type: 'SCALAR', scalar: { value: mem } },
]

const customExecutor = {
  type: 'CUSTOM',
  executor_id: { value: 'exec' },
  command: { value: `exec ${process.execPath} ${program}` },
  resources: resources(0.5, 128),
}

/** A framework over HTTP, a master, and an agent as a process of its own. */
async function openWorld(t: Test) {
  const master = await startMesosMaster()
  const bench = makeAgentBench()
  t.teardown(async () => {
    await bench.remove()
    await master.stop()
  })
  bench.start(master.address, { underlay: '127.0.0.2' }) // the master's own node has 127.0.0.1
  const framework = await subscribeMesos(master.url, { capabilities: [{ type: 'PARTITION_AWARE' }] })
  t.teardown(() => framework.cut())
  const [offer] = (await framework.wait('OFFERS')).offers
  const launch = async (operation: Json) => {
    const accepted = { offer_ids: [offer.id], operations: [operation], filters: { refuse_seconds: 0 } }
    t.equal((await framework.call('ACCEPT', accepted)).status, 202)
  }
  return { bench, framework, offer, launch }
}

/** Waits for a task's update, and acknowledges it. */
async function reaches(framework: MesosFramework, id: string, state: string): Promise<Json> {
  const isIt = ({ status }: Json) => status.task_id.value === id && status.state === state
  const { status } = await framework.wait('UPDATE', isIt)
  const { task_id, agent_id, uuid } = status
  await framework.call('ACKNOWLEDGE', { task_id, agent_id, uuid })
  return status
}

t.test('a custom executor, by the scheduler API', { skip: canMakeHosts || hidesCheckout() }, async (t) => {
  const { bench, framework, offer, launch } = await openWorld(t)
  const task = (id: string) => ({ ...wireTask(offer, id), command: null, executor: customExecutor })
  await launch({ type: 'LAUNCH', launch: { task_infos: [task('one'), task('two')] } })
  for (const id of ['one', 'two']) {
    t.match(await reaches(framework, id, 'TASK_RUNNING'), { source: 'SOURCE_EXECUTOR', data: 'ZGF0YQ==' })
  }
  const place = { agent_id: offer.agent_id, executor_id: { value: 'exec' } }
  await framework.call('MESSAGE', { ...place, data: Buffer.from('hello').toString('base64') })
  t.match(await framework.wait('MESSAGE'), { ...place, data: Buffer.from('HELLO').toString('base64') })
  await framework.call('KILL', { task_id: { value: 'one' }, agent_id: offer.agent_id })
  await reaches(framework, 'one', 'TASK_KILLED')
  await framework.call('SHUTDOWN', place)
  t.match(await reaches(framework, 'two', 'TASK_FAILED'), { reason: 'REASON_EXECUTOR_TERMINATED' })
  t.match(await framework.wait('FAILURE'), { ...place, status: 0 })
  t.same(await bench.leftovers(), [])
})

t.test('a task group, by the scheduler API', { skip: canMakeHosts }, async (t) => {
  const { bench, framework, offer, launch } = await openWorld(t)
  const serve = `require("net").createServer((s)=>s.end("hello")).listen(8080,"127.0.0.1")`
  const server = { ...wireTask(offer, 'server'), command: { value: `exec node -e '${serve}'` } }
  const ask = 'until exec 3<>/dev/tcp/127.0.0.1/8080; do sleep 0.1; done 2>/dev/null; cat <&3; sleep 1000'
  const client = {
    ...wireTask(offer, 'client'),
    command: { shell: false, value: '/bin/bash', arguments: ['bash', '-c', ask] },
  }
  const executor = {
    type: 'DEFAULT',
    executor_id: { value: 'pod' },
    resources: resources(0.1, 32),
    container: { type: 'MESOS', network_infos: [{ name: 'dcos' }] },
  }
  await launch({ type: 'LAUNCH_GROUP', launch_group: { executor, task_group: { tasks: [server, client] } } })
  const addresses = {
    container_status: { network_infos: [{ name: 'dcos', ip_addresses: [{ ip_address: '192.0.2.7' }] }] },
  }
  for (const id of ['server', 'client']) t.match(await reaches(framework, id, 'TASK_RUNNING'), addresses)
  for (let i = 0; i < 500 && !bench.output('client').includes('hello'); i++)
    await new Promise((go) => setTimeout(go, 20))
  t.match(bench.output('client'), /hello/, 'over 127.0.0.1')
  await framework.call('KILL', { task_id: { value: 'server' }, agent_id: offer.agent_id })
  for (const id of ['server', 'client']) await reaches(framework, id, 'TASK_KILLED')
  t.same(await bench.leftovers(), [])
})
