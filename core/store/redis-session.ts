import { type Clock } from '../base/clock.ts'
import { AppError, errorMessage, hasCode } from '../base/errors.ts'
import { termError, unavailableError, wentBackError } from './errors.ts'
import { checkServer, type makeRedis, type RedisTarget } from './redis-connection.ts'
import { electScript, listScript, renewScript, resignScript, writeScript } from './redis-scripts.ts'
import { type Tenure } from './tenure.ts'

type Script = (...words: readonly (string | number)[]) => Promise<readonly string[]>

/** The scripts by what they are for; each answers with words. */
export type Scripts = Readonly<Record<'write' | 'list' | 'elect' | 'renew' | 'resign', Script>>

/** What the parts of one open store share. */
export interface RedisSession {
  readonly target: RedisTarget
  readonly clock: Clock
  readonly redis: ReturnType<typeof makeRedis>
  readonly scripts: Scripts
  /** Greatest counts that the server ever told this process. */
  readonly seen: { term: number; revision: number }
  /** Those who wait for a change of the leader. */
  readonly sleepers: Set<() => void>
  readonly closing: AbortController
  tenure: Tenure | undefined
  /** The last term of this process that ended. */
  over: number
  /** The server is not what it should be: everything is refused with it. */
  fault: unknown
}

/** Names of what is kept on the server. */
export function names({ prefix }: RedisTarget) {
  const keys = ['office', 'lease', 'data', 'index'].map((name) => `${prefix}:${name}`)
  return {
    keys,
    office: `${prefix}:office`,
    lease: `${prefix}:lease`,
    data: `${prefix}:data`,
    channel: `${prefix}:leader`,
  }
}

/** Makes the client know the scripts. */
export function makeScripts(redis: RedisSession['redis'], target: RedisTarget): Scripts {
  const { keys, channel } = names(target)
  const make = (name: string, lua: string): Script => {
    redis.defineCommand(name, { lua, numberOfKeys: keys.length })
    const command: unknown = Reflect.get(redis, name) // ioredis adds it under that name, without a type
    if (typeof command !== 'function') throw new AppError('ERR_STORE_IO', `ioredis has no command ${name}`)
    return async (...words) => {
      // One array, which ioredis flattens: a large batch has more words than a call may have arguments.
      const reply: unknown = await Reflect.apply(command, redis, [...keys, [channel, ...words]])
      return Array.isArray(reply) ? reply.map(String) : []
    }
  }
  return {
    write: make('weftWrite', writeScript),
    list: make('weftList', listScript),
    elect: make('weftElect', electScript),
    renew: make('weftRenew', renewScript),
    resign: make('weftResign', resignScript),
  }
}

/** After a reconnection it may be another server, or one with other settings. */
export async function recheck(session: RedisSession): Promise<void> {
  try {
    await checkServer(session.redis, session.target)
    session.fault = undefined
  } catch (error) {
    if (hasCode(error, 'ERR_STORE_UNAVAILABLE')) return // gone again: the next connection is looked at as well
    fail(session, error)
  }
}

function fail(session: RedisSession, error: unknown): void {
  session.fault = error
  if (error instanceof AppError) session.tenure?.end(error)
}

/** Runs one request. @throws ERR_STORE_CLOSED, ERR_STORE_UNAVAILABLE, or what is wrong with the server */
export async function request<T>(session: RedisSession, send: () => Promise<T>): Promise<T> {
  if (session.closing.signal.aborted) throw session.closing.signal.reason
  if (session.fault !== undefined) throw session.fault
  if (session.redis.status !== 'ready') throw unavailableError(session.target.label, new Error('not connected'))
  try {
    return await send()
  } catch (error) {
    throw requestError(session.target.label, error)
  }
}

function requestError(label: string, error: unknown): AppError {
  const text = errorMessage(error)
  if (/^(OOM|MISCONF)/.test(text)) {
    const advice = 'nothing was changed; give it memory or disk space (INFO persistence tells which)'
    return new AppError('ERR_STORE_FULL', `${label} takes no writes: ${text}; ${advice}`, { cause: error })
  }
  return unavailableError(label, error)
}

/** Remembers a count that the server told; a greater term ends this process's own. */
export function see({ seen, tenure }: RedisSession, count: 'term' | 'revision', found: number): void {
  seen[count] = Math.max(seen[count], found)
  if (tenure !== undefined && seen.term > tenure.leadership.term) {
    tenure.end(termError(tenure.leadership.term, seen.term))
  }
}

/** Everything is refused from then on: only a person can know which copy is right. */
export function behind(session: RedisSession, [kind, field, found]: readonly string[]): AppError {
  if (kind !== 'BEHIND') return new AppError('ERR_STORE_IO', `${session.target.label} gave an unknown answer: ${kind}`)
  const count = field === 'term' ? 'term' : 'revision'
  const error = wentBackError({ what: session.target.label, count, seen: session.seen[count], found: Number(found) })
  fail(session, error)
  return error
}
