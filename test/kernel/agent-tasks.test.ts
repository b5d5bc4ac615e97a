import { accessSync, constants, existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { containerExecCommand, listContainers } from '../../core/agent/exec.ts'
import { type HealthCheck, type HealthProbe } from '../../core/model/task.ts'
import { parseNetworkName } from '../../core/model/ids.ts'
import { openScriptedMaster, type ScriptedMaster } from '../support/agent-master.ts'
import { type AgentBench, makeAgentBench, shellTask } from '../support/agent-process.ts'
import { canMakeHosts } from '../support/hosts.ts'

const run = promisify(execFile)

async function withAgent(
  t: Test,
  test: (bench: AgentBench, master: ScriptedMaster) => Promise<void>,
  flags: readonly string[] = [],
) {
  const bench = makeAgentBench()
  const master = await openScriptedMaster()
  t.teardown(async () => {
    await bench.remove()
    master.close()
  })
  bench.start(master.address, { flags })
  await master.until('registration', () => master.registrations.length > 0)
  await test(bench, master)
  t.same(await bench.leftovers(), [], 'nothing is left behind')
}

const network = (...names: readonly string[]) =>
  names.map((name) => ({ name: parseNetworkName(name), labels: {}, portMappings: [] }))

const ends = [
  { id: 'ok', command: 'exit 0', state: 'TASK_FINISHED', message: /status 0/ },
  { id: 'three', command: 'exit 3', state: 'TASK_FAILED', message: /status 3/ },
  { id: 'signal', command: 'kill -9 $$', state: 'TASK_FAILED', message: /signal 9/ },
  { id: 'missing', command: 'exec /no/such/program', state: 'TASK_FAILED', message: /status 127/ },
]

/** An unprivileged user's namespace may hold containers, but no control groups. */
function cannotLimit(): string | false {
  try {
    for (const dir of ['/sys/fs/cgroup', '/sys/fs/cgroup/memory']) if (existsSync(dir)) accessSync(dir, constants.W_OK)
    return false
  } catch {
    return 'needs the right to make control groups' // EACCES, EROFS
  }
}

t.test('how tasks end', { skip: canMakeHosts }, async (t) => {
  await withAgent(t, async (_, master) => {
    master.launch(...ends.map(({ id, command }) => shellTask(id, command)))
    for (const { id, state, message } of ends) {
      const status = await master.status(id, state)
      t.match(status.message, message, id)
      t.ok(
        master.updates.some((each) => each.taskId === id && each.state === 'TASK_RUNNING'),
        `${id} was announced`,
      )
    }
  })
})

t.test('what a task sees', { skip: canMakeHosts }, async (t) => {
  await withAgent(t, async (bench, master) => {
    const look = [
      'pwd; echo "$MESOS_TASK_ID $GIVEN $MESOS_CONTAINER_IP"; cat /etc/resolv.conf; grep "$(hostname)" /etc/hosts',
      'ip -o addr show dev lo | grep -c 192.0.2.7; touch here /tmp/there; touch /etc/nowhere || echo read-only',
      `ls ${bench.stateDir} 2>/dev/null | wc -l; ps -e | wc -l; ulimit -u >/dev/null; id -u`,
    ].join('\n')
    const task = shellTask('see', look, { networks: network('dcos') })
    master.launch({ ...task, command: { ...task.command, env: { GIVEN: 'yes' } } })
    await master.status('see', 'TASK_FINISHED')
    const lines = bench.output('see').trim().split('\n')
    t.match(
      lines.join('\n'),
      /^\/mnt\/mesos\/sandbox\nsee yes 192\.0\.2\.7\nsearch mesos\nnameserver 198\.51\.100\.1\n/,
    )
    t.match(lines[4], /^192\.0\.2\.7 see-[0-9a-f]{8}$/, 'its own name is in its hosts file')
    t.same(lines.slice(5, 8), ['1', 'read-only', '0'], 'address, read-only system, state directory hidden')
    t.ok(Number(lines[8]) < 10, 'only its own processes')
    t.same((await master.status('see', 'TASK_RUNNING')).networks, [{ name: 'dcos', addresses: ['192.0.2.7'] }])
    const nobody = shellTask('nobody', 'id -un; touch mine; ls -n mine | cut -d" " -f3')
    master.launch({ ...nobody, command: { ...nobody.command, user: 'nobody' } })
    await master.status('nobody', 'TASK_FINISHED')
    t.same(bench.output('nobody').trim().split('\n'), ['nobody', '65534'])
  })
})

t.test('launches that fail leave nothing', { skip: canMakeHosts }, async (t) => {
  await withAgent(t, async (bench, master) => {
    const nobody = shellTask('user', 'true')
    const cases = [
      {
        task: shellTask('unknown', 'true', { networks: network('nowhere') }),
        message: /network "nowhere".*does not know/,
      },
      { task: shellTask('twice', 'true', { networks: network('dcos', 'dcos') }), message: /asked for twice/ },
      { task: shellTask('full', 'true', { networks: network('dcos', 'refuse') }), message: /no address left/ },
      { task: { ...nobody, command: { ...nobody.command, user: 'nouser' } }, message: /no user "nouser"/ },
      {
        task: { ...shellTask('empty', ''), command: { shell: false, value: '', arguments: [], env: {} } },
        message: /empty/,
      },
    ]
    master.launch(...cases.map(({ task }) => task))
    for (const { task, message } of cases) {
      const status = await master.status(task.taskId, 'TASK_FAILED')
      t.equal(status.reason, 'REASON_CONTAINER_LAUNCH_FAILED')
      t.match(status.message, message)
    }
    const calls = bench.cniCalls().map((call) => call.replace(/ full-.*/, ''))
    t.same(calls, ['ADD eth0 netns', 'ADD eth1 netns', 'DEL eth1 netns', 'DEL eth0 netns'], 'both were undone')
  })
})

t.test('kills', { skip: canMakeHosts }, async (t) => {
  await withAgent(t, async (bench, master) => {
    const kill = (id: string, graceMs: number) =>
      master.order({ kind: 'kill', taskId: shellTask(id, '').taskId, graceMs })
    const polite = 'trap "echo bye; exit 0" TERM; echo ready; while :; do sleep 0.1; done'
    const stubborn = 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
    master.launch(
      shellTask('polite', polite),
      shellTask('stubborn', stubborn),
      shellTask('plain', 'echo ready; sleep 1000'),
    )
    const ready = async (id: string) => {
      for (let i = 0; i < 500 && !bench.output(id).includes('ready'); i++)
        await new Promise((done) => setTimeout(done, 20))
    }
    await Promise.all(['polite', 'stubborn', 'plain'].map(ready))
    for (const id of ['polite', 'plain']) kill(id, 60_000)
    kill('stubborn', 300)
    for (const id of ['polite', 'stubborn', 'plain']) await master.status(id, 'TASK_KILLED')
    t.match(bench.output('polite'), /bye/)
    master.launch(shellTask('early', 'sleep 1000', { networks: network('dcos') }))
    kill('early', 60_000)
    const early = await master.status('early', 'TASK_KILLED')
    t.equal(early.reason, 'REASON_TASK_KILLED_DURING_LAUNCH')
    kill('nothing', 1)
  })
})

t.test('exec, list, a second launch', { skip: canMakeHosts }, async (t) => {
  await withAgent(t, async (bench, master) => {
    const task = shellTask('inside', 'sleep 1000', { networks: network('dcos') })
    master.launch(task)
    await master.status('inside', 'TASK_RUNNING')
    master.launch(task)
    const [file = '', ...args] = await containerExecCommand(bench.stateDir, 'inside', {
      argv: ['ip', '-o', 'addr', 'show', 'lo'],
    })
    t.match((await run(file, args)).stdout, /192\.0\.2\.7/, 'it runs in the namespace of the task')
    t.match(await listContainers(bench.stateDir), [
      { taskId: 'inside', state: 'TASK_RUNNING', netns: /netns\/inside-/ },
    ])
    await t.rejects(containerExecCommand(bench.stateDir, 'outside', { argv: ['true'] }), {
      code: 'ERR_AGENT_TASK_UNKNOWN',
    })
    master.order({ kind: 'kill', taskId: task.taskId, graceMs: 0 })
    await master.status('inside', 'TASK_KILLED')
    t.equal(master.updates.filter(({ state }) => state === 'TASK_RUNNING').length, 1, 'it was launched once')
  })
})

const check = (probe: HealthProbe, change: Partial<HealthCheck> = {}): HealthCheck => ({
  ...{ probe, gracePeriodMs: 0, intervalMs: 200, timeoutMs: 5000, maxConsecutiveFailures: 2, ...change },
})

t.test('health', { skip: canMakeHosts }, async (t) => {
  let answer = 500
  const server = createServer((_, response) => response.writeHead(answer).end())
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.teardown(() => server.close())
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  await withAgent(t, async (_, master) => {
    const http = { kind: 'http', scheme: 'http', path: '/', port } as const
    const health = (id: string, healthy: boolean) =>
      master.until(`${id} ${healthy}`, () =>
        master.healths.find((each) => each.taskId === id && each.healthy === healthy),
      )
    master.launch(
      shellTask('web', 'sleep 1000', { healthCheck: check(http, { gracePeriodMs: 600_000 }) }),
      shellTask('tcp', 'sleep 1000', { healthCheck: check({ kind: 'tcp', port }) }),
      shellTask('cmd', 'sleep 1000', {
        healthCheck: check({ kind: 'command', command: 'test -f /tmp/good' }, { gracePeriodMs: 600_000 }),
      }),
      shellTask('sick', 'sleep 1000', { healthCheck: check({ kind: 'command', command: 'exit 4' }), killGraceMs: 100 }),
    )
    await health('tcp', true)
    await master.status('cmd', 'TASK_RUNNING')
    answer = 302
    await health('web', true)
    answer = 400
    const failed = await master.status('web', 'TASK_FAILED')
    t.equal(failed.healthy, false)
    t.match(failed.message, /health check failed 2 times.*HTTP status 400/)
    t.match((await master.status('sick', 'TASK_FAILED')).message, /status 4/)
    t.notOk(master.healths.some(({ taskId, healthy }) => taskId === 'sick' && healthy))
    for (const id of ['tcp', 'cmd']) master.order({ kind: 'kill', taskId: shellTask(id, '').taskId, graceMs: 1 })
    for (const id of ['tcp', 'cmd']) await master.status(id, 'TASK_KILLED')
  })
})

t.test('a task that fills its disk ends, with the reason', { skip: canMakeHosts }, async (t) => {
  await withAgent(
    t,
    async (_, master) => {
      const fill = 'head -c 8000000 /dev/zero > big; sleep 1000'
      const room = { cpuMillis: 100, memMb: 32, ports: [] }
      master.launch(shellTask('full', fill, { resources: { ...room, diskMb: 4 }, killGraceMs: 100 }))
      master.launch(shellTask('fits', fill, { resources: { ...room, diskMb: 64 } }))
      const full = await master.status('full', 'TASK_FAILED')
      t.equal(full.reason, 'REASON_CONTAINER_LIMITATION_DISK')
      t.match(full.message, /took 8 MB of disk, it has 4 MB/)
      await master.status('fits', 'TASK_RUNNING')
      t.notOk(master.updates.some(({ taskId, state }) => taskId === 'fits' && state === 'TASK_FAILED'))
      master.order({ kind: 'kill', taskId: shellTask('fits', '').taskId, graceMs: 1 })
      await master.status('fits', 'TASK_KILLED')
    },
    ['--disk-watch-interval', '1'],
  )
})

t.test('limits are in the kernel', { skip: canMakeHosts || cannotLimit() }, async (t) => {
  await withAgent(t, async (bench, master) => {
    const hungry = 'x=$(head -c 200000000 /dev/zero | tr "\\0" x); sleep 60'
    master.launch(shellTask('hungry', hungry))
    t.equal((await master.status('hungry', 'TASK_FAILED')).reason, 'REASON_CONTAINER_LIMITATION_MEMORY')
    master.launch(shellTask('limits', 'sleep 1000'))
    await master.status('limits', 'TASK_RUNNING')
    const container = (await listContainers(bench.stateDir)).find(({ taskId }) => taskId === 'limits')
    const read = (file: string) =>
      execFileSync(
        'find',
        ['/sys/fs/cgroup', '-path', `*${container?.containerId}/${file}`, '-exec', 'cat', '{}', ';'],
        { encoding: 'utf8' },
      ).trim()
    const [memory, quota] = [
      read('memory.limit_in_bytes') || read('memory.max'),
      read('cpu.cfs_quota_us') || read('cpu.max'),
    ]
    t.equal(memory, `${64 * 1024 * 1024}`)
    t.match(quota, /^50000/)
    master.order({ kind: 'kill', taskId: shellTask('limits', '').taskId, graceMs: 1 })
    await master.status('limits', 'TASK_KILLED')
  })
})
