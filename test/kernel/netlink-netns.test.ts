import { execFileSync } from 'node:child_process'
import {
  fstatSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { openRouteSocket } from '../../networking/netlink/route-socket.ts'
import { createNetns, deleteNetns, insideNetns, isNetns, openNetns, sameNetns } from '../../networking/netns.ts'
import { canMakeHosts } from '../support/hosts.ts'

const skip = canMakeHosts
const own = () => statSync('/proc/thread-self/ns/net').ino

function folderOf(t: Pick<typeof import('tap').default, 'teardown'>): string {
  const folder = mkdtempSync(join(tmpdir(), 'netns-'))
  t.teardown(() => {
    for (const name of readdirSync(folder))
      if (lstatSync(join(folder, name)).isFile() && isNetns(join(folder, name))) deleteNetns(join(folder, name))
    rmSync(folder, { recursive: true })
  })
  return folder
}

t.test('a namespace is made, entered, left and removed', { skip }, async (t) => {
  const before = own()
  const descriptors = readdirSync('/proc/self/fd').length
  const path = join(folderOf(t), 'below', 'one')
  createNetns(path)
  t.equal(own(), before, 'we came back')
  t.ok(isNetns(path))
  t.notOk(sameNetns(path, '/proc/self/ns/net'))
  t.ok(sameNetns(path, path))
  t.match(JSON.parse(execFileSync('nsenter', [`--net=${path}`, 'ip', '-j', 'link'], { encoding: 'utf8' })), [
    { ifname: 'lo', flags: ['LOOPBACK', 'UP', 'LOWER_UP'] },
  ])
  t.throws(() => createNetns(path), { code: 'ERR_NETNS_EXISTS' })

  const netns = openNetns(path)
  t.equal(fstatSync(netns.fd).ino, statSync(path).ino)
  t.equal(
    insideNetns(path, () => own()),
    statSync(path).ino,
  )
  t.ok(sameNetns(netns.fd, path))
  deleteNetns(path)
  t.notOk(isNetns(path))
  t.same(
    insideNetns(netns.fd, () => Object.keys(networkInterfaces())),
    ['lo'],
    'it lives while a descriptor is open',
  )
  netns.close()
  deleteNetns(path)
  t.equal(readdirSync('/proc/self/fd').length, descriptors, 'no descriptor is left')
  t.equal(own(), before)
})

t.test('the way back is taken whatever happens inside', { skip }, async (t) => {
  const folder = folderOf(t)
  const [one, two] = [join(folder, 'one'), join(folder, 'two')]
  createNetns(one)
  createNetns(two)
  const before = own()
  t.throws(
    () =>
      insideNetns(one, () => {
        throw new RangeError('inside')
      }),
    RangeError,
  )
  t.equal(own(), before)
  t.throws(() => insideNetns(one, async () => 1), { code: 'ERR_NETNS_ASYNC' })
  t.equal(own(), before)
  t.throws(() => insideNetns(one, () => insideNetns(join(folder, 'three'), () => 1)), { code: 'ERR_NETNS_NOT_FOUND' })
  t.equal(own(), before)
  t.same(
    insideNetns(one, () => [insideNetns(two, () => own()), own()]),
    [statSync(two).ino, statSync(one).ino],
    'nested',
  )
  t.equal(own(), before)
})

t.test('sockets stay where they were made', { skip }, async (t) => {
  const path = join(folderOf(t), 'one')
  createNetns(path)
  const socket = insideNetns(path, () => openRouteSocket())
  t.teardown(() => socket.close())
  t.same(
    (await socket.links()).map(({ name }) => name),
    ['lo'],
  )
  // With an address, listen() would bind later, after a look-up, and outside.
  const server = insideNetns(path, () => createServer((connection) => connection.end('inside')).listen(4711))
  t.teardown(() => server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  const script = 'exec 3<>/dev/tcp/127.0.0.1/4711; cat <&3'
  t.equal(await output('nsenter', [`--net=${path}`, 'bash', '-c', script]), 'inside')
})

async function output(command: string, args: readonly string[]): Promise<string> {
  const { execFile } = await import('node:child_process')
  return new Promise((resolve, reject) => {
    execFile(command, args, { timeout: 20_000 }, (error, stdout) => (error ? reject(error) : resolve(stdout)))
  })
}

t.test('a closed socket does nothing, whoever has its number now', { skip }, async (t) => {
  const path = join(folderOf(t), 'one')
  createNetns(path)
  const socket = openRouteSocket({ netns: path })
  socket.close()
  const next = openRouteSocket({ netns: path })
  t.teardown(() => next.close())
  socket.close()
  await t.rejects(socket.links(), { code: 'ERR_NETLINK_CLOSED' })
  await t.rejects(socket.perform([{ kind: 'nexthop.del', id: 1 }]), { code: 'ERR_NETLINK_CLOSED' })
  t.equal((await next.links()).length, 1)
})

t.test('what is no namespace is refused and left alone', { skip }, async (t) => {
  const folder = folderOf(t)
  const at = (name: string) => join(folder, name)
  writeFileSync(at('file'), 'precious')
  mkdirSync(at('folder'))
  symlinkSync('/proc/self/ns/net', at('link'))
  execFileSync('mkfifo', [at('fifo')])
  for (const [path, code] of [
    [at('missing'), 'ERR_NETNS_NOT_FOUND'],
    [at('file/below'), 'ERR_NETNS_NOT_FOUND'],
    [at('file'), 'ERR_NETNS_INVALID'],
    [at('folder'), 'ERR_NETNS_INVALID'],
    [at('fifo'), 'ERR_NETNS_INVALID'],
    ['/proc/self/ns/mnt', 'ERR_NETNS_INVALID'],
    ['/dev/null', 'ERR_NETNS_INVALID'],
  ] as const) {
    t.throws(() => openNetns(path), { code }, path)
    t.throws(() => openRouteSocket({ netns: path }), { code }, path)
    t.equal(isNetns(path), false, path)
  }
  for (const name of ['file', 'folder', 'link', 'fifo']) {
    t.throws(() => deleteNetns(at(name)), { code: 'ERR_NETNS_INVALID' }, name)
    t.throws(() => createNetns(at(name)), { code: 'ERR_NETNS_EXISTS' }, name)
  }
  t.throws(() => createNetns(at('file/below')), /file/)
  t.same(readdirSync(folder).sort(), ['fifo', 'file', 'folder', 'link'])
  t.throws(() => insideNetns(9999, () => 1), { code: 'ERR_NATIVE_EBADF' })
})

t.test('a file left by a crash or a reboot is removed', { skip }, async (t) => {
  const path = join(folderOf(t), 'left')
  writeFileSync(path, '')
  t.throws(() => createNetns(path), { code: 'ERR_NETNS_EXISTS' })
  deleteNetns(path)
  createNetns(path)
  t.ok(isNetns(path))
})
