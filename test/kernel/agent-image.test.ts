import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parseFrameworkId } from '../../core/model/ids.ts'
import { type ContainerInfo, type Image } from '../../core/model/container.ts'
import { type TaskInfo } from '../../core/model/task.ts'
import {
  canUseImages,
  type ContainerBench,
  makeImageBench,
  openContainerBench,
  openTestRegistry,
} from '../support/agent-images.ts'
import { shellTask } from '../support/agent-process.ts'

const { signal } = new AbortController()
const command = (change: Partial<TaskInfo['command']>): Partial<TaskInfo> => ({
  command: { shell: false, value: '', arguments: [], env: {}, ...change },
})
const shell = (value: string): Partial<TaskInfo> => command({ shell: true, value })
const from = (image: Image, change: Partial<ContainerInfo> = {}): Partial<TaskInfo> => ({
  container: { type: 'mesos', image, volumes: [], ...change },
})
const oci = (reference: string, forcePull = false): Image => ({ kind: 'oci', reference, forcePull })

function request(containerId: string, ...changes: readonly Partial<TaskInfo>[]) {
  const info = shellTask('t', 'true', Object.assign({}, ...changes))
  return { containerId, frameworkId: parseFrameworkId('f'), info, network: { kind: 'host' as const } }
}

/** Runs a container to its end. @returns what it wrote, and its status */
async function run(bench: ContainerBench, id: string, ...changes: readonly Partial<TaskInfo>[]) {
  await bench.containerizer.launch(request(id, ...changes), { signal })
  for (let i = 0; i < 1000 && !bench.exits.some(({ containerId }) => containerId === id); i++) await pause(10)
  const status = bench.exits.find(({ containerId }) => containerId === id)?.status
  return { status, out: bench.output(id).trim(), err: bench.output(id, 'stderr').trim() }
}

async function fails(t: Test, bench: ContainerBench, id: string, ...changes: readonly Partial<TaskInfo>[]) {
  const error: unknown = await bench.containerizer.launch(request(id, ...changes), { signal }).then(
    () => new Error('it was launched'),
    (reason: unknown) => reason,
  )
  t.notOk(existsSync(join(bench.paths.events, `${id}.running`)), `${id}: nothing runs`)
  return error instanceof Error ? error.message : ''
}

t.test('images', { skip: canUseImages }, async (t) => {
  const made = makeImageBench()
  t.teardown(made.remove)
  const registry = await openTestRegistry(join(made.dir, 'layout'))
  t.teardown(registry.close)
  const bench = await openContainerBench({ insecureRegistries: [registry.host] })
  t.teardown(bench.remove)
  const full = from(oci(made.reference('full')))

  await t.test('configuration of an image', async (t) => {
    t.match(await run(bench, 'c1', full, command({})), { status: 0, out: 'image 1234:1235 /work /home/app' })
    t.match(await run(bench, 'c2', full, command({ arguments: ['-c', 'echo "$0"', 'mine'] })), { out: 'mine' })
    t.match(await run(bench, 'c3', full, command({ value: '/bin/id', arguments: ['', '-u'], user: 'root' })), {
      out: '0',
    })
    t.match(await run(bench, 'c4', full, command({ value: '/bin/id', user: '77:staff' })), {
      out: 'uid=77 gid=50(staff)',
    })
    const env = { FROM: 'task' }
    t.match(await run(bench, 'c5', full, command({ shell: true, value: 'echo $FROM $MESOS_TASK_ID; exit 3', env })), {
      status: 3,
      out: 'task t',
    })
    t.match(await run(bench, 'c6', from(oci(made.reference('bare'))), command({})), { status: 0, out: 'without shell' })
    t.match(await run(bench, 'c7', from(oci(made.reference('bare'))), command({ arguments: ['a', 'b'] })), {
      out: 'a b',
    })
    t.match(await fails(t, bench, 'c8', full, command({ value: '/bin/id', user: 'nobody' })), /no user "nobody"/)
    t.match(
      await fails(t, bench, 'c9', from(oci(made.reference('links'))), command({ user: 'daemon' })),
      /no user "daemon"/,
      'a link out of the image leads nowhere',
    )
    t.match(
      await fails(t, bench, 'c10', from({ kind: 'directory', path: join(made.dir, 'bare') }), command({})),
      /neither Entrypoint nor Cmd/,
    )
  })

  await t.test('one root file system each', async (t) => {
    const write = shell(
      'cat /etc/marker; echo mine > /etc/marker; touch /new; cat /etc/marker; ls /usr /var 2>&1 | cat',
    )
    const asRoot = { ...write, command: { ...shellTask('t', '').command, ...write.command, user: 'root' } }
    const first = await run(bench, 'w1', full, asRoot)
    t.match(first.out, /^of the imagemine\n/, 'it may write')
    t.match((await run(bench, 'w2', full, asRoot)).out, /^of the imagemine\n/, 'the next one does not see it')
    const usage = await bench.containerizer.diskUsage?.('w2', { signal })
    t.ok(usage !== undefined && usage > 0 && usage < 1_000_000, `what it wrote counts, its image does not: ${usage}`)
    await bench.containerizer.remove('w1')
    t.notOk(existsSync(join(bench.paths.containers, 'w1', 'upper')), 'what it wrote goes with it')
    t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), 'containers/w2', 'no mount is seen outside')
    const hosts = await run(
      bench,
      'w3',
      full,
      shell('cat /etc/hosts /etc/hostname; ls -d /mnt/mesos/sandbox; touch here'),
    )
    t.match(hosts, { status: 1, out: /localhost[\s\S]*mesos/ })
  })

  await t.test('directories and tarballs', async (t) => {
    const directory = join(made.dir, 'root')
    const write = shell('touch /new && cat /etc/marker')
    t.match(await run(bench, 'd1', from({ kind: 'directory', path: directory }), write), {
      status: 0,
      out: 'of the image',
    })
    t.notOk(existsSync(join(directory, 'new')), 'it is never written to')
    const tarball = join(made.dir, 'root.tar.gz')
    execFileSync('tar', ['-C', directory, '-czf', tarball, '.'])
    t.match(await run(bench, 'd2', from({ kind: 'tarball', uri: tarball }), write), { status: 0, out: 'of the image' })
    t.match(
      await fails(t, bench, 'd3', from({ kind: 'directory', path: bench.paths.root }), write),
      /the agent's own state/,
    )
    t.match(await fails(t, bench, 'd4', from({ kind: 'directory', path: '/' }), write), /the agent's own state/)
    t.match(await fails(t, bench, 'd5', from({ kind: 'tarball', uri: '/nowhere.tar' }), write), /nowhere.tar.*ENOENT/)
  })

  await t.test('a registry', async (t) => {
    const named = `${registry.host}/team/app:full`
    registry.delayMs = 200
    const messages: string[] = []
    const image = from(oci(named))
    const onProgress = (message: string) => void messages.push(message)
    const asked = ['r1', 'r2', 'r3'].map((id) =>
      bench.containerizer.prepare?.(request(id, image, command({})), { signal, onProgress }),
    )
    await Promise.all(asked)
    const blobs = () => registry.requests.filter((path) => path.includes('/blobs/'))
    t.equal(blobs().length, 0, 'an image that is here by its digest is not pulled, whatever its name')
    const other = `${registry.host}/team/app:bare`
    await bench.containerizer.remove('c6')
    for (const key of readdirSync(bench.paths.images).filter((name) => /^[0-9a-f]{64}$/.test(name))) {
      execFileSync('rm', ['-r', join(bench.paths.images, key)])
    }
    const pulls = ['r4', 'r5', 'r6'].map((id) => run(bench, id, from(oci(other)), command({})))
    t.match(await Promise.all(pulls), [{ out: 'without shell' }, { out: 'without shell' }, { out: 'without shell' }])
    t.equal(blobs().length, new Set(blobs()).size, 'three containers, one pull')
    const pulled = registry.requests.length
    await run(bench, 'r7', from(oci(other)), command({}))
    t.equal(registry.requests.length, pulled, 'the registry is not asked again')
    await run(bench, 'r8', from(oci(other, true)), command({}))
    t.ok(
      registry.requests.length > pulled && blobs().length === new Set(blobs()).size,
      'forcePull asks, and gets what is new',
    )
    registry.delayMs = 5000
    const aborting = new AbortController()
    const given = bench.containerizer.launch(request('r9', from(oci(named, true)), command({})), aborting)
    setTimeout(() => aborting.abort(new Error('given up')), 300)
    const before = Date.now()
    await t.rejects(given, /given up/)
    t.ok(Date.now() - before < 3000, 'a pull ends with the launch')
    t.match(await fails(t, bench, 'r10', from(oci(`${registry.host}/team/app:none`))), /no such image/)
    t.match(await fails(t, bench, 'r11', from(oci('127.0.0.1:1/app:v1'))), /127.0.0.1:1 can't be reached/)
    t.match(await fails(t, bench, 'r12', from(oci('oci:/nowhere:v1'))), /no such image/)
    t.match(await fails(t, bench, 'r13', from(oci('--authfile=/etc/passwd'))), /names no image/)
    t.same(readdirSync(join(bench.paths.images, 'work')), [], 'nothing is left half done')
  })

  await t.test('signals, and an agent that is started again', async (t) => {
    const sleeps = command({ value: '/bin/sleep', arguments: ['', '1000'], user: 'root' })
    await bench.containerizer.launch(request('s1', from(oci(made.reference('full'))), sleeps), { signal })
    const again = bench.reopen()
    t.match((await again.recover(['s1'])).get('s1'), { kind: 'running' })
    t.equal(await again.exec('s1', ['/bin/cat', '/etc/marker'], { signal }), 0)
    again.signal('s1', 'TERM')
    for (let i = 0; i < 500 && !bench.exits.some(({ containerId }) => containerId === 's1'); i++) await pause(10)
    t.match(
      bench.exits.find(({ containerId }) => containerId === 's1'),
      { status: 143 },
      'TERM ends what does not catch it',
    )
    await again.remove('s1')
  })
})

t.test('volumes', { skip: canUseImages }, async (t) => {
  const made = makeImageBench()
  t.teardown(made.remove)
  const [shared, fixed, group] = ['shared', 'fixed', 'group'].map((name) => join(made.dir, name)) as [
    string,
    string,
    string,
  ]
  for (const path of [shared, fixed, group]) mkdirSync(path)
  writeFileSync(join(fixed, 'file'), 'fixed')
  symlinkSync('/etc', join(shared, 'out'))
  symlinkSync('/etc', join(group, 'out'))
  const bench = await openContainerBench({
    hostVolumes: [
      { path: shared, mode: 'rw' },
      { path: fixed, mode: 'ro' },
    ],
  })
  t.teardown(bench.remove)
  const image = oci(made.reference('full'))
  const volume = (source: ContainerInfo['volumes'][number]['source'], mode: 'ro' | 'rw', containerPath = '/data') =>
    from(image, { volumes: [{ source, mode, containerPath }] })
  const host = (path: string, mode: 'ro' | 'rw' = 'rw') => volume({ kind: 'host', path }, mode)
  const root = (value: string) => command({ shell: true, value, user: 'root' })

  t.match(await run(bench, 'v1', host(shared), root('echo x > /data/written')), { status: 0 })
  t.equal(readFileSync(join(shared, 'written'), 'utf8'), 'x\n')
  t.match(await run(bench, 'v2', host(fixed, 'ro'), root('cat /data/file; echo > /data/file')), {
    status: 1,
    out: 'fixed',
  })
  const refusals = [
    ['v3', host(fixed), /read-only only/],
    ['v4', host('/etc'), /--host-volume/],
    ['v5', host(join(shared, 'out')), /--host-volume/],
    ['v6', host(join(shared, 'nowhere')), /no such path/],
    ['v7', host('relative'), /must be absolute/],
    ['v8', volume({ kind: 'host', path: shared }, 'rw', '/data/../../etc'), /without "\.\."/],
    ['v9', volume({ kind: 'host', path: shared }, 'rw', '/proc/1'), /nothing can be mounted/],
    ['v10', volume({ kind: 'shared', path: 'x' }, 'rw'), /only tasks of a group/],
    ['v11', volume({ kind: 'persistent', id: 'x' }, 'rw'), /no resources with that persistent volume/],
  ] as const
  for (const [id, change, message] of refusals) t.match(await fails(t, bench, id, change, root('true')), message)
  t.match(
    await run(
      bench,
      'v12',
      volume({ kind: 'host', path: shared }, 'rw', 'sub'),
      root('cat $MESOS_SANDBOX/sub/written'),
    ),
    {
      out: 'x',
    },
  )

  const secret = volume({ kind: 'secret', value: 'hush' }, 'rw', 'secret')
  const app = (value: string) => command({ shell: true, value, user: 'app' })
  const read = 'cat $MESOS_SANDBOX/secret; ls -ln $MESOS_SANDBOX/secret; echo > $MESOS_SANDBOX/secret'
  t.match(await run(bench, 's1', secret, app(read)), { status: 1, out: /^hush-r-------- .* 1234 / })
  const grep = () => execFileSync('grep', ['-r', 'hush', bench.paths.containers], { stdio: 'pipe' })
  t.throws(grep, 'a secret is on no disk')
  await bench.containerizer.remove('s1')
  t.same(
    readdirSync('/dev/shm').filter((name) => existsSync(join('/dev/shm', name, 's1'))),
    [],
    'it goes with its container',
  )

  const launch = (id: string, change: Partial<TaskInfo>) =>
    bench.containerizer.launch(
      { ...request(id, change, root('echo $0 >> /data/log; sleep 0')), sharedSandbox: group },
      { signal },
    )
  await launch('g1', volume({ kind: 'shared', path: 'a/b' }, 'rw'))
  for (let i = 0; i < 500 && !bench.exits.some(({ containerId }) => containerId === 'g1'); i++) await pause(10)
  t.ok(statSync(join(group, 'a/b/log')).isFile(), 'tasks of a group share a directory')
  await t.rejects(
    launch('g2', volume({ kind: 'shared', path: 'out/x' }, 'rw')),
    /can't make the folder/,
    'no link is followed',
  )
  await t.rejects(launch('g3', volume({ kind: 'shared', path: '../x' }, 'rw')), /relative to the sandbox/)
})
