import { type Clock } from '../../core/base/clock.ts'
import { errorMessage } from '../../core/base/errors.ts'
import { type Ip } from '../../core/base/ip.ts'
import { type Logger } from '../../core/base/log.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type BackendPeer } from './peers.ts'
import { newPeer, type PeerState, stepPeer } from './peer-state.ts'

/** Whether a node answers within a time. */
export type Probe = (
  address: Ip,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
) => Promise<'answered' | 'silence'>

/** What watching peers needs. */
export interface WatchPeersOptions {
  readonly peers: () => readonly BackendPeer[]
  /** Asks the peer's daemon. */
  readonly ask: Probe
  /** Asks the peer's kernel, as soon as its daemon missed one: a daemon that restarts is no reason to bypass its node. */
  readonly knock: Probe
  /** Which peers are down; told when that changes. What it throws is logged, and tried again with the next change. */
  readonly onChange: (down: ReadonlySet<NodeName>, options: { readonly signal: AbortSignal }) => Promise<void>
  readonly clock: Clock
  readonly log: Logger
}

/** A peer, as a person sees it. */
export interface PeerReport {
  readonly node: NodeName
  readonly underlay: Ip
  readonly state: PeerState['kind']
  /** How long it has been down. */
  readonly downMs?: number
}

/** The watch over the nodes that carry backends. */
export interface PeerWatch {
  reports(): readonly PeerReport[]
  /** Probes that got no answer, since the start. */
  misses(): number
  /** Until the signal aborts. */
  run(options: { readonly signal: AbortSignal }): Promise<void>
}

/** Time between two probes of a peer, and how long each is waited for, in milliseconds. */
export const probeEveryMs = 200
/** Peers in one round: at most 250 probes a second; with more peers each is probed less often. */
const peersInRound = 50
/**
 * A round that took this much longer than it may was held up in this process, by more than a busy machine does: its silence
 * says nothing. What is held up for less is not deaf: an answer that is there is taken before the time counts as over.
 */
const heldUpMs = 1_000

interface Known {
  readonly peer: BackendPeer
  state: PeerState
}

/** Opens it; nothing is probed before it runs. */
export function openPeerWatch(options: WatchPeersOptions): PeerWatch {
  const { clock } = options
  const known = new Map<NodeName, Known>()
  let misses = 0
  let next = 0
  const round = async (signal: AbortSignal) => {
    const all = refresh(known, options.peers(), clock.monotonicMs())
    const chosen = Array.from({ length: Math.min(peersInRound, all.length) }, (_, i) => all[(next + i) % all.length])
    next = all.length === 0 ? 0 : (next + chosen.length) % all.length
    const startedMs = clock.monotonicMs()
    const probed = chosen.filter((entry) => entry !== undefined)
    const outcomes = await Promise.all(probed.map((entry) => probe(options, entry, signal)))
    if (signal.aborted) return
    const nowMs = clock.monotonicMs()
    const isHeldUp = nowMs - startedMs > probeEveryMs + heldUpMs
    for (const [i, entry] of probed.entries()) {
      const kind = outcomes[i] === 'answered' ? 'answer' : 'silence'
      if (kind === 'silence' && isHeldUp) continue
      if (kind === 'silence') misses++
      entry.state = stepPeer(entry.state, { kind, nowMs })
    }
  }
  return {
    misses: () => misses,
    reports: () =>
      [...known.values()].map(({ peer, state }) => ({
        ...{ node: peer.name, underlay: peer.underlay, state: state.kind },
        ...(state.kind === 'down' ? { downMs: Math.round(clock.monotonicMs() - state.sinceMs) } : {}),
      })),
    run: ({ signal }) => run({ ...options, round, known }, signal),
  }
}

interface Running extends WatchPeersOptions {
  readonly round: (signal: AbortSignal) => Promise<void>
  readonly known: ReadonlyMap<NodeName, Known>
}

async function run({ round, known, onChange, clock, log }: Running, signal: AbortSignal): Promise<void> {
  let told: ReadonlySet<NodeName> = new Set()
  while (!signal.aborted) {
    const dueMs = clock.monotonicMs() + probeEveryMs
    await round(signal)
    const down = new Set([...known.values()].flatMap(({ peer, state }) => (state.kind === 'down' ? [peer.name] : [])))
    if (!signal.aborted && (down.size !== told.size || [...down].some((name) => !told.has(name)))) {
      tell(log, told, down)
      told = down
      await onChange(down, { signal }).catch((error: unknown) => {
        log.warn({ reason: errorMessage(error) }, 'backends of peers could not be bypassed; the next audit does it')
      })
    }
    const restMs = Math.max(0, dueMs - clock.monotonicMs())
    await clock.sleep(restMs, { signal }).catch((error: unknown) => {
      if (!signal.aborted) throw error
    })
  }
}

function tell(log: Logger, before: ReadonlySet<NodeName>, after: ReadonlySet<NodeName>): void {
  const down = [...after].filter((name) => !before.has(name))
  const up = [...before].filter((name) => !after.has(name))
  if (down.length > 0) log.warn({ nodes: down }, 'nodes do not answer: their backends get nothing new from here')
  if (up.length > 0) log.info({ nodes: up }, 'nodes answer again, or carry no backends any more')
}

/** Peers that came are added, those that left or moved are forgotten. */
function refresh(known: Map<NodeName, Known>, peers: readonly BackendPeer[], nowMs: number): readonly Known[] {
  const names = new Map(peers.map((peer) => [peer.name, peer.underlay]))
  for (const [name, { peer }] of known) if (names.get(name) !== peer.underlay) known.delete(name)
  for (const peer of peers) if (!known.has(peer.name)) known.set(peer.name, { peer, state: newPeer(nowMs) })
  return [...known.values()]
}

async function probe({ ask, knock }: WatchPeersOptions, { peer, state }: Known, signal: AbortSignal) {
  const how = { timeoutMs: probeEveryMs, signal }
  const silent = () => 'silence' as const // AbortError, or an address that can't be asked
  const asked = ask(peer.underlay, how).catch(silent)
  if (state.kind === 'up' && state.misses === 0) return asked
  const answers = [asked, knock(peer.underlay, how).catch(silent)]
  const first = Promise.any(
    answers.map(async (answer) => ((await answer) === 'answered' ? 'answered' : Promise.reject())),
  )
  return first.catch(silent)
}
