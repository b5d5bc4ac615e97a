import { errorMessage } from '../../base/errors.ts'
import { type FrameworkInfo, type SchedulerCall } from '../../model/scheduler.ts'
import { type FrameworkEntry, type MasterContext } from '../context.ts'
import { decideFramework } from './lifecycle.ts'
import { publishPlace } from './place.ts'
import { offerInRoles } from './roles.ts'

/**
 * Why a framework can't become what it says in UPDATE_FRAMEWORK; undefined: it can.
 * Source: mesos, src/master/validation.cpp, framework::validateUpdate.
 */
export function updateProblem(before: FrameworkInfo, after: FrameworkInfo): string | undefined {
  const fixed = ['user', 'principal', 'checkpoint'] as const
  const changed = fixed.find((field) => before[field] !== after[field])
  return changed && `Updating 'FrameworkInfo.${changed}' is unsupported`
}

/** Enters what the framework says of itself now. Offers in a role that it left are rescinded. */
export function updateFramework(
  context: MasterContext,
  entry: FrameworkEntry,
  { info, suppressed }: Extract<SchedulerCall, { readonly kind: 'update-framework' }>,
): void {
  const { registrar, offers, log, counters } = context
  const { id } = entry
  const after = { ...info, id }
  const left = entry.info.roles.filter((role) => !after.roles.includes(role))
  entry.info = after
  publishPlace(context, entry)
  offerInRoles(context, entry, suppressed)
  offers.rescindInRoles(id, left)
  offers.schedule()
  context.changes.tell({ kind: 'framework', frameworkId: id, what: 'updated' })
  registrar.apply(decideFramework({ id, info: after, removed: false })).catch((error: unknown) => {
    counters.storeFailures++
    log.warn({ frameworkId: id, reason: errorMessage(error) }, 'framework update could not be written to the registry')
  })
}
