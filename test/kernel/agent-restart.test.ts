import { type ChildProcess, execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { listContainers } from '../../core/agent/exec.ts'
import { removeEverything } from '../../core/agent/sweep.ts'
import { parseNetworkName } from '../../core/model/ids.ts'
import { openScriptedMaster, type ScriptedMaster } from '../support/agent-master.ts'
import { type AgentBench, makeAgentBench, shellTask, stopProcess } from '../support/agent-process.ts'
import { canMakeHosts } from '../support/hosts.ts'

const dcos = [{ name: parseNetworkName('dcos'), labels: {}, portMappings: [] }]

interface World {
  readonly bench: AgentBench
  readonly master: ScriptedMaster
  /** Starts an agent and waits for its registration. */
  readonly start: () => Promise<ChildProcess>
}

async function makeWorld(t: Test): Promise<World> {
  const bench = makeAgentBench()
  const master = await openScriptedMaster()
  t.teardown(async () => {
    await bench.remove()
    master.close()
  })
  const start = async () => {
    const before = master.registrations.length
    const agent = bench.start(master.address)
    await master.until('registration', () => master.registrations.length > before)
    return agent
  }
  return { bench, master, start }
}

const kill = (master: ScriptedMaster, id: string, graceMs = 1) =>
  master.order({ kind: 'kill', taskId: shellTask(id, '').taskId, graceMs })

async function eventually(look: () => boolean): Promise<boolean> {
  for (let i = 0; i < 500 && !look(); i++) await pause(20)
  return look()
}

t.test('SIGKILL of the agent', { skip: canMakeHosts }, async (t) => {
  const { bench, master, start } = await makeWorld(t)
  const first = await start()
  const ticking = 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done'
  master.launch(shellTask('lives', ticking, { networks: dcos }), shellTask('ends', 'mkfifo go; read x < go; exit 7'))
  for (const id of ['lives', 'ends']) await master.status(id, 'TASK_RUNNING')
  await stopProcess(first, 'SIGKILL')
  const ticks = bench.output('lives').length
  t.ok(await eventually(() => bench.output('lives').length > ticks + 10), 'the task goes on without an agent')
  await letGo(bench, 'ends')
  await start()
  const back = master.registrations.at(-1)
  t.equal(back?.agentId, 'master-S0', 'the same agent')
  const lives = back?.tasks.find(({ info }) => info.taskId === 'lives')
  t.match(lives, { latest: { state: 'TASK_RUNNING', networks: [{ name: 'dcos', addresses: ['192.0.2.7'] }] } })
  t.match((await master.status('ends', 'TASK_FAILED')).message, /status 7/, 'an end that no agent saw')
  kill(master, 'lives')
  await master.status('lives', 'TASK_KILLED')
  const starts = master.updates.filter(({ state }) => state === 'TASK_RUNNING').map(({ uuid }) => uuid)
  t.equal(new Set(starts).size, 2, 'no start was told as a new one')
  t.same(await bench.leftovers(), [])
  t.same(
    bench.cniCalls().map((call) => call.split(' ')[0]),
    ['ADD', 'DEL'],
  )
})

/** Lets a task go on that waits for a line from the pipe `go` in its sandbox. */
async function letGo(bench: AgentBench, id: string): Promise<void> {
  const found = (await listContainers(bench.stateDir)).find(({ taskId }) => taskId === id)
  const pipe = `${found?.sandbox}/go`
  await eventually(() => existsSync(pipe))
  execFileSync('sh', ['-c', 'echo go > "$0"', pipe], { timeout: 20_000 })
}

t.test('updates until acknowledged, terms, SIGTERM', { skip: canMakeHosts }, async (t) => {
  const { bench, master, start } = await makeWorld(t)
  master.acknowledging = false
  const first = await start()
  master.term = 5
  master.launch(shellTask('quick', 'exit 0'))
  const running = await master.status('quick', 'TASK_RUNNING')
  const at = performance.now()
  t.equal(await stopProcess(first, 'SIGTERM'), 0)
  t.ok(performance.now() - at < 3000, 'it ends soon')
  await start()
  await master.until('the update again', () => master.updates.filter(({ uuid }) => uuid === running.uuid).length >= 2)
  t.equal(master.registrations.at(-1)?.highestTerm, 5)
  t.notOk(
    master.updates.some(({ state }) => state === 'TASK_FINISHED'),
    'one outstanding update',
  )
  const registered = master.registrations.length
  master.order({ kind: 'launch', frameworkId: master.framework, tasks: [shellTask('deposed', 'exit 0')] }, 4)
  await master.until('a new session', () => master.registrations.length > registered)
  master.acknowledging = true
  master.order({ kind: 'acknowledge', taskId: running.taskId, uuid: running.uuid ?? '' })
  await master.status('quick', 'TASK_FINISHED')
  t.notOk(
    master.updates.some(({ taskId }) => taskId === 'deposed'),
    'a deposed leader launches nothing',
  )
  t.same(await bench.leftovers(), [])
})

t.test('a sweep after a crash', { skip: canMakeHosts }, async (t) => {
  const { bench, master, start } = await makeWorld(t)
  const agent = await start()
  master.launch(shellTask('stays', 'sleep 1000', { networks: dcos }), shellTask('too', 'trap "" TERM; sleep 1000'))
  for (const id of ['stays', 'too']) await master.status(id, 'TASK_RUNNING')
  await stopProcess(agent, 'SIGKILL')
  await removeEverything(bench.stateDir)
  t.same(await bench.leftovers(), [])
  await start()
  t.same(master.registrations.at(-1)?.tasks, [], 'the next agent has no task')
  master.launch(shellTask('again', 'exit 0'))
  await master.status('again', 'TASK_FINISHED')
  await removeEverything(`${bench.stateDir}/nothing-here`)
})

t.test('SIGKILL in the middle of launches', { skip: canMakeHosts }, async (t) => {
  const { bench, master, start } = await makeWorld(t)
  const ids = Array.from({ length: 6 }, (_, i) => `mid-${i}`)
  for (const [round, id] of ids.entries()) {
    const agent = await start()
    master.launch(shellTask(id, 'sleep 1000', { networks: dcos }))
    await pause(round * 12) // any moment will do: each outcome below is right
    await stopProcess(agent, 'SIGKILL')
  }
  await start()
  const has = master.registrations.at(-1)?.tasks.map(({ info }) => info.taskId) ?? []
  for (const id of has) {
    await master.until(`${id} runs or is lost`, () =>
      master.updates.some(({ taskId, state }) => taskId === id && (state === 'TASK_RUNNING' || state === 'TASK_LOST')),
    )
    kill(master, id)
  }
  t.same(await bench.leftovers(), [], 'no orphan')
  const calls = bench.cniCalls().filter((call) => call !== '')
  const added = calls.filter((call) => call.startsWith('ADD')).map((call) => call.split(' ')[3])
  t.same(
    added.filter((id) => !calls.some((call) => call.startsWith('DEL') && call.includes(id ?? ''))),
    [],
    'each ADD was undone',
  )
})

t.test('a full disk', { skip: canMakeHosts }, async (t) => {
  const { bench, master } = await makeWorld(t)
  const agent = bench.start(master.address, { stateMb: 2 })
  await master.until('registration', () => master.registrations.length > 0)
  const inside = (...command: readonly string[]) =>
    execFileSync('nsenter', [`--mount=/proc/${agent.pid}/ns/mnt`, ...command], { stdio: ['ignore', 'pipe', 'ignore'] })
  master.launch(shellTask('before', 'sleep 1000'))
  await master.status('before', 'TASK_RUNNING')
  inside('sh', '-c', `cat /dev/zero > ${bench.stateDir}/filler; true`)
  master.launch(shellTask('refused', 'sleep 1000'))
  const refused = await master.status('refused', 'TASK_FAILED')
  t.match(refused.message, /disk is full|ENOSPC|no space left/i)
  kill(master, 'before')
  await master.status('before', 'TASK_KILLED')
  inside('rm', `${bench.stateDir}/filler`)
  master.launch(shellTask('after', 'exit 0'))
  await master.status('after', 'TASK_FINISHED')
  t.equal(await stopProcess(agent, 'SIGTERM'), 0)
})
