import { AppError, errorMessage, hasCode } from '../../core/base/errors.ts'
import { formatRouteOp } from '../netlink/format.ts'
import { type OpOutcome, type RouteOp, type RouteSocket } from '../netlink/ops.ts'

/** Ops that are given to the kernel at once; between two batches the daemon does other work and may be stopped. */
const batchOps = 1024

/** What the kernel says when a thing to be deleted is not there: nexthop and FDB, routes, devices, addresses. */
const absenceCodes = ['ENOENT', 'ESRCH', 'ENODEV', 'EADDRNOTAVAIL'].map((errno) => `ERR_NETLINK_${errno}`)

/**
 * Performs the ops in order, all of them: a failed one does not stop the next.
 * @throws AggregateError of one ERR_OVERLAY_APPLY for each failed op, naming the command; AbortError when aborted
 */
export async function applyOverlay(
  routes: RouteSocket,
  ops: readonly RouteOp[],
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const failures: AppError[] = []
  for (let start = 0; start < ops.length; start += batchOps) {
    signal.throwIfAborted()
    const batch = ops.slice(start, start + batchOps)
    const outcomes = await routes.perform(batch)
    failures.push(...batch.flatMap((op, index) => failure(op, outcomes[index])))
  }
  if (failures.length > 0)
    throw new AggregateError(failures, `${failures.length} of ${ops.length} overlay changes failed`)
}

function failure(op: RouteOp, outcome: OpOutcome | undefined): readonly AppError[] {
  if (outcome?.ok === true) return []
  const cause = outcome?.error
  const absent = absenceCodes.some((code) => hasCode(cause, code))
  if (op.kind.endsWith('.del') && absent) return []
  const reason = cause === undefined ? 'the socket gave no answer' : errorMessage(cause)
  return [new AppError('ERR_OVERLAY_APPLY', `"${formatRouteOp(op)}" failed: ${reason}`, { cause })]
}
