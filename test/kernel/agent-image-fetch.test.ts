import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { openFetchCache } from '../../core/agent/fetch/cache.ts'
import { fetchAll } from '../../core/agent/fetch/fetcher.ts'
import { errorMessage } from '../../core/base/errors.ts'
import { type FetchUri } from '../../core/model/container.ts'
import { canMakeHosts } from '../support/hosts.ts'

const user = { uid: 1234, gid: 1235 }

/** Answers on loopback; what was asked is kept. */
async function openServer(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    answer(request, response)
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const close = () => {
    server.closeAllConnections()
    server.close()
  }
  return { url: `http://127.0.0.1:${port}`, asked, close }
}

function makeWorld() {
  const dir = mkdtempSync(join(tmpdir(), 'weft-fetch-'))
  chmodSync(dir, 0o755)
  const [files, hidden] = [join(dir, 'files'), join(dir, 'hidden')]
  for (const path of [files, hidden]) mkdirSync(path)
  const options = {
    cache: openFetchCache(join(dir, 'cache'), { maxBytes: 3000, maxAgeMs: 1e9, graceMs: 0 }),
    hidden: [hidden],
  }
  let count = 0
  const fetch = async (
    uris: readonly (Partial<FetchUri> & { readonly uri: string })[],
    change: { readonly limitBytes?: number; readonly signal?: AbortSignal } = {},
  ) => {
    const directory = join(dir, `sandbox-${count++}`)
    mkdirSync(directory)
    for (const name of ['stdout', 'stderr']) writeFileSync(join(directory, name), 'ours')
    const { limitBytes = 10_000_000, signal = new AbortController().signal } = change
    const target = { directory, work: join(dir, `work-${count}`), user, limitBytes }
    const whole = uris.map((uri) => ({ executable: false, extract: true, cache: false, ...uri }))
    const result = await fetchAll(options, { uris: whole, target }, { signal, onProgress: () => undefined }).then(
      () => '',
      (error: unknown) => errorMessage(error),
    )
    return { directory, problem: result, left: existsSync(target.work), at: (path: string) => join(directory, path) }
  }
  return { dir, files, hidden, fetch, remove: () => rmSync(dir, { recursive: true }) }
}

t.test('files and archives', { skip: canMakeHosts }, async (t) => {
  const { files, hidden, fetch, remove } = makeWorld()
  t.teardown(remove)
  const tree = join(files, 'tree')
  mkdirSync(join(tree, 'sub'), { recursive: true })
  writeFileSync(join(tree, 'sub/prog'), '#!/bin/sh\n', { mode: 0o4755 })
  writeFileSync(join(tree, 'stdout'), 'forged')
  const pack = (name: string, ...flags: readonly string[]) =>
    execFileSync('tar', ['-C', tree, ...flags, '-cf', join(files, name), '.'])
  pack('a.tar')
  pack('a.tar.gz', '-z')
  pack('a.tgz', '-z')
  pack('a.tar.xz', '-J')
  pack('a.tar.bz2', '-j')
  pack('a.tar.zst', '--zstd')
  execFileSync('zip', ['-qr', join(files, 'a.zip'), '.'], { cwd: tree })
  for (const name of ['a.tar', 'a.tar.gz', 'a.tgz', 'a.tar.xz', 'a.tar.bz2', 'a.tar.zst', 'a.zip']) {
    const { problem, at, left } = await fetch([{ uri: join(files, name) }])
    t.equal(problem, '', name)
    const stat = statSync(at('sub/prog'))
    t.match(stat, { uid: 1234, gid: 1235 }, `${name}: of the task's user`)
    t.equal(stat.mode & 0o7777, 0o755, `${name}: no setuid`)
    t.equal(readFileSync(at('stdout'), 'utf8'), 'ours', `${name}: the task's output is not replaced`)
    t.notOk(left, 'nothing is left of it')
  }
  chmodSync(join(tree, 'sub/prog'), 0o755)
  execFileSync('gzip', ['-k', join(tree, 'sub/prog')])
  const one = await fetch([{ uri: `file://${join(files, 'tree/sub/prog.gz')}` }])
  t.equal(readFileSync(one.at('prog'), 'utf8'), '#!/bin/sh\n')
  const plain = await fetch([{ uri: join(files, 'a.tgz'), extract: false, executable: true, outputFile: 'd/e/f' }])
  t.match(statSync(plain.at('d/e/f')), { uid: 1234 })
  t.equal(statSync(plain.at('d/e/f')).mode & 0o777, 0o755)

  writeFileSync(join(files, 'root-only'), 'x', { mode: 0o600 })
  writeFileSync(join(hidden, 'key'), 'x')
  symlinkSync(join(hidden, 'key'), join(files, 'link'))
  writeFileSync(join(files, 'broken.tar.gz'), 'no archive')
  const refusals = [
    [join(files, 'none'), /none: ENOENT/],
    [files, /it is no file/],
    ['/dev/zero', /it is no file/],
    [join(files, 'root-only'), /Permission denied/],
    [join(files, 'link'), /not for tasks/],
    [join(files, 'broken.tar.gz'), /broken.tar.gz: (tar|gzip): /],
  ] as const
  for (const [uri, message] of refusals) {
    const { problem, left } = await fetch([{ uri }])
    t.match(problem, message)
    t.match(problem, /^can't fetch /)
    t.notOk(left)
  }
  t.match((await fetch([{ uri: join(files, 'a.tar') }], { limitBytes: 100 })).problem, /larger than/)
})

t.test('archives that lead out', { skip: canMakeHosts }, async (t) => {
  const { dir, files, fetch, remove } = makeWorld()
  t.teardown(remove)
  const outside = join(dir, 'outside')
  mkdirSync(outside)
  chmodSync(outside, 0o777)
  writeFileSync(join(files, 'payload'), 'escaped')
  const tar = (name: string, ...args: readonly string[]) => {
    execFileSync('tar', ['-C', files, '-cPf', join(files, name), ...args], { stdio: 'pipe' })
    return join(files, name)
  }
  const up = '../'.repeat(20)
  const dots = tar('dots.tar', `--transform=s,payload,${up}${outside.slice(1)}/dots,`, 'payload')
  const absolute = tar('absolute.tar', `--transform=s,payload,${outside}/absolute,`, 'payload')
  symlinkSync(outside, join(files, 'out'))
  const link = tar('link.tar', 'out')
  const through = tar('through.tar', '--transform=s,payload,out/through,', 'payload')
  execFileSync('tar', ['-C', files, '-rPf', join(files, 'link.tar'), '--transform=s,payload,out/within,', 'payload'])
  for (const uri of [dots, absolute]) await fetch([{ uri }])
  await fetch([{ uri: link }, { uri: through }])
  await fetch([{ uri: link }, { uri: join(files, 'payload'), outputFile: 'out/file' }])
  const bomb = join(files, 'bomb.tar.gz')
  execFileSync('sh', [
    '-c',
    `head -c 200000000 /dev/zero > ${join(files, 'zeros')} && tar -C ${files} -czf ${bomb} zeros && rm ${join(files, 'zeros')}`,
  ])
  t.match((await fetch([{ uri: bomb }])).problem, /unpacks to more than 9 MB/)
  for (const name of ['dots', 'absolute', 'through', 'within', 'file']) t.notOk(existsSync(join(outside, name)), name)
  const both = await fetch([{ uri: link }, { uri: through }])
  t.ok(both.problem !== '' || lstatSync(both.at('out')).isDirectory(), 'a folder takes the place of a link')
})

t.test('servers', { skip: canMakeHosts }, async (t) => {
  const { fetch, remove, dir } = makeWorld()
  t.teardown(remove)
  let body = 'first'
  const server = await openServer((request, response) => {
    const { pathname } = new URL(`http://x${request.url}`)
    const etag = `"${body}"`
    const isTagged = pathname === '/etag' || pathname.startsWith('/big')
    const isKnown = isTagged && request.headers['if-none-match'] === etag
    if (isKnown) return void response.writeHead(304).end()
    if (isTagged) return void response.writeHead(200, { etag }).end(pathname === '/etag' ? body : body.repeat(400))
    if (pathname === '/moved') return void response.writeHead(302, { location: '/etag' }).end()
    if (pathname === '/auth') return void response.writeHead(200).end(request.headers.authorization ?? 'none')
    if (pathname === '/cut') return cutShort(request, response)
    if (pathname === '/endless') return writeForever(response)
    if (pathname !== '/hang') response.writeHead(404).end()
  })
  t.teardown(server.close)
  const text = async (path: string, change: Partial<FetchUri> = {}) => {
    const { at, problem } = await fetch([{ uri: `${server.url}${path}`, outputFile: 'f', ...change }])
    return problem === '' ? readFileSync(at('f'), 'utf8') : problem
  }
  t.equal(await text('/moved'), 'first')
  t.equal(await text('/etag', { cache: true }), 'first')
  server.asked.length = 0
  t.equal(await text('/etag', { cache: true }), 'first', 'from the cache')
  body = 'second'
  t.equal(await text('/etag', { cache: true }), 'second', 'which asks each time whether it is right')
  t.same(server.asked, ['GET /etag', 'GET /etag'])
  for (const name of ['a', 'b', 'c', 'd']) await text(`/big${name}`, { cache: true })
  t.ok(readdirSync(join(dir, 'cache')).length <= 3, 'the cache stays within its size')
  t.equal(await text('/auth', { uri: `${server.url.replace('//', '//me:p@')}/auth` }), 'Basic bWU6cA==')
  t.match(await text('/none'), /the server answered 404/)
  t.match(await text('/cut'), /can't fetch http:.*\/cut: /)
  t.match(await text('/none', { uri: 'http://127.0.0.1:2/x' }), /ECONNREFUSED/)
  t.match(
    (await fetch([{ uri: `${server.url}/endless`, outputFile: 'f' }], { limitBytes: 2_000_000 })).problem,
    /larger than 1 MB/,
  )
  const aborting = new AbortController()
  const hangs = fetch([{ uri: `${server.url}/hang`, outputFile: 'f' }], { signal: aborting.signal })
  setTimeout(() => aborting.abort(new Error('given up')), 100)
  const { problem, left, at } = await hangs
  t.equal(problem, 'given up')
  t.notOk(left || existsSync(at('f')), 'nothing of it stays')
})

function cutShort(request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200, { 'content-length': '100' }).end('short', () => request.destroy())
}

function writeForever(response: ServerResponse): void {
  const chunk = Buffer.alloc(65_536)
  const more = () => {
    while (!response.destroyed && response.write(chunk));
  }
  response.on('drain', more)
  more()
}
