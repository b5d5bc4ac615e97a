import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { openStore } from '../../core/store/open.ts'
import { openRedisStore } from '../../core/store/redis.ts'
import { type Store } from '../../core/store/store.ts'
import { openZooKeeperStore } from '../../core/store/zookeeper.ts'
import { freePort, lacks, startStoreServer, type StoreServer } from '../support/store-server.ts'
import { openTcpProxy } from '../support/tcp-proxy.ts'

const { signal } = new AbortController()
const at = (url: string) => openStore(url, { stateDir: '/nonexistent' })

/** How long a leader is believed without being heard of. */
const holdMs = 1_500

interface Kind {
  readonly name: 'redis' | 'zookeeper'
  /** Address of a data set of its own, with a short time. */
  readonly url: (server: Pick<StoreServer, 'port'>, label: string) => string
}

const kinds: readonly Kind[] = [
  { name: 'redis', url: ({ port }, label) => `redis://127.0.0.1:${port}?prefix=${label}&lease=${holdMs}` },
  { name: 'zookeeper', url: ({ port }, label) => `zk://127.0.0.1:${port}/${label}?session=${holdMs}` },
]

const program = fileURLToPath(new URL('../support/store-candidate.ts', import.meta.url))

/** A candidate in a process of its own, and what it told so far. */
interface Candidate {
  readonly child: ChildProcess
  readonly events: readonly { readonly event: string; readonly detail: unknown }[]
  /** Resolves when it has told of the event. */
  heard(event: string): Promise<void>
}

function startCandidate(t: Test, url: string, name: string): Candidate {
  const child = spawn(process.execPath, [program, url, name], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const events: { event: string; detail: unknown }[] = []
  const lines = createInterface({ input: child.stdout })
  lines.on('line', (line) => events.push(JSON.parse(line)))
  const heard = (event: string) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!events.some((entry) => entry.event === event)) return
        lines.off('line', look)
        resolve()
      }
      lines.on('line', look)
      look()
    })
  return { child, events, heard }
}

/** What the leaders wrote, in the server's order: terms never go back, so no two led at once. */
async function checkWitnesses(t: Test, url: string, terms: number): Promise<void> {
  const store = await at(url)
  const witnesses = [...(await store.list('witness/')).values()].toSorted((a, b) => a.revision - b.revision)
  await store.close()
  const order = witnesses.map(({ value }) => Number(value))
  t.same(
    order,
    order.toSorted((a, b) => a - b),
  )
  t.equal(new Set(order).size, terms)
}

async function stopAndResume(t: Test, url: string): Promise<void> {
  const first = startCandidate(t, url, 'first')
  await first.heard('wrote')
  const second = startCandidate(t, url, 'second')
  await second.heard('waiting')
  first.child.kill('SIGSTOP')
  await second.heard('wrote')
  first.child.kill('SIGCONT')
  await first.heard('refused')
  t.same(
    first.events.map(({ event, detail }) => [event, detail]),
    [
      ['waiting', 'first'],
      ['elected', 1],
      ['wrote', 1],
      ['lost', 1],
      ['refused', 'ERR_STORE_TERM'],
    ],
    'it is told before its next write is refused',
  )
  t.notOk(second.events.some(({ event }) => event === 'lost'))
  await checkWitnesses(t, url, 2)
}

async function killLeader(t: Test, url: string): Promise<void> {
  const first = startCandidate(t, url, 'first')
  await first.heard('wrote')
  const second = startCandidate(t, url, 'second')
  await second.heard('waiting')
  first.child.kill('SIGKILL')
  const killedMs = performance.now()
  await second.heard('elected')
  const tookMs = performance.now() - killedMs
  t.ok(tookMs < 3_000, `elected after ${Math.round(tookMs)} ms`)
  await second.heard('wrote')
  await checkWitnesses(t, url, 2)
}

async function cutOff(t: Test, server: StoreServer, kind: Kind): Promise<void> {
  const proxy = await openTcpProxy(server.port)
  t.teardown(() => proxy.close())
  const a = await at(kind.url(proxy, 'cut'))
  const b = await at(kind.url(server, 'cut'))
  t.teardown(() => Promise.all([a.close(), b.close()]))
  const first = await a.elect('a', { signal })
  await a.write([{ key: 'k', value: 'a' }], { term: first.term })
  let lostMs = 0
  first.lost.addEventListener('abort', () => {
    lostMs = performance.now()
  })
  const waiting = b.elect('b', { signal })
  proxy.cut()
  const onItsWay = a.write([{ key: 'k', value: 'cut off' }], { term: first.term }).catch(codeOf)
  const second = await waiting
  t.ok(lostMs > 0 && lostMs < performance.now(), 'the old leader knows before there is a new one')
  t.equal(second.term, first.term + 1)
  t.equal(await a.write([{ key: 'k', value: 'late' }], { term: first.term }).catch(codeOf), 'ERR_STORE_TERM')
  t.match(await onItsWay, /^ERR_STORE_(UNAVAILABLE|TERM)$/)
  proxy.mend()
  const third = a.elect('a again', { signal })
  await second.resign()
  t.equal((await third).term, second.term + 1, 'it comes back by itself')
  t.equal((await a.get('k'))?.value, 'a')
}

/** The server dies at once and comes back with its data: all that was acknowledged is there. */
async function restartServer(t: Test, server: StoreServer, url: string): Promise<void> {
  const store = await at(url)
  t.teardown(() => store.close())
  const first = await store.elect('a', { signal })
  let acknowledged = 0
  const writing = (async () => {
    for (let i = 1; i < 10_000; i++) {
      await store.write([{ key: `log/${i}`, value: 'x' }], { term: first.term })
      acknowledged = i
    }
  })().catch(codeOf)
  while (acknowledged < 50) await new Promise((resolve) => setImmediate(resolve))
  await server.kill()
  t.match(await writing, /^ERR_STORE_(UNAVAILABLE|TERM)$/)
  await server.start()
  await first.resign()
  const second = await store.elect('a', { signal })
  t.ok(second.term > first.term)
  const kept = await store.list('log/')
  t.ok(kept.size >= acknowledged, `${acknowledged} acknowledged, ${kept.size} kept`)
  await store.write([{ key: 'log/after', value: 'x' }], { term: second.term })
  await second.resign()
}

/** The server comes back without its data: nobody goes on as if nothing had happened. */
async function loseData(t: Test, kind: Kind): Promise<void> {
  const server = await (kind.name === 'redis'
    ? startStoreServer('redis', '--appendonly', 'no')
    : startStoreServer('zookeeper'))
  t.teardown(() => server.remove())
  const url = kind.url(server, 'lost') + (kind.name === 'redis' ? '&durability=unchecked' : '')
  const [leader, standby] = [await at(url), await at(url)]
  t.teardown(() => Promise.all([leader.close(), standby.close()]))
  const first = await leader.elect('a', { signal })
  await leader.write([{ key: 'k', value: 'x' }], { term: first.term })
  const waiting = standby.elect('b', { signal }).catch(codeOf)
  await firstOf(standby)
  await server.kill()
  rmSync(join(server.directory, 'version-2'), { recursive: true, force: true })
  await server.start(...(kind.name === 'redis' ? ['--appendonly', 'no'] : []))
  t.equal(await leader.elect('a', { signal }).catch(codeOf), 'ERR_STORE_WENT_BACK')
  t.equal(await waiting, 'ERR_STORE_WENT_BACK', 'a standby has seen the term too')
  t.ok(first.lost.aborted)
  t.match(await leader.write([], { term: first.term }).catch(codeOf), /^ERR_STORE_(WENT_BACK|TERM)$/)
}

/** As Redis with `everysec` after a crash of the machine: what was acknowledged last is not there. */
async function loseLastSecond(t: Test, kind: Kind): Promise<void> {
  const args = kind.name === 'redis' ? ['--appendfsync', 'everysec'] : []
  const server = await startStoreServer(kind.name, ...args)
  const kept = `${server.directory}-kept`
  t.teardown(async () => {
    await server.remove()
    rmSync(kept, { recursive: true, force: true })
  })
  const url = kind.url(server, 'last') + (kind.name === 'redis' ? '&durability=unchecked' : '')
  const leader = await at(url)
  t.teardown(() => leader.close())
  const first = await leader.elect('a', { signal })
  await leader.write([{ key: 'k', value: 'before' }], { term: first.term })
  cpSync(server.directory, kept, { recursive: true })
  await leader.write([{ key: 'k', value: 'in the last second' }], { term: first.term })
  await server.kill()
  rmSync(server.directory, { recursive: true })
  cpSync(kept, server.directory, { recursive: true })
  await server.start(...args)
  await new Promise<void>((resolve) => {
    if (first.lost.aborted) resolve()
    else first.lost.addEventListener('abort', () => resolve(), { once: true })
  })
  t.pass('a leader that writes nothing learns it too')
  const late = leader.write([{ key: 'k', value: 'late' }], { term: first.term })
  t.match(await late.catch(codeOf), /^ERR_STORE_(WENT_BACK|TERM|UNAVAILABLE)$/, 'it has seen more')
  const fresh = await at(url)
  t.equal((await fresh.get('k'))?.value, 'before', 'who comes later believes the server')
  await fresh.close()
}

/** Waits until the candidate has had an answer of the server. */
async function firstOf(store: Store): Promise<void> {
  for await (const name of store.watchLeader({ signal })) if (name === 'a') return
}

function codeOf(error: unknown): string {
  return String(Reflect.get(Object(error), 'code'))
}

for (const kind of kinds) {
  t.test(kind.name, { skip: lacks(kind.name), jobs: 3, buffered: true }, async (t) => {
    const server = await startStoreServer(kind.name)
    t.teardown(() => server.remove())
    const shared = [
      t.test('a leader that was stopped past its time, and goes on', (t) =>
        stopAndResume(t, kind.url(server, 'stopped')),
      ),
      t.test('a leader is killed', (t) => killLeader(t, kind.url(server, 'killed'))),
      t.test('a leader is cut off from the server', (t) => cutOff(t, server, kind)),
    ]
    await Promise.all(shared)
    await t.test('the server is killed and comes back', (t) => restartServer(t, server, kind.url(server, 'back')))
    await t.test('the server comes back without its data', (t) => loseData(t, kind))
    await t.test('the server comes back without its last second', (t) => loseLastSecond(t, kind))
  })
}

t.test('redis that forgets', { skip: lacks('redis') }, async (t) => {
  const server = await startStoreServer('redis', '--appendfsync', 'everysec')
  t.teardown(() => server.remove())
  await t.rejects(at(server.url), { code: 'ERR_STORE_DURABILITY', message: /appendfsync everysec, always is needed/ })
  const store = await at(`${server.url}?durability=unchecked`)
  t.ok(await store.write([{ key: 'k', value: 'v' }], { term: 0 }))
  await store.close()
})

t.test('redis with a password', { skip: lacks('redis') }, async (t) => {
  const server = await startStoreServer('redis', '--requirepass', 'p@ss')
  t.teardown(() => server.remove())
  await t.rejects(openRedisStore(server.url, { openLimitMs: 1_000 }), {
    code: 'ERR_STORE_UNAVAILABLE',
    message: /NOAUTH/,
  })
  const store = await at(server.url.replace('//', '//:p%40ss@'))
  t.equal(await store.get('k'), undefined)
  await store.close()
})

t.test('zookeeper with a password', { skip: lacks('zookeeper') }, async (t) => {
  const server = await startStoreServer('zookeeper')
  t.teardown(() => server.remove())
  const store = await at(server.url.replace('//', '//weft:p%40ss@'))
  await store.write([{ key: 'k', value: 'v' }], { term: 0 })
  await store.close()
  await t.rejects(at(server.url), { code: 'ERR_STORE_AUTH' })
  const small = await at(`${server.url.replace('//', '//weft:p%40ss@')}?maxRequest=10000`)
  const large = small.write([{ key: 'k', value: 'v'.repeat(10_000) }], { term: 0 })
  await t.rejects(large, { code: 'ERR_STORE_TOO_LARGE', message: /jute.maxbuffer/ })
  await small.close()
})

t.test('nobody there, or no address', async (t) => {
  const port = await freePort()
  const options = { openLimitMs: 300 }
  await t.rejects(openRedisStore(`redis://127.0.0.1:${port}`, options), { code: 'ERR_STORE_UNAVAILABLE' })
  await t.rejects(openZooKeeperStore(`zk://127.0.0.1:${port}`, options), { code: 'ERR_STORE_UNAVAILABLE' })
  const wrong = [
    'redis://',
    'redis://h/x',
    'redis://h?prefx=1',
    'redis://h?lease=1',
    'zk://',
    'zk://h/../x',
    'etcd://h',
  ]
  for (const url of wrong) await t.rejects(at(url), { code: 'ERR_STORE_URL' }, url)
})
