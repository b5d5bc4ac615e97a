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
  const { watch, pipeline, log, signal } = options
  const auditor = openAuditor(options)
  options.requests?.serve(() => auditor.trigger('audit'))
  auditor.trigger('audit') // what the disk said is programmed before any master answers
  try {
    for await (const update of watch) {
      try {
        tellRepairs(log, await pipeline.apply(update, { signal }))
        options.onApplied(update.next)
        watch.ack(update.next.version)
      } catch (error) {
        if (signal.aborted) break
        tellProblem(options, update.next, error)
        auditor.trigger('audit')
      }
    }
  } finally {
    await auditor.close()
  }
}

function openAuditor(options: FollowOptions): ReconcileLoop {
  const { watch, pipeline, clock, log } = options
  const run = async (signal: AbortSignal) => {
    const { current } = pipeline
    if (current.version === 0) return // nothing is known yet: an empty snapshot would sweep everything away
    const repairs = await pipeline.audit({ signal })
    tellRepairs(log, repairs)
    options.onApplied(pipeline.current)
    watch.ack(pipeline.current.version)
  }
  return openLoop({ run, auditEveryMs, clock, log })
}

function tellRepairs(log: Logger, repairs: readonly Repair[]): void {
  if (repairs.length === 0) return
  const shown = repairs.slice(0, 50).map(({ operation }) => operation)
  log.info({ count: repairs.length, operations: shown }, 'kernel differed from the snapshot; repaired')
}

function tellProblem({ watch, log }: FollowOptions, snapshot: ClusterSnapshot, error: unknown): void {
  const reasons = (error instanceof AggregateError ? error.errors : [error]).flatMap(causes)
  log.error({ version: snapshot.version, reasons }, 'version is not wholly programmed')
  watch.ack(snapshot.version, reasons.join('; '))
}

function causes(error: unknown): readonly string[] {
  return error instanceof AggregateError ? error.errors.flatMap(causes) : [errorMessage(error)]
}
