import { type Clock, systemClock } from '../base/clock.ts'
import { closedError } from './errors.ts'
import { type Store, type Versioned } from './store.ts'
import { electOnZooKeeper, openZkLeaderWatch } from './zookeeper-election.ts'
import { openZkSession, readOffice, type ZkSession } from './zookeeper-session.ts'
import { parseZooKeeperUrl } from './zookeeper-url.ts'
import { inParallel, openZkWriter } from './zookeeper-write.ts'

/**
 * The store of several masters on ZooKeeper. Candidates are ephemeral-sequential nodes, the lowest leads. The term is a
 * counter in a node of its own and not the candidate's czxid: that has the servers' epoch in its upper half and outgrows a
 * safe integer. Every write is a multi that checks the version of the term's node. A broken connection ends a leadership at
 * once, a silent one before the session can end at the server.
 */
export interface ZooKeeperStoreOptions {
  readonly clock?: Clock
  /** How long connecting waits for a server, ms. */
  readonly openLimitMs?: number
}

/**
 * Opens the store at a {@link parseZooKeeperUrl} address.
 * @throws ERR_STORE_URL, ERR_STORE_UNAVAILABLE, ERR_STORE_AUTH
 */
export async function openZooKeeperStore(url: string, options: ZooKeeperStoreOptions = {}): Promise<Store> {
  const target = parseZooKeeperUrl(url)
  const session = openZkSession(target, options.clock ?? systemClock, options.openLimitMs ?? 10_000)
  try {
    await readOffice(session, await session.client())
  } catch (error) {
    session.close(closedError(target.label))
    throw error
  }
  const write = openZkWriter(session)
  const leader = openZkLeaderWatch(session)
  const untilClosed = (signal: AbortSignal) => AbortSignal.any([signal, session.closing.signal])
  return {
    get: (key) => get(session, key),
    list: (prefix) => list(session, prefix),
    write: (writes, { term }) => write(writes, term),
    elect: (candidate, { signal }) => electOnZooKeeper(session, candidate, untilClosed(signal)),
    watchLeader: ({ signal }) => leader.watch(untilClosed(signal)),
    close: async () => {
      await Promise.all(session.tenures.map(({ leadership }) => leadership.resign()))
      session.close(closedError(target.label))
      await leader.close()
    },
  }
}

async function get(session: ZkSession, key: string): Promise<Versioned | undefined> {
  const client = await session.client()
  const node = await client.get(session.paths.nodeOf(key))
  return node === undefined ? undefined : parseEntry(node.data)
}

function parseEntry(data: string): Versioned {
  const end = data.indexOf('\n')
  return { value: data.slice(end + 1), revision: Number(data.slice(0, end)) }
}

/** Not one instant's picture: only the leader writes, and it is the one that lists. */
async function list(session: ZkSession, prefix: string): Promise<ReadonlyMap<string, Versioned>> {
  const client = await session.client()
  const { paths } = session
  const found: [string, Versioned][] = []
  for (const folder of await foldersOf(session, prefix)) {
    const names = (await client.children(`${paths.keys}/${folder}`)) ?? []
    const wanted = names
      .map((name) => ({ name, key: paths.keyOf(folder, name) }))
      .filter(({ key }) => key.startsWith(prefix))
    await inParallel(wanted, async ({ name, key }) => {
      const node = await client.get(`${paths.keys}/${folder}/${name}`)
      if (node !== undefined) found.push([key, parseEntry(node.data)])
    })
  }
  return new Map(found.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** A prefix with a slash is all in one folder. */
async function foldersOf({ paths, client }: ZkSession, prefix: string): Promise<readonly string[]> {
  if (prefix.includes('/')) return [paths.folderOf(prefix).slice(paths.keys.length + 1)]
  return (await (await client()).children(paths.keys)) ?? []
}
