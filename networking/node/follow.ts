import { type SnapshotWatch } from '../../core/api/client.ts'
import { type Clock } from '../../core/base/clock.ts'
import { errorMessage } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { openLoop, type ReconcileLoop } from '../../core/reconcile/loop.ts'
import { type AuditRequests } from './audit-requests.ts'
import { type Pipeline } from './pipeline.ts'
import { type Repair } from './stage.ts'

/** Longest time between two comparisons of the kernel with the snapshot. */
const auditEveryMs = 30_000

/** What following a cluster needs. */
export interface FollowOptions {
  readonly watch: SnapshotWatch
  readonly pipeline: Pipeline
  /** Called for each version, before it is acknowledged. */
  readonly onApplied: (snapshot: ClusterSnapshot) => void
  /** What is wrong on ways to other nodes; told with each acknowledgement. Absent: nothing is known of them. */
  readonly warnings?: () => readonly string[]
  /** Parts that notice something ask for an audit by these. */
  readonly requests?: AuditRequests
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
}

/**
 * Programs version after version and acknowledges each that is wholly programmed. What fails is told to the master and
 * repaired by the auditor, which also compares the kernel with the snapshot on a timer. Ends when the signal aborts.
 */
export async function followCluster(options: FollowOptions): Promise<void> {
  const { pipeline, signal } = options
  const ledger = openLedger(options)
  const auditor = openAuditor(options, ledger)
  options.requests?.serve(() => auditor.trigger('audit'))
  auditor.trigger('audit') // what the disk said is programmed before any master answers
  try {
    for await (const update of options.watch) {
      try {
        ledger.repaired(await pipeline.apply(update, { signal }))
        options.onApplied(update.next)
        ledger.ack(update.next.version)
      } catch (error) {
        if (signal.aborted) break
        tellProblem(options, ledger, { snapshot: update.next, error })
        auditor.trigger('audit')
      }
    }
  } finally {
    await auditor.close()
  }
}

function openAuditor(options: FollowOptions, ledger: Ledger): ReconcileLoop {
  const { pipeline, clock, log } = options
  const run = async (signal: AbortSignal) => {
    const { current } = pipeline
    if (current.version === 0) return // nothing is known yet: an empty snapshot would sweep everything away
    ledger.repaired(await pipeline.audit({ signal }))
    options.onApplied(pipeline.current)
    ledger.ack(pipeline.current.version)
  }
  return openLoop({ run, auditEveryMs, clock, log })
}

/** What the master is told beside versions. */
interface Ledger {
  /** Counts and logs. */
  repaired(repairs: readonly Repair[]): void
  ack(version: number, problem?: string): void
}

/** More would say nothing new, and each acknowledgement carries them, of a thousand nodes maybe. */
const maxWarnings = 20

function openLedger({ watch, log, warnings = () => [] }: FollowOptions): Ledger {
  const repairs: Record<string, number> = {}
  let programmed = false
  return {
    repaired: (found) => {
      // Until a version is programmed, what is missing was not there before: that is no repair.
      if (programmed) for (const { stage } of found) repairs[stage] = (repairs[stage] ?? 0) + 1
      tellRepairs(log, found)
    },
    ack: (version, problem) => {
      programmed ||= problem === undefined
      watch.ack(version, problem, { warnings: warnings().slice(0, maxWarnings), repairs })
    },
  }
}

function tellRepairs(log: Logger, repairs: readonly Repair[]): void {
  if (repairs.length === 0) return
  const shown = repairs.slice(0, 50).map(({ operation }) => operation)
  log.info({ count: repairs.length, operations: shown }, 'kernel differed from the snapshot; repaired')
}

interface Problem {
  readonly snapshot: ClusterSnapshot
  readonly error: unknown
}

function tellProblem({ log }: FollowOptions, ledger: Ledger, { snapshot, error }: Problem): void {
  const reasons = (error instanceof AggregateError ? error.errors : [error]).flatMap(causes)
  log.error({ version: snapshot.version, reasons }, 'version is not wholly programmed')
  ledger.ack(snapshot.version, reasons.join('; '))
}

function causes(error: unknown): readonly string[] {
  return error instanceof AggregateError ? error.errors.flatMap(causes) : [errorMessage(error)]
}
