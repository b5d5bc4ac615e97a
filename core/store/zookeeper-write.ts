import { AppError } from '../base/errors.ts'
import { overError, termError, unavailableError, wentBackError } from './errors.ts'
import { type StoreWrite } from './store.ts'
import { batchBytes, openStaging } from './zookeeper-batch.ts'
import { type ZkClient, type ZkOp } from './zookeeper-client.ts'
import { type Office, readOffice, see, type ZkSession } from './zookeeper-session.ts'

interface Job {
  readonly writes: readonly StoreWrite[]
  readonly term: number
  readonly bytes: number
  readonly resolve: (revision: number) => void
  readonly reject: (error: unknown) => void
}

/** How often a multi that met another writer is tried again: only a deposed leader can be in the way. */
const attempts = 10

/** Reads at once: more does not make the library quicker. */
const parallelReads = 200

/**
 * One multi at a time, of all batches that came meanwhile: checks the term's node, bumps the revision's, changes the keys.
 * Both versions are compared, so that what was read before it still holds when it is done.
 */
export function openZkWriter(session: ZkSession): (writes: readonly StoreWrite[], term: number) => Promise<number> {
  let queue: Job[] = []
  let running = false
  const run = async () => {
    running = true
    while (queue.length > 0) {
      const group = takeGroup(queue, session.target.maxRequestBytes)
      queue = queue.slice(group.length)
      try {
        await commit(session, group)
      } catch (error) {
        for (const { reject } of group) reject(error)
      }
    }
    running = false
  }
  return (writes, term) =>
    new Promise((resolve, reject) => {
      const bytes = batchBytes(writes)
      const refusal = refuse(session, { bytes, term })
      if (refusal !== undefined) return reject(refusal)
      queue.push({ writes, term, bytes, resolve, reject })
      if (!running) void run()
    })
}

function refuse(session: ZkSession, { bytes, term }: { readonly bytes: number; readonly term: number }): unknown {
  if (session.closing.signal.aborted) return session.closing.signal.reason
  if (isOver(session, term)) return overError(term)
  if (term < session.seen.term) return termError(term, session.seen.term)
  const { label, maxRequestBytes } = session.target
  if (bytes <= maxRequestBytes) return undefined
  const text = `a batch of about ${bytes} bytes is more than ${label} takes at once (${maxRequestBytes})`
  const advice = 'write less at once, or raise jute.maxbuffer on each server and add ?maxRequest=BYTES'
  return new AppError('ERR_STORE_TOO_LARGE', `${text}: ${advice}`)
}

function takeGroup(queue: readonly Job[], maxBytes: number): readonly Job[] {
  let bytes = 0
  const end = queue.findIndex((job) => {
    bytes += job.bytes
    return bytes > maxBytes
  })
  return end < 0 ? queue : queue.slice(0, Math.max(end, 1))
}

async function commit(session: ZkSession, group: readonly Job[]): Promise<void> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const client = await session.client()
    const office = await readOffice(session, client)
    const found = await revisionsOf(session, client, group)
    const { settle, ops, revision } = decide(session, group, { office, found })
    if (ops.length === 0) return settle()
    await makeFolders(session, client, ops)
    const outcome = await client.multi(ops)
    if (outcome.kind === 'refused') continue
    see(session, {
      term: Math.max(office.term, session.seen.term),
      revision: Math.max(revision, session.seen.revision),
    })
    return settle()
  }
  throw unavailableError(session.target.label, new Error('other writers were always first'))
}

interface Known {
  readonly office: Office
  readonly found: ReadonlyMap<string, number>
}

/** Which jobs can be done, by which steps. */
function decide(session: ZkSession, group: readonly Job[], { office, found }: Known) {
  const { paths } = session
  const staging = openStaging(found, paths.nodeOf)
  const outcomes: (() => void)[] = []
  let { revision } = office
  for (const { writes, term, resolve, reject } of group) {
    const refusal = termRefusal(session, term, office) ?? staging.add(writes, revision + 1)
    if (refusal !== undefined) {
      outcomes.push(() => reject(refusal))
      continue
    }
    const own = ++revision
    outcomes.push(() => resolve(own))
  }
  const guards: readonly ZkOp[] = [
    { kind: 'check', path: paths.term, version: office.termVersion },
    { kind: 'set', path: paths.revision, data: String(revision), version: office.revisionVersion },
  ]
  const settle = () => {
    for (const outcome of outcomes) outcome()
  }
  return { settle, revision, ops: revision === office.revision ? [] : [...guards, ...staging.ops()] }
}

function isOver(session: ZkSession, term: number): boolean {
  for (const tenure of session.tenures) tenure.isValid() // whose time is up ends here, and is over
  return session.over > 0 && term <= session.over
}

function termRefusal(session: ZkSession, term: number, office: Office): AppError | undefined {
  if (term < office.term) return termError(term, office.term)
  if (term > office.term) {
    return wentBackError({ what: session.target.label, count: 'term', seen: term, found: office.term })
  }
  return isOver(session, term) ? overError(term) : undefined
}

/** Revisions of the keys of a group, without those that don't exist. */
async function revisionsOf(session: ZkSession, client: ZkClient, group: readonly Job[]) {
  const keys = new Set(group.flatMap(({ writes }) => writes.map(({ key }) => key)))
  const found = new Map<string, number>()
  await inParallel([...keys], async (key) => {
    const node = await client.get(session.paths.nodeOf(key))
    if (node !== undefined) found.set(key, Number.parseInt(node.data, 10))
  })
  return found
}

async function makeFolders({ folders }: ZkSession, client: ZkClient, ops: readonly ZkOp[]): Promise<void> {
  const wanted = new Set(
    ops.flatMap((op) => (op.kind === 'create' ? [op.path.slice(0, op.path.lastIndexOf('/'))] : [])),
  )
  for (const folder of wanted) {
    if (folders.has(folder)) continue
    await client.create(folder, '', 'persistent')
    folders.add(folder)
  }
}

/** Runs `task` for each item, a bounded number at once. */
export async function inParallel<T>(items: readonly T[], task: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < items.length) {
      const item = items[next++]
      if (item !== undefined) await task(item)
    }
  }
  await Promise.all(Array.from({ length: Math.min(parallelReads, items.length) }, worker))
}
