import { type Clock, systemClock } from '../base/clock.ts'
import { AppError, hasCode } from '../base/errors.ts'
import { closedError, conflictError, overError, termError } from './errors.ts'
import { checkServer, makeRedis, parseRedisUrl, whenReady } from './redis-connection.ts'
import { electOnRedis, openLeaderWatch } from './redis-election.ts'
import { behind, makeScripts, names, recheck, type RedisSession, request, see } from './redis-session.ts'
import { type Store, type StoreWrite, type Versioned } from './store.ts'
import { openTurns } from './turns.ts'

/**
 * The store of several masters on one Redis primary. The lease decides who leads; what makes it safe is the term, which
 * each script compares (Kleppmann 2016, fencing). Refused: Redlock and failover to replicas, which both acknowledge writes
 * that they may lose.
 */
export interface RedisStoreOptions {
  readonly clock?: Clock
  /** How long opening waits for the server, ms. */
  readonly openLimitMs?: number
}

/** Entries of a page of `list`: about a tenth of a second of the server's time would be 100,000. */
const pageSize = 2_000

/**
 * Opens the store at a {@link parseRedisUrl} address.
 * @throws ERR_STORE_URL, ERR_STORE_UNAVAILABLE, ERR_STORE_DURABILITY, ERR_STORE_REPLICA
 */
export async function openRedisStore(url: string, options: RedisStoreOptions = {}): Promise<Store> {
  const target = parseRedisUrl(url)
  const redis = makeRedis(target)
  try {
    await whenReady(redis, target.label, options.openLimitMs ?? 10_000)
    await checkServer(redis, target)
  } catch (error) {
    redis.disconnect()
    throw error
  }
  const session: RedisSession = {
    ...{ target, redis, scripts: makeScripts(redis, target), clock: options.clock ?? systemClock },
    ...{ seen: { term: 0, revision: 0 }, sleepers: new Set<() => void>() },
    ...{ closing: new AbortController(), tenure: undefined, over: 0, fault: undefined },
  }
  redis.on('ready', () => void recheck(session))
  const turns = openTurns()
  const leader = openLeaderWatch(session)
  const untilClosed = (signal: AbortSignal) => AbortSignal.any([signal, session.closing.signal])
  return {
    get: (key) => get(session, key),
    list: (prefix) => list(session, prefix),
    write: (writes, { term }) => write(session, writes, term),
    elect: (candidate, { signal }) => {
      leader.start()
      return turns.take((turn) => electOnRedis(session, candidate, turn), untilClosed(signal))
    },
    watchLeader: ({ signal }) => leader.watch(untilClosed(signal)),
    close: async () => {
      session.closing.abort(closedError(target.label))
      await session.tenure?.leadership.resign()
      await leader.close()
      redis.disconnect()
    },
  }
}

async function get(session: RedisSession, key: string): Promise<Versioned | undefined> {
  const entry = await request(session, () => session.redis.hget(names(session.target).data, key))
  return entry === null ? undefined : parseEntry(entry)
}

function parseEntry(entry: string): Versioned {
  const end = entry.indexOf('\n')
  return { value: entry.slice(end + 1), revision: Number(entry.slice(0, end)) }
}

/** By pages, so that the server serves others in between: only the leader writes, and it is the one that lists. */
async function list(session: RedisSession, prefix: string): Promise<ReadonlyMap<string, Versioned>> {
  const found = new Map<string, Versioned>()
  let last = ''
  for (;;) {
    const page = await request(session, () => session.scripts.list(prefix, last, pageSize))
    for (let i = 0; i + 1 < page.length; i += 2) {
      last = page[i] ?? ''
      found.set(last, parseEntry(page[i + 1] ?? ''))
    }
    if (page.length < 2 * pageSize) return found
  }
}

async function write(session: RedisSession, writes: readonly StoreWrite[], term: number): Promise<number> {
  const { seen, tenure, closing } = session
  closing.signal.throwIfAborted()
  if (tenure?.isValid() === false || (session.over > 0 && term <= session.over)) throw overError(term)
  if (term < seen.term) throw termError(term, seen.term)
  const words = writes.flatMap(({ key, value, revision }) => [
    ...[key, revision === undefined ? '' : String(revision)],
    ...(value === undefined ? ['0', ''] : ['1', value]),
  ])
  try {
    const reply = await request(session, () => session.scripts.write(term, seen.revision, ...words))
    return settle(session, reply, { writes, term })
  } catch (error) {
    // Whether it is there nobody knows: whoever leads on would have another picture than the store.
    if (hasCode(error, 'ERR_STORE_UNAVAILABLE') && session.redis.status === 'ready') endUnsure(session, term, error)
    throw error
  }
}

function endUnsure({ tenure }: RedisSession, term: number, error: unknown): void {
  if (tenure?.leadership.term === term && error instanceof AppError) tenure.end(error)
}

interface Asked {
  readonly writes: readonly StoreWrite[]
  readonly term: number
}

function settle(session: RedisSession, reply: readonly string[], { writes, term }: Asked): number {
  const [kind, first = '', second = ''] = reply
  switch (kind) {
    case 'OK':
      see(session, 'revision', Number(first))
      return Number(first)
    case 'TERM':
      see(session, 'term', Number(first))
      throw termError(term, Number(first))
    case 'CONFLICT':
      throw conflictError(first, expectedOf(writes, first), Number(second))
    default:
      throw behind(session, reply)
  }
}

function expectedOf(writes: readonly StoreWrite[], key: string): number {
  return writes.find((write) => write.key === key && write.revision !== undefined)?.revision ?? 0
}
