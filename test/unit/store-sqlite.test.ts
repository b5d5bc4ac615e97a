import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { openSqliteStore } from '../../core/store/sqlite.ts'

const folder = mkdtempSync(join(tmpdir(), 'weft-sqlite-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const { signal } = new AbortController()
const adapter = fileURLToPath(new URL('../../core/store/sqlite.ts', import.meta.url))

/** Runs `body` in another process, which has `store` and `path`; prints what it leaves in `result`. */
function elsewhere(path: string, body: string): string {
  const program = `
    import { openSqliteStore } from ${JSON.stringify(adapter)}
    const path = ${JSON.stringify(path)}
    const { signal } = new AbortController()
    ${body}`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', program], {
    encoding: 'utf8',
  })
  return stdout + stderr
}

t.test('a second process is refused while the first holds the store', async (t) => {
  const path = join(folder, 'locked.db')
  const store = openSqliteStore(path)
  const open = 'try { openSqliteStore(path); console.log("opened") } catch (error) { console.log(error.code) }'
  t.match(elsewhere(path, open), 'ERR_STORE_LOCKED')
  await store.close()
  t.match(elsewhere(path, open), 'opened')
})

t.test('what was written survives SIGKILL, and the term grows', async (t) => {
  const path = join(folder, 'killed.db')
  elsewhere(
    path,
    `const store = openSqliteStore(path)
     const { term } = await store.elect('first', { signal })
     await store.write([{ key: 'k', value: 'kept' }], { term })
     process.kill(process.pid, 'SIGKILL')`,
  )
  const store = openSqliteStore(path)
  const kept = await store.get('k')
  t.equal(kept?.value, 'kept')
  const leadership = await store.elect('second', { signal })
  t.equal(leadership.term, 2)
  const revision = await store.write([{ key: 'k', value: 'more' }], { term: leadership.term })
  t.ok(revision > (kept?.revision ?? 0))
  await store.close()
})

t.test('a full disk refuses the write and changes nothing', async (t) => {
  const store = openSqliteStore(join(folder, 'full.db'), { maxPages: 8 })
  await store.write([{ key: 'small', value: 'kept' }], { term: 0 })
  const big = 'x'.repeat(64 * 1024)
  const batch = [
    { key: 'small', value: 'lost' },
    { key: 'big', value: big },
  ]
  await t.rejects(store.write(batch, { term: 0 }), { code: 'ERR_STORE_FULL' })
  t.equal((await store.get('small'))?.value, 'kept')
  await store.write([{ key: 'small', value: 'changed' }], { term: 0 })
  t.equal((await store.get('small'))?.value, 'changed')
  await store.close()
})

t.test('a folder that is not there, a file that is no database', async (t) => {
  t.throws(() => openSqliteStore(join(folder, 'no', 'such', 'folder.db')), { code: 'ERR_STORE_IO' })
  t.throws(() => openSqliteStore(fileURLToPath(import.meta.url)), { code: 'ERR_STORE_IO' })
})
