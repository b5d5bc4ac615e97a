import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openMemoryStore } from '../../core/store/memory.ts'
import { openStore } from '../../core/store/open.ts'
import { type Store } from '../../core/store/store.ts'
import { lacks, startStoreServer } from '../support/store-server.ts'

const folder = mkdtempSync(join(tmpdir(), 'weft-store-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

const { signal } = new AbortController()
/** Opens the store of that label; of a shared one, further clients. */
type Open = (label: string) => Promise<Store>

const at = (url: string) => openStore(url, { stateDir: folder })
const embedded = {
  memory: async () => openMemoryStore(),
  sqlite: (label: string) => at(`sqlite:${join(folder, `${label}.db`)}`),
}
for (const [name, open] of Object.entries(embedded)) t.test(name, (t) => suite(t, open))

for (const kind of ['redis', 'zookeeper'] as const) {
  t.test(kind, { skip: lacks(kind) }, async (t) => {
    const server = await startStoreServer(kind)
    t.teardown(() => server.remove())
    const open = (label: string) =>
      at(kind === 'redis' ? `${server.url}?prefix=${label}` : server.url.replace(/weft$/, label))
    await suite(t, open)
    await sharedSuite(t, open)
  })
}

async function suite(t: Test, open: Open): Promise<void> {
  const withStore = async (label: string, body: (store: Store) => Promise<void>) => {
    const store = await open(label)
    try {
      await body(store)
    } finally {
      await store.close()
    }
  }

  await t.test('values, prefixes, revisions', (t) =>
    withStore('values', async (store) => {
      t.equal(await store.get('a/1'), undefined)
      const first = await store.write(
        [
          { key: 'a/2', value: 'two' },
          { key: 'a/1', value: 'ünï' },
          { key: 'a', value: 'not below a/' },
          { key: 'b/1', value: 'other' },
        ],
        { term: 0 },
      )
      t.same(await store.get('a/1'), { value: 'ünï', revision: first })
      t.same(
        [...(await store.list('a/'))].map(([key, { value }]) => [key, value]),
        [
          ['a/1', 'ünï'],
          ['a/2', 'two'],
        ],
      )
      const second = await store.write(
        [
          { key: 'a/1', value: undefined },
          { key: 'gone', value: undefined },
        ],
        { term: 0 },
      )
      t.ok(second > first)
      t.equal(await store.get('a/1'), undefined)
      const third = await store.write([{ key: 'a/1', value: 'again', revision: 0 }], { term: 0 })
      t.ok(third > second, 'a revision is not used twice, also after a removal')
      t.same([...(await store.list(''))].length, 4)
    }),
  )

  await t.test('a batch is all or nothing', (t) =>
    withStore('batch', async (store) => {
      const revision = await store.write([{ key: 'k', value: '1' }], { term: 0 })
      const cases = [
        { key: 'k', value: '2', revision: revision + 1 },
        { key: 'k', value: '2', revision: 0 },
        { key: 'absent', value: '2', revision },
        { key: 'k', value: undefined, revision: revision - 1 },
      ]
      for (const wrong of cases) {
        const batch = [{ key: 'side', value: 'effect' }, wrong]
        await t.rejects(store.write(batch, { term: 0 }), { code: 'ERR_STORE_CONFLICT' })
      }
      t.equal(await store.get('side'), undefined)
      const both = await Promise.allSettled([
        store.write([{ key: 'k', value: 'x', revision }], { term: 0 }),
        store.write([{ key: 'k', value: 'y', revision }], { term: 0 }),
        store.write([{ key: 'other', value: 'z' }], { term: 0 }),
      ])
      t.same(
        both.map(({ status }) => status),
        ['fulfilled', 'rejected', 'fulfilled'],
      )
      t.equal((await store.get('k'))?.value, 'x')
    }),
  )

  await t.test('terms', (t) =>
    withStore('terms', async (store) => {
      const first = await store.elect('one', { signal })
      await store.write([{ key: 'k', value: 'first' }], { term: first.term })
      const waiting = store.elect('two', { signal })
      const impatient = new AbortController()
      const given = t.rejects(store.elect('three', { signal: impatient.signal }), { name: 'AbortError' })
      impatient.abort()
      await given
      t.notOk(first.lost.aborted)
      await first.resign()
      const second = await waiting
      t.ok(first.lost.aborted, 'whoever resigned is told to stop')
      t.ok(second.term > first.term)
      await t.rejects(store.write([{ key: 'k', value: 'deposed' }], { term: first.term }), { code: 'ERR_STORE_TERM' })
      await store.write([{ key: 'k', value: 'second' }], { term: second.term })
      t.equal((await store.get('k'))?.value, 'second')
      const late = t.rejects(store.elect('late', { signal }), { code: 'ERR_STORE_CLOSED' })
      await store.close()
      await late
      t.ok(second.lost.aborted)
      await t.rejects(store.write([], { term: second.term }), { code: 'ERR_STORE_CLOSED' })
    }),
  )

  await t.test('keys are any text, and many', (t) =>
    withStore('keys', async (store) => {
      const odd = ['.', '..', '', 'a//b', 'a/%2F', 'a/\n', 'ä/🙂', 'a/../b', '-', '=', '-/x']
      const many = Array.from({ length: 3000 }, (_, i) => `tasks/${String(i).padStart(4, '0')}`)
      await store.write(
        [...odd, ...many].map((key) => ({ key, value: `of ${key}` })),
        { term: 0 },
      )
      for (const key of odd) t.equal((await store.get(key))?.value, `of ${key}`)
      t.same([...(await store.list('tasks/')).keys()], many)
      t.equal((await store.list('tasks/29')).size, 100)
      t.equal((await store.list('ta')).size, 3000)
      t.same([...(await store.list('a/')).keys()].toSorted(), ['a//b', 'a/%2F', 'a/\n', 'a/../b'].toSorted())
      t.equal((await store.list('')).size, odd.length + many.length)
      await store.write(
        many.map((key) => ({ key, value: undefined })),
        { term: 0 },
      )
      t.equal((await store.list('tasks/')).size, 0)
    }),
  )

  await t.test('who leads', (t) =>
    withStore('watch', async (store) => {
      const seen = store.watchLeader({ signal })[Symbol.asyncIterator]()
      t.equal((await seen.next()).value, undefined)
      const first = await store.elect('one', { signal })
      t.equal((await seen.next()).value, 'one')
      const later = store.watchLeader({ signal })[Symbol.asyncIterator]()
      t.equal((await later.next()).value, 'one', 'the present state comes first')
      await first.resign()
      const names = ['one', undefined] // a slow reader may miss that nobody led for a moment
      const second = await store.elect('two', { signal })
      let name: string | undefined = 'one'
      while (names.includes(name)) name = (await seen.next()).value
      t.equal(name, 'two')
      await second.resign()
      await store.close()
      t.match(await later.next(), { done: true }, 'it ends with the store')
    }),
  )
}

/** What only a store that several processes share can show: `open` gives another client at each call. */
async function sharedSuite(t: Test, open: Open): Promise<void> {
  const clients = async (label: string, body: (a: Store, b: Store) => Promise<void>) => {
    const [a, b] = await Promise.all([open(label), open(label)])
    try {
      await body(a, b)
    } finally {
      await a.close()
      await b.close()
    }
  }

  await t.test('of concurrent candidates one leads at a time', (t) =>
    clients('race', async (a, b) => {
      const terms: number[] = []
      let inOffice = 0
      const candidate = async (store: Store, name: string) => {
        const leadership = await store.elect(name, { signal })
        t.equal(++inOffice, 1)
        terms.push(leadership.term)
        await store.write([{ key: 'k', value: name }], { term: leadership.term })
        t.equal((await a.get('k'))?.value, name)
        inOffice--
        await leadership.resign()
      }
      await Promise.all(['1', '2', '3', '4', '5', '6'].map((name, i) => candidate(i % 2 === 0 ? a : b, name)))
      t.same(terms, [1, 2, 3, 4, 5, 6])
    }),
  )

  await t.test('nothing of a deposed leader arrives, also what was on its way', (t) =>
    clients('flight', async (a, b) => {
      const first = await a.elect('a', { signal })
      const next = b.elect('b', { signal })
      const writes = Array.from({ length: 50 }, (_, i) => a.write([{ key: 'k', value: `a${i}` }], { term: first.term }))
      void first.resign()
      writes.push(...Array.from({ length: 50 }, () => a.write([{ key: 'k', value: 'late' }], { term: first.term })))
      const settled = Promise.allSettled(writes)
      const second = await next
      const own = await b.write([{ key: 'k', value: 'b' }], { term: second.term })
      const outcomes = await settled
      t.same(await b.get('k'), { value: 'b', revision: own })
      for (const outcome of outcomes) {
        if (outcome.status === 'fulfilled') t.ok(outcome.value < own)
        else t.match(outcome.reason, { code: 'ERR_STORE_TERM' })
      }
      await t.rejects(a.write([{ key: 'k', value: 'x' }], { term: first.term }), { code: 'ERR_STORE_TERM' })
    }),
  )

  await t.test('a leader that closes is followed by the one that waits, and watchers see both', (t) =>
    clients('follow', async (a, b) => {
      const seen = b.watchLeader({ signal })[Symbol.asyncIterator]()
      await a.elect('a', { signal })
      let name: string | undefined
      while (name !== 'a') name = (await seen.next()).value
      const waiting = b.elect('b', { signal })
      const startedMs = performance.now()
      await a.close()
      const { term } = await waiting
      t.ok(performance.now() - startedMs < 1_500, 'it does not wait for the end of a lease')
      t.equal(term, 2)
      while (name !== 'b') name = (await seen.next()).value
      await t.rejects(a.get('k'), { code: 'ERR_STORE_CLOSED' })
      await t.rejects(a.elect('a', { signal }), { code: 'ERR_STORE_CLOSED' })
    }),
  )
}
