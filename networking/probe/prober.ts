import { type Clock } from '../../core/base/clock.ts'
import { errorMessage } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { repairChecksums } from './checksum.ts'
import { type Askers, measurePath, type PathFinding } from './measure.ts'
import { type ChecksumOffload } from './offload.ts'
import { type Peer } from './peers.ts'
import { formatPathWarning } from './warning.ts'

/** What probing needs. All of it belongs to one node. */
export interface ProberOptions {
  readonly askers: Askers
  readonly peers: () => readonly Peer[]
  /** The underlay device with its MTU, as it is now; undefined while there is none. */
  readonly underlay: () => Promise<{ readonly device: string; readonly mtuBytes: number } | undefined>
  /** Names of our VXLAN devices, as they are now. */
  readonly devices: () => Promise<readonly string[]>
  readonly offload: Pick<ChecksumOffload, 'read' | 'set'>
  /** {@link Prober.pathMtuBytes} or {@link Prober.warnings} is another one now. */
  readonly onChange: () => void
  readonly clock: Clock
  readonly log: Logger
}

/** What is known of the ways to the other nodes. */
export interface Prober {
  /** Only ways that carry less than the underlay device. */
  readonly pathMtuBytes: () => ReadonlyMap<NodeName, number>
  /** One for each way on which something is wrong. */
  readonly warnings: () => readonly string[]
  /** Probes one node after another until the signal aborts. */
  run(options: { readonly signal: AbortSignal }): Promise<void>
}

/** Least time between two nodes, which bounds what probes cost whatever the cluster's size, in milliseconds. */
const spacingMs = 100
/** Time between two probes of one node, in milliseconds; longer where there are more nodes than fit. */
const everyMs = 60_000
/** How often new nodes are looked for, in milliseconds. */
const lookMs = 1000

interface Known {
  readonly peer: Peer
  readonly finding: PathFinding
  readonly warning: string | undefined
  readonly underlayMtuBytes: number
  readonly checkedMs: number
}

/** Opens it without knowledge of any way. */
export function openProber(options: ProberOptions): Prober {
  const { peers, clock, log, underlay } = options
  const known = new Map<NodeName, Known>()
  const round = async (signal: AbortSignal): Promise<'probed' | 'idle'> => {
    const device = await underlay()
    const current = peers()
    forgetOthers(known, current, options)
    const peer = device && nextDue(known, current, { nowMs: clock.monotonicMs(), mtuBytes: device.mtuBytes })
    if (device === undefined || peer === undefined) return 'idle'
    const found = await probe(options, peer, { underlayMtuBytes: device.mtuBytes, signal })
    const before = known.get(peer.name)
    // Silence says nothing new: what was found before holds on.
    const finding = found.kind === 'silent' ? (before?.finding ?? found) : found
    const warning = formatPathWarning(peer, finding, device)
    const checkedMs = clock.monotonicMs()
    known.set(peer.name, { peer, finding, warning, underlayMtuBytes: device.mtuBytes, checkedMs })
    if (warning !== before?.warning) tell(log, peer, warning)
    if (warning !== before?.warning || limitOf(finding) !== limitOf(before?.finding)) options.onChange()
    return 'probed'
  }
  return {
    pathMtuBytes: () => new Map([...known].flatMap(([name, { finding }]) => withLimit(name, finding))),
    warnings: () => [...known.values()].flatMap(({ warning }) => warning ?? []),
    run: async ({ signal }) => {
      while (!signal.aborted) {
        const done = await attempt(log, signal, () => round(signal))
        const sleep = clock.sleep(done === 'probed' ? spacingMs : lookMs, { signal })
        await sleep.catch(() => undefined) // aborted: the loop ends
      }
    },
  }
}

async function attempt(log: Logger, signal: AbortSignal, round: () => Promise<'probed' | 'idle'>) {
  try {
    return await round()
  } catch (error) {
    if (!signal.aborted) log.warn({ reason: errorMessage(error) }, 'probing failed; trying again')
    return 'idle'
  }
}

function limitOf(finding: PathFinding | undefined): number | undefined {
  return finding?.kind === 'narrow' ? finding.mtuBytes : undefined
}

function withLimit(name: NodeName, finding: PathFinding): readonly (readonly [NodeName, number])[] {
  const limit = limitOf(finding)
  return limit === undefined ? [] : [[name, limit]]
}

function forgetOthers(known: Map<NodeName, Known>, peers: readonly Peer[], { onChange }: ProberOptions): void {
  const names = new Map(peers.map(({ name, underlay }) => [name, underlay]))
  for (const [name, { peer, warning }] of known) {
    if (names.get(name) === peer.underlay) continue
    known.delete(name)
    if (warning !== undefined) onChange() // a path that is too narrow is one too
  }
}

/** Nodes never probed come first, then those whose probe is oldest; a new MTU of the underlay makes all of them due. */
function nextDue(
  known: ReadonlyMap<NodeName, Known>,
  peers: readonly Peer[],
  { nowMs, mtuBytes }: { readonly nowMs: number; readonly mtuBytes: number },
): Peer | undefined {
  let due: Peer | undefined
  let oldestMs = nowMs - Math.max(everyMs, peers.length * spacingMs)
  for (const peer of peers) {
    const before = known.get(peer.name)
    if (before === undefined) return peer
    const checkedMs = before.underlayMtuBytes === mtuBytes ? before.checkedMs : Number.NEGATIVE_INFINITY
    if (checkedMs >= oldestMs) continue
    due = peer
    oldestMs = checkedMs
  }
  return due
}

interface ProbeHow {
  readonly underlayMtuBytes: number
  readonly signal: AbortSignal
}

async function probe(options: ProberOptions, peer: Peer, { underlayMtuBytes, signal }: ProbeHow): Promise<PathFinding> {
  const measure = () => measurePath(options.askers, { ...peer, underlayMtuBytes }, { signal })
  const found = await measure()
  if (found.kind !== 'checksum') return found
  const again = await measure() // lost packets may look like it once
  if (again.kind !== 'checksum') return again
  let after: PathFinding = again
  const passes = async () => {
    after = await measure()
    return after.kind === 'open' || after.kind === 'narrow'
  }
  const { offload, log } = options
  const repair = await repairChecksums({ offload, devices: await options.devices(), passes, log })
  if (repair.kind === 'elsewhere') return again
  const fields = { node: peer.name, vtep: peer.vtep, devices: repair.devices, feature: 'tx-checksum-ip-generic' }
  log.warn(fields, 'offloading spoiled the checksums of packets in VXLAN; turned off, and they pass')
  return after
}

function tell(log: Logger, { name, underlay }: Peer, warning: string | undefined): void {
  if (warning === undefined) log.info({ node: name, underlay }, 'the way to this node is as it should be')
  else log.warn({ node: name, underlay, warning }, 'the way to this node is not as it should be')
}
