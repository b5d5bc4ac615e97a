import { readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import { AppError, errorMessage } from '../base/errors.ts'
import { unavailableError } from './errors.ts'

/** Where the server is, and what is expected of it. */
export interface RedisTarget {
  /** For messages: without user and password. */
  readonly label: string
  readonly connection: {
    readonly host: string
    readonly port: number
    readonly db: number
    readonly username?: string
    readonly password?: string
    readonly tls?: { readonly ca?: Buffer }
  }
  /** Begins the names of all keys: several clusters may share a server. */
  readonly prefix: string
  /** How long a leader stays one without renewal. */
  readonly leaseMs: number
  /** `unchecked` takes a server that loses acknowledged writes when it is killed: for trials only. */
  readonly durability: 'required' | 'unchecked'
}

/** Two seconds: with the election it keeps a failover below three, and bears a stall of more than one. */
const defaultLeaseMs = 1_500
const leaseRangeMs = { least: 300, most: 60_000 } as const

/**
 * `redis://[user:password@]host[:port][/database][?prefix=weft&lease=MS&durability=unchecked]`; `rediss:` for TLS, with
 * `ca=FILE` for an authority of one's own.
 * @throws ERR_STORE_URL
 */
export function parseRedisUrl(text: string): RedisTarget {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !['redis:', 'rediss:'].includes(url.protocol) || url.hostname === '') {
    throw urlError('redis://[user:password@]host[:port][/database] expected')
  }
  const database = url.pathname.replace(/^\//, '')
  if (!/^\d{0,4}$/.test(database)) throw urlError(`"${database}" is not the number of a database`)
  const known = ['prefix', 'lease', 'durability', 'ca']
  const unknown = [...url.searchParams.keys()].find((name) => !known.includes(name))
  if (unknown !== undefined) throw urlError(`unknown setting "${unknown}"; known are ${known.join(', ')}`)
  const port = Number(url.port || 6379)
  const ca = url.searchParams.get('ca')
  const tls = url.protocol === 'rediss:' ? { tls: ca === null ? {} : { ca: readFileSync(ca) } } : {}
  const password = url.password === '' ? {} : { password: decodeURIComponent(url.password) }
  const username = url.username === '' ? {} : { username: decodeURIComponent(url.username) }
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return {
    label: `${url.protocol}//${url.host}`,
    connection: { host, port, db: Number(database), ...username, ...password, ...tls },
    prefix: url.searchParams.get('prefix') ?? 'weft',
    leaseMs: leaseOf(url.searchParams.get('lease')),
    durability: durabilityOf(url.searchParams.get('durability')),
  }
}

function leaseOf(text: string | null): number {
  const leaseMs = text === null ? defaultLeaseMs : Number(text)
  const { least, most } = leaseRangeMs
  if (!Number.isInteger(leaseMs) || leaseMs < least || leaseMs > most) {
    throw urlError(`lease is a number of milliseconds from ${least} to ${most}`)
  }
  return leaseMs
}

function durabilityOf(text: string | null): RedisTarget['durability'] {
  if (text !== null && text !== 'required' && text !== 'unchecked')
    throw urlError('durability is required or unchecked')
  return text ?? 'required'
}

function urlError(message: string): AppError {
  return new AppError('ERR_STORE_URL', `address of the store: ${message}`)
}

/**
 * A client that is never cleverer than its caller: no command waits for a connection, and none is sent twice, since only
 * the caller knows whether its term still holds.
 */
export function makeRedis({ connection, leaseMs }: RedisTarget): Redis {
  const redis = new Redis({
    ...connection,
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: commandLimitMs(leaseMs),
    socketTimeout: commandLimitMs(leaseMs),
    connectTimeout: Math.max(leaseMs, 1_000),
    retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 10), Math.max(leaseMs / 4, 50)),
  })
  redis.on('error', () => undefined) // each command says by itself what failed; without a listener Node would print it
  return redis
}

/** After that a command counts as lost; a large batch may take a server a second. */
function commandLimitMs(leaseMs: number): number {
  return Math.max(2 * leaseMs, 3_000)
}

/** Resolves when the client can take commands. @throws ERR_STORE_UNAVAILABLE after `limitMs` */
export async function whenReady(redis: Redis, label: string, limitMs: number): Promise<void> {
  if (redis.status === 'ready') return
  let cause: unknown
  const onError = (error: unknown) => {
    cause = error
  }
  redis.on('error', onError)
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(unavailableError(label, cause)), limitMs)
      redis.once('ready', () => {
        clearTimeout(timer)
        resolve()
      })
      redis.connect().catch(onError) // ioredis goes on trying by itself
    })
  } finally {
    redis.off('error', onError)
  }
}

/**
 * Refuses a server that may forget what it acknowledged, or that is not the one that takes writes.
 * @throws ERR_STORE_DURABILITY, ERR_STORE_UNAVAILABLE
 */
export async function checkServer(redis: Redis, { label, durability }: RedisTarget): Promise<void> {
  const role = /^role:(\w+)/m.exec(await ask(redis.info('replication'), label))?.[1]
  if (role !== 'master') {
    throw new AppError('ERR_STORE_REPLICA', `${label} is a replica: give the address of the one primary`)
  }
  if (durability === 'unchecked') return
  const advice = 'set it in redis.conf, or add ?durability=unchecked to take the risk (core/store/README.md)'
  const wanted = [
    ['appendonly', 'yes'],
    ['appendfsync', 'always'],
  ] as const
  for (const [name, value] of wanted) {
    const found = await setting(redis, name, label)
    if (found !== value) {
      throw new AppError('ERR_STORE_DURABILITY', `${label} has ${name} ${found}, ${value} is needed: ${advice}`)
    }
  }
  const policy = await setting(redis, 'maxmemory-policy', label)
  if (policy.startsWith('allkeys')) {
    const text = `${label} has maxmemory-policy ${policy} and may drop what a master keeps: noeviction is needed; ${advice}`
    throw new AppError('ERR_STORE_DURABILITY', text)
  }
}

async function setting(redis: Redis, name: string, label: string): Promise<string> {
  try {
    const reply: unknown = await redis.config('GET', name)
    return Array.isArray(reply) && reply.length > 1 ? String(reply[1]) : 'unknown'
  } catch (error) {
    if (/^(NOPERM|ERR unknown command)/.test(errorMessage(error))) {
      const text = `${label} does not tell its settings to this user (${errorMessage(error)}): allow CONFIG GET, or add ?durability=unchecked`
      throw new AppError('ERR_STORE_DURABILITY', text, { cause: error })
    }
    throw unavailableError(label, error)
  }
}

async function ask<T>(reply: Promise<T>, label: string): Promise<T> {
  try {
    return await reply
  } catch (error) {
    throw unavailableError(label, error)
  }
}
