import { hasCode } from '../base/errors.ts'
import { openNotice } from './notice.ts'
import { type Leadership } from './store.ts'
import { openTenure, type Tenure } from './tenure.ts'
import { orAborted } from './turns.ts'
import { type ZkClient } from './zookeeper-client.ts'
import { readOffice, see, type ZkSession } from './zookeeper-session.ts'

/** What is watched is looked at again after that, should a notification get lost. */
const pollMs = 1_000

/** How long a candidate without a connection waits before the next attempt. */
const retryMs = 100

/** Part of the session's time that a leader leaves unused, for clocks that run at unlike speeds. */
const marginShare = 1 / 8

/** Competes until it wins. @throws the signal's reason, ERR_STORE_WENT_BACK, ERR_STORE_AUTH */
export async function electOnZooKeeper(
  session: ZkSession,
  candidate: string,
  signal: AbortSignal,
): Promise<Leadership> {
  for (;;) {
    signal.throwIfAborted()
    try {
      const client = await orAborted(session.client(), signal)
      return await standFor(session, client, { candidate, signal })
    } catch (error) {
      signal.throwIfAborted()
      if (!hasCode(error, 'ERR_STORE_UNAVAILABLE')) throw error
      await nap(session, retryMs, signal)
    }
  }
}

interface Candidacy {
  readonly candidate: string
  readonly signal: AbortSignal
}

/** Within one session: its end removes the candidate's node. */
async function standFor(session: ZkSession, client: ZkClient, { candidate, signal }: Candidacy): Promise<Leadership> {
  const path = await client.create(`${session.paths.election}/c-`, candidate, 'ephemeral-sequential')
  const own = (path ?? '').slice(session.paths.election.length + 1)
  try {
    for (;;) {
      const bell = ring()
      await readOffice(session, client) // a standby too shall notice when the servers lose something
      const names = (await client.children(session.paths.election, bell.wake)) ?? []
      signal.throwIfAborted()
      if (!names.includes(own)) return await standFor(session, client, { candidate, signal }) // somebody removed it
      const won = inOrder(names)[0] === own ? await beginTerm(session, client, { own, candidate }) : undefined
      if (won !== undefined) return takeOffice(session, client, { own, ...won })
      await nap(session, pollMs, AbortSignal.any([signal, client.ended]), bell.rung)
    }
  } catch (error) {
    void removeNode(session, client, own)
    throw error
  }
}

/** By the sequence number, ten digits at the end. */
function inOrder(names: readonly string[]): readonly string[] {
  return names.toSorted((a, b) => (a.slice(-10) < b.slice(-10) ? -1 : 1))
}

interface Won {
  readonly term: number
  readonly sentAtMs: number
}

/** Bumps the term, unless the candidate's node went or somebody else was first. */
async function beginTerm(
  session: ZkSession,
  client: ZkClient,
  { own, candidate }: { readonly own: string; readonly candidate: string },
): Promise<Won | undefined> {
  const { paths, clock } = session
  const sentAtMs = clock.monotonicMs()
  const office = await readOffice(session, client)
  const term = office.term + 1
  const outcome = await client.multi([
    { kind: 'check', path: `${paths.election}/${own}` },
    { kind: 'set', path: paths.term, data: `${term} ${candidate}`, version: office.termVersion },
  ])
  if (outcome.kind === 'refused') return undefined
  see(session, { term, revision: session.seen.revision })
  return { term, sentAtMs }
}

function takeOffice(
  session: ZkSession,
  client: ZkClient,
  { own, term, sentAtMs }: Won & { readonly own: string },
): Leadership {
  const { clock } = session
  let cancel: () => void = () => undefined
  const release = async () => {
    cancel()
    session.over = Math.max(session.over, term)
    await removeNode(session, client, own)
    session.tenures = session.tenures.filter((other) => other !== tenure)
  }
  const holdMs = client.timeoutMs * (1 - marginShare)
  const tenure = openTenure({ term, holdMs, sentAtMs, clock, release })
  session.tenures = [...session.tenures, tenure]
  client.ended.addEventListener('abort', () => tenure.end(client.ended.reason), { once: true })
  if (client.ended.aborted) tenure.end(client.ended.reason)
  const confirmLater = () => {
    cancel = clock.after(client.timeoutMs / 3, () => {
      if (!tenure.isValid()) return
      confirmLater()
      void confirm(session, client, tenure)
    })
  }
  confirmLater()
  return tenure.leadership
}

/** An answer shows that the server has heard of the session, and keeps it for its whole time from then on. */
async function confirm(session: ZkSession, client: ZkClient, tenure: Tenure): Promise<void> {
  const sentAtMs = session.clock.monotonicMs()
  try {
    await readOffice(session, client)
    tenure.confirm(sentAtMs)
  } catch {
    // The end of the session, or a count that went back, has ended the tenure already.
  }
}

async function removeNode({ paths }: ZkSession, client: ZkClient, own: string): Promise<void> {
  try {
    if (own !== '' && !client.ended.aborted) await client.remove(`${paths.election}/${own}`)
  } catch {
    // ERR_STORE_UNAVAILABLE: it goes with the session
  }
}

/** A bell that is rung at most once. */
function ring(): { readonly rung: Promise<void>; readonly wake: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { rung: promise, wake: resolve }
}

/** Resolves after `ms` or when the bell rings. @throws the signal's reason */
async function nap({ clock }: ZkSession, ms: number, signal: AbortSignal, rung?: Promise<void>): Promise<void> {
  const timer = ring()
  const cancel = clock.after(ms, timer.wake)
  try {
    await orAborted(rung === undefined ? timer.rung : Promise.race([timer.rung, rung]), signal)
  } finally {
    cancel()
  }
}

/** Follows who leads, once for all who want to know. */
export interface LeaderWatch {
  watch(signal: AbortSignal): AsyncIterable<string | undefined>
  close(): Promise<void>
}

/** The candidate with the lowest number leads, or is about to. */
export function openZkLeaderWatch(session: ZkSession): LeaderWatch {
  const leader = openNotice<string | undefined>(undefined)
  const first = ring()
  let running: Promise<void> | undefined
  const follow = async () => {
    const { closing } = session
    while (!closing.signal.aborted) {
      try {
        const client = await session.client()
        const bell = ring()
        await readOffice(session, client) // whoever waits and watches shall notice when the servers lose something
        leader.set(await leaderOf(session, client, bell.wake))
        first.wake()
        await nap(session, pollMs, AbortSignal.any([closing.signal, client.ended]), bell.rung)
      } catch {
        // Not reachable: what was known last stays until better is known.
        first.wake()
        await nap(session, retryMs, closing.signal).catch(() => undefined)
      }
    }
  }
  async function* watch(signal: AbortSignal): AsyncGenerator<string | undefined> {
    running ??= follow()
    await orAborted(first.rung, signal).catch(() => undefined)
    yield* leader.watch(signal)
  }
  const close = async () => {
    await running
    leader.close()
  }
  return { watch, close }
}

async function leaderOf({ paths }: ZkSession, client: ZkClient, onChange: () => void): Promise<string | undefined> {
  const names = inOrder((await client.children(paths.election, onChange)) ?? [])
  const [lowest] = names
  return lowest === undefined ? undefined : (await client.get(`${paths.election}/${lowest}`))?.data
}
