import zookeeper, { type ACL, type Client } from 'node-zookeeper-client'
import { type Clock } from '../base/clock.ts'
import { AppError, errorMessage } from '../base/errors.ts'
import { unavailableError } from './errors.ts'
import { type ZooKeeperTarget } from './zookeeper-url.ts'

/** A node's data and the number of its changes. */
export interface Znode {
  readonly data: string
  readonly version: number
}

/**
 * A step of a {@link ZkClient.multi}. The library takes version 0 for "any": what is to be compared must have been changed
 * once (ZooKeeper counts from 0).
 */
export type ZkOp =
  | { readonly kind: 'check'; readonly path: string; readonly version?: number }
  | { readonly kind: 'create'; readonly path: string; readonly data: string }
  | { readonly kind: 'set'; readonly path: string; readonly data: string; readonly version?: number }
  | { readonly kind: 'remove'; readonly path: string }

/** What became of a multi: of a refused one nothing was done; `at` is the step that refused. */
export type ZkOutcome = { readonly kind: 'done' } | { readonly kind: 'refused'; readonly at: number }

/**
 * One session on one connection. The library's own recovery is not used: it keeps requests and sends them later, and it
 * never notices a server that is silent. When the connection breaks or an answer is late, the session is over.
 */
export interface ZkClient {
  /** How long the server keeps the session without hearing of it. */
  readonly timeoutMs: number
  /** Aborts when the session is over. */
  readonly ended: AbortSignal
  get(path: string): Promise<Znode | undefined>
  /** `onChange` is called once, at the next change. */
  children(path: string, onChange?: () => void): Promise<readonly string[] | undefined>
  /** @returns its path; undefined when it exists already */
  create(path: string, data: string, mode: 'persistent' | 'ephemeral-sequential'): Promise<string | undefined>
  remove(path: string): Promise<void>
  multi(ops: readonly ZkOp[]): Promise<ZkOutcome>
  close(): void
}

type Callback<T> = (error: unknown, result: T) => void
type Call = <T>(send: (callback: Callback<T>) => void) => Promise<T | undefined>

/** Codes that mean "it is not there" or "it is there already": answers, not failures. */
const answers: readonly number[] = [zookeeper.Exception.NO_NODE, zookeeper.Exception.NODE_EXISTS]

/** A server that starts takes connections before it answers on them, and may forget those: try again after that. */
const connectLimitMs = 1_000

/** What a connection needs besides its address. */
export interface ZkClientOptions {
  readonly clock: Clock
  /** Longest wait for a session. */
  readonly limitMs: number
  /** The end of everything: then nothing of it may be left, whether a server answers or not. */
  readonly signal: AbortSignal
}

/** Connects. @throws ERR_STORE_UNAVAILABLE after `limitMs` */
export async function openZkClient(target: ZooKeeperTarget, options: ZkClientOptions): Promise<ZkClient> {
  const { clock } = options
  const client = zookeeper.createClient(target.hosts, { sessionTimeout: target.sessionMs, spinDelay: 100, retries: 0 })
  const ended = new AbortController()
  const end = (reason: unknown) => {
    if (!ended.signal.aborted) ended.abort(unavailableError(target.label, reason))
  }
  if (target.auth !== undefined) client.addAuthInfo('digest', Buffer.from(target.auth))
  await connect(client, target, options)
  client.on('disconnected', () => end(new Error('the connection broke')))
  client.on('expired', () => end(new Error('the session expired')))
  client.once('authenticationFailed', () => end(new Error('user or password refused')))
  const timeoutMs = client.getSessionTimeout()
  ended.signal.addEventListener('abort', () => leave(client, timeoutMs, options), { once: true })
  const call = caller({ ended: ended.signal, end, clock, limitMs: Math.max(2 * timeoutMs, 3_000) })
  const id = target.auth === undefined ? new zookeeper.Id('world', 'anyone') : new zookeeper.Id('auth', '')
  const acl = [new zookeeper.ACL(zookeeper.Permission.ALL, id)]
  return {
    ...requests(client, call, acl),
    ...{ timeoutMs, ended: ended.signal },
    close: () => end(new Error('closed by this process')),
  }
}

function connect(client: Client, target: ZooKeeperTarget, options: ZkClientOptions): Promise<void> {
  const { clock, limitMs, signal } = options
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const settle = () => {
    cancelLimit()
    cancelRetry()
    signal.removeEventListener('abort', abort)
  }
  const fail = (reason: unknown) => {
    settle()
    client.removeAllListeners('connected')
    client.close()
    destroySocket(client)
    reject(unavailableError(target.label, reason))
  }
  const abort = () => fail(signal.reason)
  const retryLater = (): (() => void) =>
    clock.after(connectLimitMs, () => {
      destroySocket(client) // the library then tries the next server
      cancelRetry = retryLater()
    })
  let cancelRetry = retryLater()
  const cancelLimit = clock.after(limitMs, () => fail(new Error('no session in time')))
  signal.addEventListener('abort', abort)
  client.once('authenticationFailed', () => fail(new Error('user or password refused')))
  client.once('connected', () => {
    settle()
    resolve()
  })
  client.connect()
  return promise
}

/**
 * Ends the session at the server as well, so that what hangs on it goes at once. After a broken connection that waits for
 * the library's next one; a server that is never back forgets the session by itself.
 */
function leave(client: Client, timeoutMs: number, { clock, signal }: ZkClientOptions): void {
  const closeFor = (ms: number) => {
    client.close()
    clock.after(ms, () => destroySocket(client))
  }
  if (client.getState() === zookeeper.State.SYNC_CONNECTED) {
    closeFor(signal.aborted ? 200 : timeoutMs)
    return
  }
  client.once('connected', () => closeFor(timeoutMs))
  if (signal.aborted) closeFor(0)
  else signal.addEventListener('abort', () => closeFor(0), { once: true })
}

/** The library has no way to give up a connection that is not answered. */
function destroySocket(client: Client): void {
  const manager: unknown = Reflect.get(client, 'connectionManager')
  const socket: unknown = typeof manager === 'object' && manager !== null ? Reflect.get(manager, 'socket') : undefined
  if (socket instanceof Object && 'destroy' in socket && typeof socket.destroy === 'function') socket.destroy()
}

interface CallerOptions {
  readonly ended: AbortSignal
  readonly end: (reason: unknown) => void
  readonly clock: Clock
  readonly limitMs: number
}

/** Makes promises of the library's callbacks; the end of the session ends them all. */
function caller({ ended, end, clock, limitMs }: CallerOptions): Call {
  const pending = new Set<(reason: unknown) => void>()
  ended.addEventListener('abort', () => {
    for (const reject of [...pending]) reject(ended.reason)
  })
  return <T>(send: (callback: Callback<T>) => void) =>
    new Promise<T | undefined>((resolve, reject) => {
      if (ended.aborted) return reject(ended.reason)
      const settle = (done: () => void) => {
        cancel()
        pending.delete(refuse)
        done()
      }
      const refuse = (reason: unknown) => settle(() => reject(reason))
      const cancel = clock.after(limitMs, () => end(new Error(`no answer within ${limitMs} ms`)))
      pending.add(refuse)
      send((error, result) => {
        const code = codeOf(error)
        if (code === undefined) settle(() => resolve(result))
        else if (answers.includes(code)) settle(() => resolve(undefined))
        else refuse(failure(error, code))
      })
    })
}

function codeOf(error: unknown): number | undefined {
  if (error === undefined || error === null) return undefined
  return error instanceof Object && 'code' in error ? Number(error.code) : Number.NaN
}

function failure(error: unknown, code: number): AppError {
  if (code === zookeeper.Exception.NO_AUTH) {
    const text = 'ZooKeeper refuses this user: give the one that made the nodes, zk://user:password@host/path'
    return new AppError('ERR_STORE_AUTH', text, { cause: error })
  }
  return unavailableError('ZooKeeper', new Error(errorMessage(error), { cause: error }))
}

function requests(client: Client, call: Call, acl: ACL[]) {
  const { EPHEMERAL_SEQUENTIAL, PERSISTENT } = zookeeper.CreateMode
  const watchers = openWatchers()
  const commit = (ops: readonly ZkOp[], callback: Callback<ZkOutcome>) => {
    const transaction = client.transaction()
    for (const op of ops) addOp(transaction, op, acl)
    transaction.commit((error, results: unknown) => {
      const at = refusedAt(results)
      if (at === undefined) callback(error, { kind: 'done' })
      else callback(undefined, { kind: 'refused', at })
    })
  }
  return {
    get: (path: string) =>
      call<Znode>((callback) =>
        client.getData(path, (error, data, stat) =>
          callback(error, { data: data?.toString('utf8') ?? '', version: stat?.version ?? 0 }),
        ),
      ),
    children: (path: string, onChange?: () => void) =>
      call<readonly string[]>((callback) => {
        const watcher = onChange === undefined ? undefined : watchers(path, onChange)
        if (watcher === undefined) client.getChildren(path, callback)
        else client.getChildren(path, watcher, callback)
      }),
    create: (path: string, data: string, mode: 'persistent' | 'ephemeral-sequential') =>
      call<string>((callback) =>
        client.create(
          path,
          Buffer.from(data),
          acl,
          mode === 'persistent' ? PERSISTENT : EPHEMERAL_SEQUENTIAL,
          callback,
        ),
      ),
    remove: async (path: string) => {
      await call<void>((callback) => client.remove(path, (error) => callback(error)))
    },
    multi: async (ops: readonly ZkOp[]) =>
      (await call<ZkOutcome>((callback) => commit(ops, callback))) ?? { kind: 'refused' as const, at: 0 },
  }
}

/** The library keeps every watcher that it is given until it fires: one for each path is enough. */
function openWatchers(): (path: string, onChange: () => void) => (() => void) | undefined {
  const waiting = new Map<string, Set<() => void>>()
  return (path, onChange) => {
    const there = waiting.get(path)
    if (there !== undefined) {
      there.add(onChange)
      return undefined
    }
    const fresh = new Set([onChange])
    waiting.set(path, fresh)
    return () => {
      waiting.delete(path)
      for (const tell of fresh) tell()
    }
  }
}

function addOp(transaction: ReturnType<Client['transaction']>, op: ZkOp, acl: ACL[]): void {
  switch (op.kind) {
    case 'check':
      transaction.check(op.path, op.version ?? -1)
      break
    case 'create':
      transaction.create(op.path, Buffer.from(op.data), acl)
      break
    case 'set':
      transaction.setData(op.path, Buffer.from(op.data), op.version ?? -1)
      break
    case 'remove':
      transaction.remove(op.path)
      break
  }
}

/** Steps before the refusing one carry 0, it and those behind it their codes. */
function refusedAt(results: unknown): number | undefined {
  if (!Array.isArray(results)) return undefined
  const at = results.findIndex((result: unknown) => {
    const code: unknown = result instanceof Object && 'err' in result ? result.err : 0
    return code !== undefined && code !== 0
  })
  return at < 0 ? undefined : at
}
