import { type Clock } from '../base/clock.ts'
import { type AppError } from '../base/errors.ts'
import { termError, wentBackError } from './errors.ts'
import { type Tenure } from './tenure.ts'
import { openZkClient, type ZkClient } from './zookeeper-client.ts'
import { type ZooKeeperTarget } from './zookeeper-url.ts'

/** The two nodes that every write looks at, as they were read or written last. */
export interface Office {
  readonly term: number
  readonly termVersion: number
  readonly revision: number
  readonly revisionVersion: number
}

/** What the parts of one open store share. */
export interface ZkSession {
  readonly target: ZooKeeperTarget
  readonly clock: Clock
  readonly paths: ReturnType<typeof pathsOf>
  readonly closing: AbortController
  /** Greatest counts that the servers ever told this process. */
  readonly seen: { term: number; revision: number }
  /** Folders that are known to exist. */
  readonly folders: Set<string>
  /** The live connection, a new one when it is over. @throws ERR_STORE_UNAVAILABLE, ERR_STORE_CLOSED */
  client(): Promise<ZkClient>
  /** Ends the connection and refuses all further requests. */
  close(reason: AppError): void
  tenures: readonly Tenure[]
  /** The last term of this process that ended. */
  over: number
  /** The servers lost something: everything is refused with it. */
  fault: AppError | undefined
}

/**
 * `term` (term and leader), `revision` (last one), `election/` (a node for each candidate, the lowest leads) and `keys/`.
 * A key's first part is its folder: listing a table costs nothing of the others.
 */
export function pathsOf(base: string) {
  const keys = `${base}/keys`
  const folderOf = (key: string) => {
    const end = key.indexOf('/')
    return end < 0 ? `${keys}/-` : `${keys}/=${encodeURIComponent(key.slice(0, end))}`
  }
  const nodeOf = (key: string) => `${folderOf(key)}/=${encodeURIComponent(key.slice(key.indexOf('/') + 1))}`
  const partOf = (name: string) => decodeURIComponent(name.slice(1))
  const keyOf = (folder: string, name: string) => (folder === '-' ? partOf(name) : `${partOf(folder)}/${partOf(name)}`)
  const election = `${base}/election`
  return { base, keys, election, term: `${base}/term`, revision: `${base}/revision`, folderOf, nodeOf, keyOf }
}

/** Opens the shared part; connects at the first use. */
export function openZkSession(target: ZooKeeperTarget, clock: Clock, openLimitMs: number): ZkSession {
  let current: Promise<ZkClient> | undefined
  const connect = async () => {
    const client = await openZkClient(target, { clock, limitMs: openLimitMs, signal: session.closing.signal })
    try {
      await makeNodes(client, session.paths)
    } catch (error) {
      client.close()
      throw error
    }
    if (session.closing.signal.aborted) client.close()
    return client
  }
  const client = (): Promise<ZkClient> => {
    if (session.closing.signal.aborted) return Promise.reject(session.closing.signal.reason)
    if (session.fault !== undefined) return Promise.reject(session.fault)
    if (current !== undefined) return current
    const opening = connect()
    current = opening
    const forget = () => {
      if (current === opening) current = undefined
    }
    opening.then(({ ended }) => {
      if (ended.aborted) forget()
      ended.addEventListener('abort', forget)
    }, forget)
    return opening
  }
  const close = (reason: AppError) => {
    session.closing.abort(reason)
    current?.then(
      (open) => open.close(),
      () => undefined, // never was open
    )
  }
  const session: ZkSession = {
    ...{ target, clock, client, close, paths: pathsOf(target.base) },
    ...{ closing: new AbortController(), seen: { term: 0, revision: 0 }, folders: new Set<string>() },
    ...{ tenures: [], over: 0, fault: undefined },
  }
  return session
}

/** Counters begin with version 1: the library can't compare with version 0. */
async function makeNodes(client: ZkClient, paths: ZkSession['paths']): Promise<void> {
  const parts = paths.base.split('/').slice(1)
  for (let i = 1; i <= parts.length; i++) await client.create(`/${parts.slice(0, i).join('/')}`, '', 'persistent')
  for (const path of [paths.election, paths.keys]) await client.create(path, '', 'persistent')
  if ((await client.get(paths.term)) !== undefined) return
  await client.multi(
    [paths.term, paths.revision].flatMap((path) => [
      { kind: 'create', path, data: '0' },
      { kind: 'set', path, data: '0' },
    ]),
  )
}

/** Reads both counters. @throws ERR_STORE_WENT_BACK, ERR_STORE_UNAVAILABLE */
export async function readOffice(session: ZkSession, client: ZkClient): Promise<Office> {
  const { paths } = session
  const [term, revision] = await Promise.all([client.get(paths.term), client.get(paths.revision)])
  const office = {
    ...{ term: Number.parseInt(term?.data ?? '0', 10), termVersion: term?.version ?? 0 },
    ...{ revision: Number(revision?.data ?? 0), revisionVersion: revision?.version ?? 0 },
  }
  see(session, office)
  return office
}

/** Remembers what the servers told: a greater term ends this process's own, a smaller count is refused for good. */
export function see(session: ZkSession, { term, revision }: Pick<Office, 'term' | 'revision'>): void {
  const found = { term, revision }
  for (const count of ['term', 'revision'] as const) {
    if (found[count] < session.seen[count]) {
      const error = wentBackError({
        what: session.target.label,
        ...{ count, seen: session.seen[count], found: found[count] },
      })
      session.fault = error
      for (const tenure of session.tenures) tenure.end(error)
      throw error
    }
    session.seen[count] = found[count]
  }
  for (const tenure of session.tenures) {
    if (tenure.leadership.term < term) tenure.end(termError(tenure.leadership.term, term))
  }
}
