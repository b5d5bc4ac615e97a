import { type Clock } from '../../base/clock.ts'
import { type Convergence, convergence, type NodeHealth, type NodeProgress } from '../../model/convergence.ts'
import { type NodeName } from '../../model/ids.ts'
import { type SnapshotKeeper } from './keeper.ts'

/** What a node tells when it is done with a version. */
export interface AppliedVersion extends NodeHealth {
  readonly version: number
  /** Empty: all of it is programmed. */
  readonly problem: string
}

/** Who has programmed which version, and waiting for it. */
export interface Progress {
  connected(node: NodeName): void
  disconnected(node: NodeName): void
  applied(node: NodeName, told: AppliedVersion): void
  of(node: NodeName): NodeProgress
  /** The node is no part of the cluster any more. */
  forget(node: NodeName): void
  /** How long no daemon of the node has been connected; 0 while one is. */
  silentForMs(node: NodeName): number
  /** Has `version` reached every node now? */
  check(version: number): Convergence
  /**
   * Waits until it has, or until `timeoutMs` is over; then says who is missing. `of`: only nodes whose daemon is there, or
   * was there (or this master began) less than {@link returnMs} ago, are waited for, and not those that say that they
   * failed at it or at a later one.
   * @throws AbortError
   */
  wait(
    version: number,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly of?: 'answering' },
  ): Promise<Convergence>
  /** Calls `listener` whenever a node has told something, or left. @returns ends that */
  watch(listener: () => void): () => void
}

/**
 * A node daemon that was killed is back within this, and so are all of them after a change of leader. Meanwhile its kernel
 * balances on as it was told last.
 */
export const returnMs = 5_000

/** What progress needs. */
export interface ProgressOptions {
  readonly keeper: SnapshotKeeper
  /** Nodes that convergence waits for. */
  readonly waitedFor: () => Iterable<NodeName>
  readonly clock: Clock
}

interface Entry {
  appliedVersion: number
  /** The latest that it told anything of. */
  triedVersion: number
  problem: string
  health: NodeHealth | undefined
  connected: boolean
  /** Monotonic; when it was last connected. */
  seenMs: number
}

const nothingTold = { appliedVersion: 0, triedVersion: 0, problem: '', health: undefined } as const

/** Opens it without knowledge of any node. */
export function openProgress({ keeper, waitedFor, clock }: ProgressOptions): Progress {
  const entries = new Map<NodeName, Entry>()
  const waiters = new Set<() => void>()
  const openedMs = clock.monotonicMs()
  const unknownNode = (): Entry => ({ ...nothingTold, connected: false, seenMs: openedMs })
  const entryOf = (node: NodeName): Entry => {
    const found = entries.get(node) ?? unknownNode()
    entries.set(node, found)
    return found
  }
  const wake = () => {
    for (const waiter of [...waiters]) waiter()
  }
  const of = (node: NodeName): NodeProgress => {
    const { appliedVersion, problem, connected, health } = entries.get(node) ?? unknownNode()
    const told = health === undefined ? {} : { health }
    return { node, appliedVersion, connected, ...(problem === '' ? {} : { problem }), ...told }
  }
  const check = (version: number, among: 'all' | 'answering' = 'all') => {
    const failedAt = (node: NodeName) => {
      const { problem, triedVersion } = entryOf(node)
      return problem !== '' && triedVersion >= version
    }
    const isThere = (node: NodeName) => entryOf(node).connected || clock.monotonicMs() - entryOf(node).seenMs < returnMs
    const counts = ({ node }: NodeProgress) => among === 'all' || (isThere(node) && !failedAt(node))
    const nodes = [...waitedFor()].map(of).filter(counts)
    const found = convergence(version, nodes)
    return version > keeper.version() ? { ...found, converged: false } : found
  }
  const wait: Progress['wait'] = (version, { timeoutMs, signal, of: among }) =>
    new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const finish = (settle: () => void) => {
        waiters.delete(look)
        cancel()
        cancelReturns()
        stopListening()
        signal.removeEventListener('abort', abort)
        settle()
      }
      const look = () => {
        const found = check(version, among)
        if (found.converged) finish(() => resolve(found))
      }
      const abort = () => finish(() => reject(signal.reason))
      const cancel = clock.after(timeoutMs, () => finish(() => resolve(check(version, among))))
      const cancelReturns = among === 'answering' ? clock.after(returnMs, look) : () => undefined
      const stopListening = keeper.onPublish(look)
      signal.addEventListener('abort', abort, { once: true })
      waiters.add(look)
      look()
    })
  return {
    connected: (node) => {
      // What an earlier connection applied says nothing: the daemon may have begun anew. It tells again.
      entries.set(node, { ...unknownNode(), connected: true })
    },
    disconnected: (node) => {
      Object.assign(entryOf(node), { connected: false, seenMs: clock.monotonicMs() })
      wake()
    },
    applied: (node, { version, problem, warnings, repairs }) => {
      const entry = entryOf(node)
      // With a problem, the version is the one that failed: what was applied before stays applied.
      if (problem === '') entry.appliedVersion = Math.max(entry.appliedVersion, version)
      entry.triedVersion = Math.max(entry.triedVersion, version)
      entry.problem = problem
      entry.health = { warnings, repairs }
      wake()
    },
    of,
    forget: (node) => {
      entries.delete(node)
      wake()
    },
    silentForMs: (node) => {
      const { connected, seenMs } = entries.get(node) ?? unknownNode()
      return connected ? 0 : clock.monotonicMs() - seenMs
    },
    check: (version) => check(version),
    wait,
    watch: (listener) => {
      waiters.add(listener)
      return () => waiters.delete(listener)
    },
  }
}
