import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type ExecutorInfo } from '../../core/model/executor.ts'
import { parseExecutorId, parseNetworkName } from '../../core/model/ids.ts'
import { type TaskInfo } from '../../core/model/task.ts'
import { openScriptedMaster, type ScriptedMaster } from '../support/agent-master.ts'
import { type AgentBench, makeAgentBench, shellTask, stopProcess } from '../support/agent-process.ts'
import { canMakeHosts } from '../support/hosts.ts'

const defaultExecutor: ExecutorInfo = {
  id: parseExecutorId('pod'),
  kind: 'default',
  name: '',
  resources: { cpuMillis: 100, memMb: 32, diskMb: 0, ports: [] },
  networks: [{ name: parseNetworkName('dcos'), labels: {}, portMappings: [] }],
  shutdownGraceMs: 5000,
  labels: {},
}

/** Tasks of one group, by id and command. */
function group(id: string, commands: Readonly<Record<string, string>>, change: Partial<TaskInfo> = {}): TaskInfo[] {
  return Object.entries(commands).map(([name, command]) =>
    shellTask(name, command, { executor: defaultExecutor, groupId: id, killGraceMs: 200, ...change }),
  )
}

async function withMaster(t: Test, test: (bench: AgentBench, master: ScriptedMaster) => Promise<void>) {
  const bench = makeAgentBench()
  const master = await openScriptedMaster()
  t.teardown(async () => {
    await bench.remove()
    master.close()
  })
  await test(bench, master)
  t.same(await bench.leftovers(), [], 'nothing is left behind')
}

async function start(bench: AgentBench, master: ScriptedMaster) {
  const before = master.registrations.length
  const agent = bench.start(master.address)
  await master.until('registration', () => master.registrations.length > before)
  return agent
}

async function saysHello(bench: AgentBench, id: string): Promise<boolean> {
  for (let i = 0; i < 500 && !bench.output(id).includes('hello'); i++) await pause(20)
  return bench.output(id).includes('hello')
}

const calls = (bench: AgentBench) => bench.cniCalls().map((call) => call.split(' ')[0])

t.test('a group shares its network, and ends as a whole', { skip: canMakeHosts }, async (t) => {
  await withMaster(t, async (bench, master) => {
    await start(bench, master)
    const server = `exec node -e 'require("net").createServer((s)=>s.end("hello")).listen(8080,"127.0.0.1")'`
    const client =
      'until exec 3<>/dev/tcp/127.0.0.1/8080; do sleep 0.1; done 2>/dev/null; ls /proc | grep -c "^[0-9]"; cat <&3; sleep 1000'
    const clientTask = { command: { shell: false, value: '/bin/bash', arguments: ['bash', '-c', client], env: {} } }
    const [talker] = group('g1', { talker: '' }, clientTask)
    if (talker === undefined) return
    master.launch(...group('g1', { server, job: 'exit 0' }), talker)
    for (const id of ['server', 'talker']) {
      const { networks } = await master.status(id, 'TASK_RUNNING')
      t.same(networks, [{ name: 'dcos', addresses: ['192.0.2.7'] }], `${id} has the address of all`)
    }
    await master.status('job', 'TASK_FINISHED')
    t.ok(await saysHello(bench, 'talker'), 'over 127.0.0.1')
    t.ok(Number(bench.output('talker').trim().split('\n')[0]) < 10, 'it sees its own processes only')
    t.same(calls(bench), ['ADD'], 'attached once')
    master.order({ kind: 'kill', taskId: talker.taskId, graceMs: 1 })
    await master.status('talker', 'TASK_KILLED')
    t.match(await master.status('server', 'TASK_KILLED'), { message: /talker of its group ended: TASK_KILLED/ })
    await bench.leftovers()
    t.same(calls(bench), ['ADD', 'DEL'], 'detached after the last')
  })
})

t.test('all of a group start, or none', { skip: canMakeHosts }, async (t) => {
  await withMaster(t, async (bench, master) => {
    await start(bench, master)
    const bad = group('g2', { good: 'sleep 1000', bad: '' }).map((info) =>
      info.taskId === 'bad' ? { ...info, command: { ...info.command, shell: false } } : info,
    )
    master.launch(...bad)
    t.match(await master.status('bad', 'TASK_FAILED'), { reason: 'REASON_CONTAINER_LAUNCH_FAILED', message: /empty/ })
    t.match(await master.status('good', 'TASK_KILLED'), { message: /bad of its group ended/ })
    t.notOk(
      master.updates.some(({ state }) => state === 'TASK_RUNNING'),
      'none was announced',
    )
    const refused = {
      ...defaultExecutor,
      networks: [{ name: parseNetworkName('refuse'), labels: {}, portMappings: [] }],
    }
    master.launch(...group('g3', { one: 'sleep 1', two: 'sleep 1' }, { executor: refused }))
    for (const id of ['one', 'two']) await master.until(id, () => master.updates.some((u) => u.taskId === id))
    t.ok(master.updates.some(({ message = '' }) => message.includes('no address left')))
  })
})

t.test("a group over the agent's SIGKILL", { skip: canMakeHosts }, async (t) => {
  await withMaster(t, async (bench, master) => {
    const first = await start(bench, master)
    master.launch(...group('g4', { stays: 'sleep 1000', fails: 'mkfifo go; read x < go; exit 3' }))
    for (const id of ['stays', 'fails']) await master.status(id, 'TASK_RUNNING')
    await stopProcess(first, 'SIGKILL')
    const second = await start(bench, master)
    t.same(
      master.registrations.at(-1)?.tasks.map(({ latest }) => latest.state),
      ['TASK_RUNNING', 'TASK_RUNNING'],
    )
    await stopProcess(second, 'SIGKILL')
    master.order({ kind: 'ping' })
    t.ok(existsSync(join(bench.stateDir, 'netns')))
    await start(bench, master)
    master.order({ kind: 'kill', taskId: shellTask('fails', '').taskId, graceMs: 1 })
    for (const id of ['stays', 'fails']) await master.status(id, 'TASK_KILLED')
    await bench.leftovers()
    t.same(calls(bench), ['ADD', 'DEL'])
  })
})
