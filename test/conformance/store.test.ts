import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { openMemoryStore } from '../../core/store/memory.ts'
import { openSqliteStore } from '../../core/store/sqlite.ts'
import { type Store } from '../../core/store/store.ts'

const folder = mkdtempSync(join(tmpdir(), 'weft-store-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

const { signal } = new AbortController()
const adapters: readonly { readonly name: string; readonly open: (label: string) => Store }[] = [
  { name: 'memory', open: () => openMemoryStore() },
  { name: 'sqlite', open: (label) => openSqliteStore(join(folder, `${label}.db`)) },
]

for (const { name, open } of adapters) {
  const withStore = async (label: string, body: (store: Store) => Promise<void>) => {
    const store = open(label)
    try {
      await body(store)
    } finally {
      await store.close()
    }
  }

  t.test(`${name}: values, prefixes, revisions`, (t) =>
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

  t.test(`${name}: a batch is all or nothing`, (t) =>
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

  t.test(`${name}: terms`, (t) =>
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
}
