import { randomUUID } from 'node:crypto'
import { hasCode } from '../base/errors.ts'
import { termError } from './errors.ts'
import { openNotice } from './notice.ts'
import { behind, names, type RedisSession, request, see } from './redis-session.ts'
import { type Leadership } from './store.ts'
import { openTenure, type Tenure } from './tenure.ts'
import { orAborted, type Turn } from './turns.ts'

/** How long a candidate or watcher waits at most before it looks again: what is told on the channel may get lost. */
const pollMs = 250

/** Part of the lease that a leader leaves unused, for clocks that run at unlike speeds. */
const marginShare = 1 / 8

/** Competes until it wins. @throws the signal's reason, ERR_STORE_WENT_BACK, ERR_STORE_DURABILITY, ERR_STORE_REPLICA */
export async function electOnRedis(session: RedisSession, candidate: string, turn: Turn): Promise<Leadership> {
  const { clock, target, scripts } = session
  const { signal } = turn
  const owner = `${randomUUID()} ${candidate}`
  const holdMs = target.leaseMs * (1 - marginShare)
  try {
    for (;;) {
      signal.throwIfAborted()
      const sentAtMs = clock.monotonicMs()
      const asked = compete(session, owner)
      const { term, waitMs } = await orAborted(asked, signal)
      const left = sentAtMs + holdMs - clock.monotonicMs()
      if (term !== undefined && left > holdMs / 2) return takeOffice(session, { owner, term, sentAtMs, holdMs, turn })
      if (term === undefined) await nap(session, waitMs, signal)
    }
  } catch (error) {
    // An answer may be on its way that says "elected"; requests of a connection are served in order.
    void scripts.resign(owner).catch(() => undefined)
    throw error
  }
}

/** One attempt: the term that was won, or how long to wait. */
async function compete(
  session: RedisSession,
  owner: string,
): Promise<{ readonly term?: number; readonly waitMs: number }> {
  const { seen, target, scripts } = session
  try {
    const reply = await request(session, () => scripts.elect(owner, target.leaseMs, seen.term, seen.revision))
    const [kind, first = '', second = '', revision = ''] = reply
    if (kind === 'OK') {
      see(session, 'term', Number(first))
      return { term: Number(first), waitMs: 0 }
    }
    if (kind !== 'HELD') throw behind(session, reply)
    see(session, 'term', Number(second))
    see(session, 'revision', Number(revision))
    return { waitMs: Math.min(Math.max(Number(first), 0) + 1, pollMs) }
  } catch (error) {
    if (hasCode(error, 'ERR_STORE_UNAVAILABLE')) return { waitMs: pollMs }
    throw error
  }
}

interface Won {
  readonly owner: string
  readonly term: number
  readonly sentAtMs: number
  readonly holdMs: number
  readonly turn: Turn
}

function takeOffice(session: RedisSession, { owner, term, sentAtMs, holdMs, turn }: Won): Leadership {
  const { clock, scripts } = session
  let cancel: () => void = () => undefined
  const release = async () => {
    cancel()
    session.tenure = undefined
    session.over = term
    try {
      await scripts.resign(owner)
    } catch {
      // Not reachable, or not any more ours: the lease ends by itself.
    }
    turn.leave()
  }
  const tenure = openTenure({ term, holdMs, sentAtMs, clock, release })
  session.tenure = tenure
  const renewLater = () => {
    cancel = clock.after(session.target.leaseMs / 3, () => {
      if (!tenure.isValid()) return
      renewLater()
      void renew(session, tenure, owner)
    })
  }
  renewLater()
  return tenure.leadership
}

async function renew(session: RedisSession, tenure: Tenure, owner: string): Promise<void> {
  const { clock, scripts, seen, target } = session
  const { term } = tenure.leadership
  const sentAtMs = clock.monotonicMs()
  try {
    const reply = await request(session, () => scripts.renew(owner, target.leaseMs, term, seen.revision))
    const [kind, newest = ''] = reply
    if (kind === 'OK') tenure.confirm(sentAtMs)
    else if (kind === 'BEHIND') tenure.end(behind(session, reply))
    else tenure.end(termError(term, Number(newest)))
  } catch (error) {
    if (!hasCode(error, 'ERR_STORE_UNAVAILABLE')) tenure.isValid() // what else there is has ended it already
  }
}

/** Resolves after `ms`, sooner when the leader changes. @throws the signal's reason */
async function nap({ clock, sleepers }: RedisSession, ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const cancel = clock.after(ms, resolve)
  sleepers.add(resolve)
  try {
    await orAborted(promise, signal)
  } finally {
    cancel()
    sleepers.delete(resolve)
  }
}

/** Follows who leads, once for all who want to know. */
export interface LeaderWatch {
  start(): void
  watch(signal: AbortSignal): AsyncIterable<string | undefined>
  close(): Promise<void>
}

/** Learns of changes by a channel and, because that may lose some, by looking. */
export function openLeaderWatch(session: RedisSession): LeaderWatch {
  const { redis, target, sleepers, closing } = session
  const leader = openNotice<string | undefined>(undefined)
  const first = Promise.withResolvers<void>()
  let running: Promise<void> | undefined
  const follow = async () => {
    const listener = redis.duplicate({ enableOfflineQueue: true, maxRetriesPerRequest: null })
    listener.on('error', () => undefined) // it reconnects by itself; looking goes on meanwhile
    listener.on('message', () => {
      for (const wake of sleepers) wake()
    })
    void listener.subscribe(names(target).channel).catch(() => undefined)
    while (!closing.signal.aborted) {
      await look(session, leader)
      first.resolve()
      await nap(session, pollMs, closing.signal).catch(() => undefined)
    }
    listener.disconnect()
  }
  const start = () => {
    running ??= follow()
  }
  async function* watch(signal: AbortSignal): AsyncGenerator<string | undefined> {
    start()
    await orAborted(first.promise, signal).catch(() => undefined)
    yield* leader.watch(signal)
  }
  const close = async () => {
    await running
    leader.close()
  }
  return { start, watch, close }
}

async function look(session: RedisSession, leader: { set(name: string | undefined): void }): Promise<void> {
  try {
    const { office, lease } = names(session.target)
    const [term, revision] = await request(session, () => session.redis.hmget(office, 'term', 'revision'))
    see(session, 'term', Number(term ?? 0))
    see(session, 'revision', Number(revision ?? 0))
    const owner = await request(session, () => session.redis.get(lease))
    leader.set(owner === null ? undefined : owner.slice(owner.indexOf(' ') + 1))
  } catch {
    // ERR_STORE_UNAVAILABLE: what was known last stays until better is known. A server that is not what it should be is
    // told to those who want to write.
  }
}
