import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { imageArgv, parseImageConfig } from '../../core/agent/image/config.ts'
import { openFlights } from '../../core/agent/image/flights.ts'
import { readInside, resolveInside } from '../../core/agent/image/inside.ts'
import { expiredImages, type StoredImage } from '../../core/agent/image/plan.ts'
import { parseImageSource, pinned } from '../../core/agent/image/reference.ts'
import { findIdentity } from '../../core/agent/image/users.ts'
import { planFetch } from '../../core/agent/fetch/uri.ts'
import { openProgress } from '../../core/agent/progress.ts'
import { decodeTaskInfo, encodeTaskInfo } from '../../core/api/convert-task.ts'
import { TaskInfo as TaskInfoProto } from '../../core/api/gen/cluster.ts'
import { errorMessage } from '../../core/base/errors.ts'
import { type FetchUri, type Image, type VolumeMount } from '../../core/model/container.ts'
import { parseTaskId } from '../../core/model/ids.ts'
import { taskInfoOf } from '../../core/services/task.ts'
import { parseApp } from '../../core/services/parse-app.ts'
import { openManualClock } from '../support/agent-clock.ts'
import { shellTask } from '../support/agent-process.ts'

const day = 24 * 3_600_000

t.test('names of images', async (t) => {
  const good = [
    ['busybox', 'docker://docker.io/library/busybox:latest', 'docker.io'],
    ['team/app:v1', 'docker://docker.io/team/app:v1', 'docker.io'],
    ['localhost/app', 'docker://localhost/app:latest', 'localhost'],
    ['docker://reg.example:5000/a/b:v1', 'docker://reg.example:5000/a/b:v1', 'reg.example:5000'],
    ['reg.example:5000/a', 'docker://reg.example:5000/a:latest', 'reg.example:5000'],
    ['a@sha256:00', 'docker://docker.io/library/a@sha256:00', 'docker.io'],
    ['oci:/srv/layout:v1', 'oci:/srv/layout:v1', undefined],
    ['docker-archive:/srv/a.tar', 'docker-archive:/srv/a.tar', undefined],
  ] as const
  for (const [reference, name, registry] of good)
    t.match(parseImageSource(reference), { name, ...(registry && { registry }) })
  for (const reference of [
    '',
    '-x',
    '--authfile=x',
    'a b',
    'oci:relative',
    'a;b',
    'docker://',
    '../x',
    'a\nb',
    'oci:/a\0',
  ]) {
    t.throws(() => parseImageSource(reference), { code: 'ERR_AGENT_IMAGE_NAME' }, JSON.stringify(reference))
  }
  const digest = 'sha256:11'
  t.equal(pinned(parseImageSource('reg.example:5000/a:v1'), digest), 'docker://reg.example:5000/a@sha256:11')
  t.equal(pinned(parseImageSource('a@sha256:00'), digest), 'docker://docker.io/library/a@sha256:11')
})

t.test('what an image runs', async (t) => {
  const config = (entrypoint: readonly string[], cmd: readonly string[]) =>
    parseImageConfig({ config: { Entrypoint: entrypoint, Cmd: cmd } })
  const command = (value: string, ...argv: readonly string[]) => ({ shell: false, value, arguments: argv, env: {} })
  const cases = [
    [command(''), config([], ['c']), ['c']],
    [command(''), config(['e'], []), ['e']],
    [command(''), config(['e', 'x'], ['c']), ['e', 'x', 'c']],
    [command('', 'a', 'b'), config(['e'], ['c']), ['e', 'a', 'b']],
    [command('', 'a', 'b'), config([], ['c']), ['a', 'b']],
    [command('v'), config(['e'], ['c']), ['v']],
    [command('v', 'zero', 'one'), config(['e'], ['c']), ['v', 'one']],
    [{ ...command('echo hi'), shell: true }, config(['e'], ['c']), ['/bin/sh', '-c', 'echo hi']],
  ] as const
  for (const [given, image, argv] of cases) t.same(imageArgv(given, image), argv, argv.join(' '))
  t.throws(() => imageArgv(command(''), config([], [])), { code: 'ERR_AGENT_COMMAND' })
  const nothing = { entrypoint: [], cmd: [], env: [], workingDir: '', user: '' }
  for (const odd of [undefined, 7, {}, { config: null }, { config: { Entrypoint: 'sh', Env: [1], User: 3 } }]) {
    t.same(parseImageConfig(odd), nothing, JSON.stringify(odd))
  }
})

t.test('users of an image', async (t) => {
  const bases = { passwd: 'root:x:0:0::/root:\napp:x:7:8::/home/app:\n', group: 'staff:x:50:\n' }
  t.same(findIdentity('', bases), { uid: 0, gid: 0, home: '/root' })
  t.same(findIdentity('app', bases), { uid: 7, gid: 8, home: '/home/app' })
  t.same(findIdentity('7', bases), { uid: 7, gid: 8, home: '/home/app' })
  t.same(findIdentity('99', bases), { uid: 99, gid: 0 })
  t.same(findIdentity('app:staff', bases), { uid: 7, gid: 50, home: '/home/app' })
  t.same(findIdentity('1:2', { passwd: '', group: '' }), { uid: 1, gid: 2 })
  for (const bad of ['nobody', 'app:none', '-1', '1e3', '99999999999']) {
    t.throws(() => findIdentity(bad, bases), { code: 'ERR_AGENT_USER' }, bad)
  }
})

t.test('links within a root file system', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'weft-inside-'))
  t.teardown(() => rmSync(root, { recursive: true }))
  mkdirSync(join(root, 'usr/bin'), { recursive: true })
  writeFileSync(join(root, 'usr/bin/sh'), 'x')
  const links = { bin: 'usr/bin', abs: '/usr', up: '../../../../etc', loop: 'loop', 'usr/back': '../usr/bin/../../..' }
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(root, name))
  const cases = [
    ['/bin/sh', 'usr/bin/sh'],
    ['abs/bin/sh', 'usr/bin/sh'],
    ['up/passwd', 'etc/passwd'],
    ['/../../x', 'x'],
    ['usr/back/etc', 'etc'],
    ['none/../y', 'y'],
  ] as const
  for (const [path, found] of cases) t.equal(resolveInside(root, path), join(root, found), path)
  t.throws(() => resolveInside(root, '/loop/x'), { code: 'ERR_AGENT_PATH' })
  t.equal(readInside(root, 'up/passwd'), '', "the machine's own file is out of reach")
})

t.test('images that may go', async (t) => {
  const image = (key: string, daysAgo: number, sizeBytes: number, inUse = false): StoredImage => {
    return { key, sizeBytes, usedAtMs: 100 * day - daysAgo * day, inUse }
  }
  const policy = { maxBytes: 100, maxAgeMs: 7 * day, graceMs: 600_000 }
  const cases = [
    ['all fits', [image('a', 1, 50), image('b', 2, 50)], []],
    ['too old', [image('a', 8, 1), image('b', 7, 1)], ['a']],
    ['old, in use', [image('a', 8, 1, true)], []],
    ['too much', [image('a', 1, 60), image('b', 3, 30), image('c', 2, 30)], ['b']],
    ['too much in use', [image('a', 1, 200, true), image('b', 3, 30)], ['b']],
    ['asked for just now', [image('a', 0, 200)], []],
  ] as const
  for (const [name, images, gone] of cases) t.same(expiredImages(images, policy, 100 * day), gone, name)
})

t.test('work that several wait for', async (t) => {
  const flights = openFlights<number>()
  const work = Promise.withResolvers<number>()
  let [started, aborted] = [0, 0]
  const begin = ({ signal }: { readonly signal: AbortSignal }) => {
    started++
    signal.addEventListener('abort', () => aborted++)
    return work.promise
  }
  const [one, two] = [new AbortController(), new AbortController()]
  const who = ({ signal }: AbortController) => ({ signal, onProgress: () => undefined })
  const [first, second] = [flights.join('k', who(one), begin), flights.join('k', who(two), begin)]
  one.abort(new Error('left'))
  await t.rejects(first, /left/)
  t.equal(aborted, 0, 'it goes on for the other one')
  work.resolve(7)
  t.equal(await second, 7)
  t.equal(started, 1)
  const hangs = flights.join('k', who(two), begin)
  t.equal(await hangs, 7, 'a later one starts anew')
  const third = new AbortController()
  const lonely = flights.join('l', who(third), ({ signal }) => {
    signal.addEventListener('abort', () => aborted++)
    return new Promise<number>(() => undefined)
  })
  await Promise.resolve()
  third.abort(new Error('left'))
  await t.rejects(lonely, /left/)
  t.ok(aborted > 0, 'nobody waits: it is given up')
})

t.test('URIs', async (t) => {
  const uri = (text: string, change: Partial<FetchUri> = {}): FetchUri => {
    return { uri: text, executable: false, extract: true, cache: false, ...change }
  }
  const good = [
    [uri('/srv/a.tar.gz'), { source: { kind: 'file', path: '/srv/a.tar.gz' }, output: ['a.tar.gz'], archive: 'tar' }],
    [
      uri('file:///srv/a%20b.zip'),
      { source: { kind: 'file', path: '/srv/a b.zip' }, output: ['a b.zip'], archive: 'zip' },
    ],
    [uri('http://h/d/x.gz?q=1#f'), { source: { kind: 'http' }, output: ['x.gz'], archive: 'gzip' }],
    [uri('http://h/x.tgz', { extract: false }), { output: ['x.tgz'] }],
    [uri('http://h/get?id=1', { outputFile: 'd/e.txz' }), { output: ['d', 'e.txz'], archive: 'tar' }],
    [
      uri('https://u:p%40@h/x'),
      { label: 'https://h/x', source: { url: 'https://h/x', authorization: 'Basic dTpwQA==' } },
    ],
    [uri('http://h/%2e%2e%2fx'), { output: ['.._x'] }],
  ] as const
  for (const [given, plan] of good) t.match(planFetch(given), plan, given.uri)
  const bad = [
    uri('ftp://h/x'),
    uri('x'),
    uri('http://h/'),
    uri('file://host/x'),
    uri('/x', { outputFile: '../x' }),
    uri('/x', { outputFile: '/x' }),
    uri('/x', { outputFile: 'stdout' }),
    uri('/srv/stderr'),
    uri('http://h/..'),
  ]
  for (const given of bad)
    t.throws(() => planFetch(given), { code: 'ERR_AGENT_FETCH' }, `${given.uri} ${given.outputFile}`)
  try {
    planFetch(uri('ftp://user:hush@h/x'))
  } catch (error) {
    t.notMatch(errorMessage(error), /hush/)
  }
})

t.test('words on what takes long', async (t) => {
  const clock = openManualClock()
  const told: string[] = []
  const progress = openProgress({ clock, tell: (message) => void told.push(message) })
  progress.onProgress('a')
  progress.onProgress('b')
  await clock.advance(1000)
  t.same(told, ['b'])
  progress.onProgress('c')
  await clock.advance(9000)
  t.same(told, ['b'], 'not too often')
  await clock.advance(1000)
  await clock.advance(10_000)
  t.same(told, ['b', 'c'], 'what has not changed is not told again')
  progress.onProgress('d')
  progress.close()
  await clock.advance(20_000)
  t.same(told, ['b', 'c'])
})

t.test('container and fetch on their way to an agent', async (t) => {
  const images: readonly (Image | undefined)[] = [
    undefined,
    { kind: 'directory', path: '/srv/root' },
    { kind: 'tarball', uri: 'http://h/a.tar' },
    { kind: 'oci', reference: 'app:v1', forcePull: true },
  ]
  const sources: readonly VolumeMount['source'][] = [
    { kind: 'host', path: '/a' },
    { kind: 'persistent', id: 'a' },
    { kind: 'shared', path: 'a' },
    { kind: 'secret', value: 's' },
  ]
  const volumes = sources.map((source, i) => ({ containerPath: `c${i}`, mode: i === 0 ? 'ro' : 'rw', source }) as const)
  const fetch = [
    { uri: '/a', executable: true, extract: false, cache: true, outputFile: 'b' },
    { uri: '/b', executable: false, extract: true, cache: false },
  ]
  for (const image of images) {
    const container = { type: 'docker', volumes, privileged: true, ...(image && { image }) } as const
    const info = shellTask('t', 'true', { container, fetch })
    const bytes = TaskInfoProto.encode(encodeTaskInfo(info)).finish()
    t.same(decodeTaskInfo(TaskInfoProto.decode(bytes), 'task'), info, image?.kind ?? 'no image')
  }
})

t.test('apps with images', async (t) => {
  const context = { networkNames: new Set<string>(), vipConflict: () => undefined, pathConflict: () => undefined }
  const placed = (app: object) => {
    const definition = parseApp({ id: '/a', networks: [{ mode: 'host' }], ...app }, context)
    const record = { definition, version: 1, configVersion: 1, scalingVersion: 1, goal: 'run', history: [] } as const
    const info = shellTask('x', '')
    const pool = { agentId: info.agentId, place: { hostname: 'h' } }
    // Only what taskInfoOf reads of a placement.
    return taskInfoOf({ record, pool, resources: info.resources, hostPorts: [31000] } as never, parseTaskId('x'))
  }
  const docker = { image: 'oci:/srv/layout:v1', forcePullImage: true }
  t.match(placed({ container: { docker } }), {
    command: { shell: false, value: '', arguments: [] },
    container: { type: 'mesos', image: { kind: 'oci', reference: docker.image, forcePull: true }, volumes: [] },
  })
  t.match(placed({ args: ['a', 'b'], container: { docker } }).command, { value: '', arguments: ['a', 'b'] })
  t.match(placed({ cmd: 'x', container: { type: 'DOCKER', docker } }), {
    command: { shell: true, value: 'x' },
    container: { type: 'docker' },
  })
  t.match(placed({ container: { docker: { image: 'directory:/srv/root' } } }).container?.image, {
    kind: 'directory',
    path: '/srv/root',
  })
  t.match(placed({ container: { docker: { image: 'tarball:/srv/a.tar' } } }).container?.image, {
    kind: 'tarball',
    uri: '/srv/a.tar',
  })
  const volumes = [
    { containerPath: '/d', hostPath: '/srv', mode: 'RO' },
    { containerPath: 's', secret: 'key' },
  ]
  const fetch = [{ uri: 'http://h/a.tgz', destPath: 'x.tgz' }]
  t.match(placed({ cmd: 'x', container: { volumes }, secrets: { key: { source: '/db' } }, fetch }), {
    container: {
      volumes: [
        { containerPath: '/d', mode: 'ro', source: { kind: 'host', path: '/srv' } },
        { containerPath: 's', mode: 'ro', source: { kind: 'secret', value: '', source: '/db' } },
      ],
    },
    fetch: [{ uri: 'http://h/a.tgz', extract: true, executable: false, cache: false, outputFile: 'x.tgz' }],
  })
  t.equal(placed({ cmd: 'x' }).container, undefined)
})
