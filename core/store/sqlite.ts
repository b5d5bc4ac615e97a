import { DatabaseSync } from 'node:sqlite'
import { AppError, errorMessage } from '../base/errors.ts'
import { conflictError, termError } from './errors.ts'
import { openCandidates } from './leadership.ts'
import { type Store, type StoreWrite, type Versioned } from './store.ts'

/**
 * The embedded store of a single master. WAL with synchronous FULL: a write that resolved survives a power cut. The lock
 * is exclusive for as long as the store is open (it also spares the shared-memory file), so that two masters can't run on
 * one file; the kernel drops it when the process dies, however that happens.
 *
 * All writes of one turn of the event loop share one transaction, hence one fsync. A refused one (term, revision) is found
 * before it changes anything, so that it takes nothing with it.
 */
export interface SqliteOptions {
  /** Largest size of the file in pages of 4 KiB: for tests of a full disk. */
  readonly maxPages?: number
}

/** Result codes. Source: sqlite3.h */
const SQLITE_BUSY = 5
const SQLITE_FULL = 13

interface Job {
  readonly writes: readonly StoreWrite[]
  readonly term: number
  readonly resolve: (revision: number) => void
  readonly reject: (error: unknown) => void
}

/**
 * Opens (and makes) the file.
 * @throws ERR_STORE_LOCKED when another process has it; ERR_STORE_FULL, ERR_STORE_IO when it can't be made
 */
export function openSqliteStore(path: string, options: SqliteOptions = {}): Store {
  const database = openDatabase(path, options)
  const statements = prepare(database)
  const candidates = openCandidates()
  let jobs: Job[] = []
  let closed = false
  const flush = () => {
    const batch = jobs
    jobs = []
    if (batch.length > 0) commit(database, statements, batch)
  }
  const write = (writes: readonly StoreWrite[], { term }: { readonly term: number }) =>
    new Promise<number>((resolve, reject) => {
      if (closed) return reject(new AppError('ERR_STORE_CLOSED', `${path} is closed`))
      if (jobs.length === 0) setImmediate(flush)
      jobs.push({ writes, term, resolve, reject })
    })
  const close = async () => {
    if (closed) return
    closed = true
    flush()
    candidates.close()
    database.close()
  }
  return {
    get: async (key) => versioned(statements.get.get(key)),
    list: async (prefix) => listPrefix(statements, prefix),
    write,
    elect: (candidate, { signal }) =>
      candidates.elect(candidate, () => beginTerm(database, statements, candidate), signal),
    watchLeader: ({ signal }) => candidates.watch(signal),
    close,
  }
}

function openDatabase(path: string, { maxPages }: SqliteOptions): DatabaseSync {
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(path)
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    if (maxPages !== undefined) database.exec(`PRAGMA max_page_count = ${Math.trunc(maxPages)}`)
    // Taking the write lock now is what makes a second master fail here and not later.
    database.exec(`BEGIN IMMEDIATE;
      CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS office (id INTEGER PRIMARY KEY CHECK (id = 0), term INTEGER NOT NULL,
        revision INTEGER NOT NULL, leader TEXT NOT NULL);
      INSERT OR IGNORE INTO office VALUES (0, 0, 0, '');
      COMMIT`)
    return database
  } catch (error) {
    if (database?.isOpen === true) database.close()
    throw storeError(error, path)
  }
}

type Statements = ReturnType<typeof prepare>

function prepare(database: DatabaseSync) {
  return {
    get: database.prepare('SELECT value, revision FROM entry WHERE key = ?'),
    // char(1114111), the last code point, ends the range of keys that begin with the prefix
    list: database.prepare(
      'SELECT key, value, revision FROM entry WHERE key >= ?1 AND key < ?1 || char(1114111) ORDER BY key',
    ),
    put: database.prepare(
      'INSERT INTO entry VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE SET value = ?2, revision = ?3',
    ),
    remove: database.prepare('DELETE FROM entry WHERE key = ?'),
    office: database.prepare('SELECT term, revision FROM office'),
    setRevision: database.prepare('UPDATE office SET revision = ?'),
    setTerm: database.prepare('UPDATE office SET term = ?, leader = ?'),
  }
}

/** One transaction for all jobs; when its COMMIT fails, all of them failed. */
function commit(database: DatabaseSync, statements: Statements, jobs: readonly Job[]): void {
  const outcomes: (() => void)[] = []
  try {
    database.exec('BEGIN IMMEDIATE')
    for (const job of jobs) outcomes.push(attempt(statements, job))
    database.exec('COMMIT')
    for (const settle of outcomes) settle()
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    for (const { reject } of jobs) reject(storeError(error, 'the store'))
  }
}

/** @throws what spoils the whole transaction: a full disk, an I/O error */
function attempt(statements: Statements, job: Job): () => void {
  const office = readOffice(statements)
  const refusal = job.term < office.term ? termError(job.term, office.term) : findConflict(statements, job.writes)
  if (refusal !== undefined) return () => job.reject(refusal)
  const revision = office.revision + 1
  for (const { key, value } of job.writes) {
    if (value === undefined) statements.remove.run(key)
    else statements.put.run(key, value, revision)
  }
  statements.setRevision.run(revision)
  return () => job.resolve(revision)
}

function findConflict(statements: Statements, writes: readonly StoreWrite[]): AppError | undefined {
  for (const { key, revision: expected } of writes) {
    if (expected === undefined) continue
    const found = versioned(statements.get.get(key))?.revision ?? 0
    if (found !== expected) return conflictError(key, expected, found)
  }
  return undefined
}

function beginTerm(database: DatabaseSync, statements: Statements, candidate: string): number {
  try {
    database.exec('BEGIN IMMEDIATE')
    const term = readOffice(statements).term + 1
    statements.setTerm.run(term, candidate)
    database.exec('COMMIT')
    return term
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw storeError(error, 'the store')
  }
}

function readOffice(statements: Statements): { readonly term: number; readonly revision: number } {
  const row = statements.office.get()
  return { term: Number(row?.['term'] ?? 0), revision: Number(row?.['revision'] ?? 0) }
}

function listPrefix(statements: Statements, prefix: string): ReadonlyMap<string, Versioned> {
  const found = new Map<string, Versioned>()
  for (const row of statements.list.iterate(prefix)) {
    const entry = versioned(row)
    if (entry !== undefined) found.set(String(row['key']), entry)
  }
  return found
}

function versioned(row: Record<string, unknown> | undefined): Versioned | undefined {
  return row === undefined ? undefined : { value: String(row['value']), revision: Number(row['revision']) }
}

function storeError(error: unknown, what: string): AppError {
  const code = typeof error === 'object' && error !== null && 'errcode' in error ? Number(error.errcode) & 0xff : 0
  const cause = { cause: error }
  if (code === SQLITE_BUSY) {
    return new AppError(
      'ERR_STORE_LOCKED',
      `${what} is in use: another master runs on this state folder; stop it`,
      cause,
    )
  }
  if (code === SQLITE_FULL) {
    return new AppError('ERR_STORE_FULL', `${what}: the disk is full; nothing was changed; free some space`, cause)
  }
  return new AppError('ERR_STORE_IO', `${what}: ${errorMessage(error)}`, cause)
}
