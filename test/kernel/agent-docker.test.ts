import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Containerizer } from '../../core/agent/containerizer/containerizer.ts'
import { containerExecCommand } from '../../core/agent/exec.ts'
import { containerPaths } from '../../core/agent/paths.ts'
import { parseFrameworkId, parseNetworkName } from '../../core/model/ids.ts'
import { type TaskInfo } from '../../core/model/task.ts'
import { canUseImages, makeImageBench, openTestRegistry } from '../support/agent-images.ts'
import { openScriptedMaster } from '../support/agent-master.ts'
import { makeAgentBench, shellTask, stopProcess } from '../support/agent-process.ts'
import { boxImage, canRunDockerd, type DockerBench, openDockerBench, startTestDockerd } from '../support/dockerd.ts'

const { signal } = new AbortController()
const image = (reference: string, forcePull = false) => ({ kind: 'oci', reference, forcePull }) as const
const box = { type: 'docker', image: image(boxImage), volumes: [] } as const

function boxTask(id: string, command: string, change: Partial<TaskInfo> = {}): TaskInfo {
  return shellTask(id, command, { container: box, ...change })
}

async function eventually<T>(look: () => T | undefined | false): Promise<T | undefined | false> {
  for (let i = 0; i < 750 && !look(); i++) await pause(20)
  return look()
}

t.test('a Docker Engine', { skip: canRunDockerd }, async (t) => {
  const dockerd = await startTestDockerd()
  t.teardown(() => dockerd.remove())
  const shared = mkdtempSync(join(tmpdir(), 'weft-docker-volume-'))
  t.teardown(() => rmSync(shared, { recursive: true }))
  const ours = () =>
    execFileSync('docker', ['-H', `unix://${dockerd.socketPath}`, 'ps', '-aq'], { encoding: 'utf8' }).trim()

  const withBench = async (t: Test, test: (bench: DockerBench) => Promise<void>) => {
    const bench = openDockerBench(dockerd.socketPath, { hostVolumes: [{ path: shared, mode: 'rw' }] })
    try {
      await test(bench)
    } finally {
      await bench.remove()
    }
    t.equal(ours(), '', 'no container is left')
  }
  const start = async (bench: DockerBench, info: TaskInfo, containerizer: Containerizer = bench.containerizer) => {
    const { netns } = containerPaths(bench.paths, info.taskId)
    const request = { containerId: info.taskId, frameworkId: parseFrameworkId('f'), info }
    const words: string[] = []
    await containerizer.prepare?.({ ...request, netns }, { signal, onProgress: (word) => words.push(word) })
    await containerizer.launch({ ...request, network: { kind: 'own', netns, addresses: [] } }, { signal })
    return words
  }
  const ended = (bench: DockerBench, id: string) =>
    eventually(() => bench.exits.find(({ containerId }) => containerId === id))

  await t.test('what a task sees', async (t) => {
    await withBench(t, async (bench) => {
      const look = [
        'echo "$(id -u):$(id -g) $GIVEN $MESOS_TASK_ID $(hostname) $(pwd)"; cat /mnt/secret; echo',
        'touch /mnt/mesos/sandbox/mine /data/made; echo x > /ro/no || echo read-only; grep -c localhost /etc/hosts; echo no >&2',
      ].join('\n')
      const volumes = [
        { containerPath: '/data', mode: 'rw', source: { kind: 'host', path: shared } },
        { containerPath: '/ro', mode: 'ro', source: { kind: 'host', path: shared } },
        { containerPath: '/mnt/secret', mode: 'ro', source: { kind: 'secret', value: 'hidden' } },
      ] as const
      const task = boxTask('see', look, { container: { ...box, volumes } })
      execFileSync('chmod', ['777', shared])
      await start(bench, { ...task, command: { ...task.command, user: 'app', env: { GIVEN: 'yes' } } })
      t.match(await ended(bench, 'see'), { status: 0, outOfMemory: false })
      t.same(bench.output('see').split('\n'), ['1234:1235 yes see see /', 'hidden', 'read-only', '2', ''])
      t.match(bench.output('see', 'stderr'), /^no$/m)
      const args = { shell: false, value: '', arguments: ['of', 'the image'], env: {} }
      await start(bench, boxTask('args', '', { command: args }))
      t.match(await ended(bench, 'args'), { status: 0 })
      t.equal(bench.output('args'), 'of the image\n', 'arguments go to the entrypoint')
      const usage = await bench.containerizer.diskUsage?.('see', { signal })
      t.ok(usage !== undefined && usage > 0, 'disk usage')
    })
  })

  await t.test('limits', async (t) => {
    await withBench(t, async (bench) => {
      const resources = { cpuMillis: 250, memMb: 32, diskMb: 0, ports: [] }
      await start(bench, boxTask('greedy', 'tail /dev/zero', { resources }))
      t.match(await ended(bench, 'greedy'), { outOfMemory: true })
      await start(bench, boxTask('quiet', 'sleep 1000', { resources }))
      const look = async () => {
        const names = execFileSync('docker', ['-H', `unix://${dockerd.socketPath}`, 'ps', '--format', '{{.Names}}'])
        const name = names
          .toString()
          .split('\n')
          .find((each) => each.endsWith('-quiet'))
        const format = '{{json .HostConfig}}'
        return JSON.parse(
          execFileSync('docker', ['-H', `unix://${dockerd.socketPath}`, 'inspect', '-f', format, `${name}`]).toString(),
        )
      }
      for (let i = 0; i < 100 && (await look()).CpuQuota !== 25_000; i++) await pause(20)
      t.match(await look(), { CpuQuota: 25_000, Memory: 32 * 1024 ** 2, CpuShares: 256, Privileged: false })
    })
  })

  await t.test('an agent that is started again', async (t) => {
    await withBench(t, async (bench) => {
      const counting = 'i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo $i; sleep 0.01; done'
      await start(bench, boxTask('lives', counting))
      await start(bench, boxTask('ends', 'cat; echo last words; exit 7'))
      await start(bench, boxTask('unknown', 'sleep 1000'))
      await eventually(() => bench.output('lives').length > 100)
      const again = bench.reopen()
      const finding = await again.recover(['lives', 'ends', 'never'])
      t.match(finding.get('lives'), { kind: 'running' })
      t.match(finding.get('ends'), { kind: 'exited', exit: { status: 7, outOfMemory: false } })
      t.equal(bench.output('ends'), 'last words\n')
      t.match(finding.get('never'), { kind: 'absent' })
      t.equal(ours().split('\n').length, 4, 'what no journal knows is removed')
      await eventually(() => bench.output('lives').length > 1000)
      again.signal('lives', 'TERM')
      t.match(await ended(bench, 'lives'), { status: 143 })
      const lines = bench.output('lives').trim().split('\n')
      t.same(
        lines,
        lines.map((_, index) => `${index + 1}`),
        'no line lost, none twice',
      )
      t.equal(bench.exits.filter(({ containerId }) => containerId === 'lives').length, 1)
    })
  })

  await t.test('an Engine that is stopped', async (t) => {
    await withBench(t, async (bench) => {
      await start(bench, boxTask('lost', 'echo begun; sleep 1000'))
      await eventually(() => bench.output('lost') !== '')
      await dockerd.stop()
      const again = bench.reopen()
      t.match((await again.recover(['lost'])).get('lost'), { kind: 'running' }, 'nobody knows better')
      await t.rejects(again.remove('another'), { code: 'ERR_AGENT_DOCKER_AWAY' })
      await dockerd.start()
      t.ok(await ended(bench, 'lost'), 'its end is told when the Engine is back')
      t.equal(bench.output('lost'), 'begun\n')
    })
  })

  await t.test('refusals', async (t) => {
    await withBench(t, async (bench) => {
      const { containerizer } = bench
      const request = { containerId: 'r', frameworkId: parseFrameworkId('f') }
      let count = 0
      const prepare = async (info: TaskInfo, change = {}) =>
        containerizer.prepare?.(
          { ...request, containerId: `r${count++}`, info, ...change },
          { signal, onProgress: () => undefined },
        )
      const named = (reference: string) => boxTask('r', 'true', { container: { ...box, image: image(reference) } })
      await t.rejects(prepare(named('oci:/srv/layout:1')), { code: 'ERR_AGENT_IMAGE_NAME', message: /type MESOS/ })
      await t.rejects(prepare(named('127.0.0.1:1/none:1')), { code: 'ERR_AGENT_IMAGE', message: /connection refused/ })
      await t.rejects(prepare(boxTask('r', 'true'), { sharedSandbox: '/tmp' }), { code: 'ERR_AGENT_DOCKER_GROUP' })
      const stranger = boxTask('r', 'true')
      const user = { ...stranger, command: { ...stranger.command, user: 'stranger' } }
      await t.rejects(prepare(user), { code: 'ERR_AGENT_USER' })
      const info = boxTask('host', 'true')
      const onHost = { ...request, containerId: 'host', info, network: { kind: 'host' } } as const
      const code = 'ERR_AGENT_DOCKER_NAMESPACE'
      await t.rejects(containerizer.launch(onHost, { signal }), { code }, 'another network namespace')
      const none = openDockerBench('/nowhere/docker.sock')
      await t.rejects(start(none, boxTask('x', 'true')), { code: 'ERR_AGENT_DOCKER_AWAY', message: /docker\.io/ })
      await none.remove()
    })
  })

  await t.test('the host network, from inside the namespace', async (t) => {
    const script = new URL('../fixtures/docker-host-task.ts', import.meta.url).pathname
    t.equal(dockerd.host.run(process.execPath, script, dockerd.socketPath), 'lo\n')
    t.equal(ours(), '')
  })

  await t.test('a pull', { skip: canUseImages }, async (t) => {
    const made = makeImageBench()
    t.teardown(() => made.remove())
    const registry = await openTestRegistry(join(made.dir, 'layout'), { netns: dockerd.host.path })
    t.teardown(() => registry.close())
    const name = `127.0.0.1:${registry.host.split(':').at(-1)}/team/app:full`
    await withBench(t, async (bench) => {
      const pulled = (id: string, forcePull: boolean) =>
        start(bench, boxTask(id, 'id -u', { container: { ...box, image: image(name, forcePull) } }))
      t.match((await pulled('first', false))[0], /^pulling image /)
      t.match(await ended(bench, 'first'), { status: 0 })
      t.equal(bench.output('first'), '1234\n', "the image's user")
      const asked = registry.requests.length
      t.same(await pulled('second', false), [], 'it is there')
      t.equal(registry.requests.length, asked)
      await pulled('third', true)
      t.ok(registry.requests.length > asked, 'asked again when told to')
    })
  })

  await t.test('tasks of an agent', async (t) => {
    const bench = makeAgentBench()
    const master = await openScriptedMaster()
    t.teardown(async () => {
      await bench.remove()
      master.close()
    })
    const startAgent = async () => {
      const before = master.registrations.length
      const agent = bench.start(master.address, { flags: ['--docker-host', `unix://${dockerd.socketPath}`] })
      await master.until('registration', () => master.registrations.length > before)
      return agent
    }
    const networks = [{ name: parseNetworkName('dcos'), labels: {}, portMappings: [] }]
    const first = await startAgent()
    const greedy = { cpuMillis: 100, memMb: 32, diskMb: 0, ports: [] }
    master.launch(
      boxTask('web', 'ip -o addr show dev lo; sleep 1000', { networks }),
      boxTask('oom', 'tail /dev/zero', { networks, resources: greedy }),
      boxTask('host', 'true'),
      boxTask('nowhere', 'true', { networks: [{ name: parseNetworkName('nowhere'), labels: {}, portMappings: [] }] }),
    )
    t.same((await master.status('web', 'TASK_RUNNING')).networks, [{ name: 'dcos', addresses: ['192.0.2.7'] }])
    t.ok(await eventually(() => bench.output('web').includes('192.0.2.7/32')), 'the address is in its namespace')
    t.match(await master.status('oom', 'TASK_FAILED'), { reason: 'REASON_CONTAINER_LIMITATION_MEMORY' })
    t.match((await master.status('host', 'TASK_FAILED')).message, /another network namespace/)
    t.match((await master.status('nowhere', 'TASK_FAILED')).message, /does not know it/)
    await stopProcess(first, 'SIGKILL')
    await startAgent()
    const kept = master.registrations.at(-1)?.tasks.find(({ info }) => info.taskId === 'web')
    t.match(kept, { latest: { state: 'TASK_RUNNING' } })
    const [program = '', ...args] = await containerExecCommand(bench.stateDir, 'web', { argv: ['echo', 'inside'] })
    t.equal(execFileSync(program, args, { encoding: 'utf8' }), 'inside\n')
    master.order({ kind: 'kill', taskId: boxTask('web', '').taskId, graceMs: 2000 })
    await master.status('web', 'TASK_KILLED')
    t.same(await bench.leftovers(), [], 'nothing is left behind')
    t.ok(await eventually(() => ours() === ''), 'no container is left')
  })
})
