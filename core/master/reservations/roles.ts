import { AppError } from '../../base/errors.ts'
import { anyRole, parseRole } from '../../model/role.ts'
import { type RoleUse } from '../allocator/allocator.ts'
import { exceeded, type QuotaLimits } from '../allocator/quota.ts'
import { type MasterContext } from '../context.ts'

/** A role and its new limits; none of them: it has no quota any more. */
export interface QuotaChange {
  readonly role: string
  readonly limits: QuotaLimits
}

/**
 * Sets quota limits, all or none, durable when it resolves. Source: mesos, UPDATE_QUOTA, src/master/quota_handler.cpp.
 * @throws ERR_MODEL_ROLE; ERR_MASTER_QUOTA_ROLE for `*` and for a role below another; ERR_MASTER_QUOTA_LIMIT for a negative or
 *   broken amount; ERR_MASTER_QUOTA_CONSUMED when a role consumes more already, unless forced; what the store throws
 */
export async function setQuota(
  context: MasterContext,
  changes: readonly QuotaChange[],
  { force = 'unforced' }: { readonly force?: 'forced' | 'unforced' } = {},
): Promise<void> {
  const { allocator, registrar, offers } = context
  const roles = allocator.roles()
  for (const { role, limits } of changes) checkQuota(role, limits, force === 'forced' ? undefined : roles.get(role))
  const records = changes.map((change) => {
    return [change.role, Object.keys(change.limits).length === 0 ? undefined : change] as const
  })
  await registrar.apply(() => ({ quotas: new Map(records) }))
  for (const [role, record] of records) allocator.setQuota(role, record?.limits)
  offers.schedule()
}

function checkQuota(role: string, limits: QuotaLimits, use: RoleUse | undefined): void {
  parseRole(role)
  if (role === anyRole) throw new AppError('ERR_MASTER_QUOTA_ROLE', `the role "${anyRole}" can't have a quota`)
  if (role.includes('/')) {
    throw new AppError('ERR_MASTER_QUOTA_ROLE', `"${role}" is below another role: set the quota of the top one`)
  }
  for (const [name, amount] of Object.entries(limits)) {
    if (Number.isSafeInteger(amount) && amount >= 0) continue
    throw new AppError('ERR_MASTER_QUOTA_LIMIT', `${name} of "${role}" must be a whole number, not below 0`)
  }
  const over = use === undefined ? [] : exceeded(limits, use.consumed)
  if (over.length === 0) return
  const facts = over.map((name) => `${name} ${use?.consumed[name]} > ${limits[name]}`).join(', ')
  throw new AppError('ERR_MASTER_QUOTA_CONSUMED', `role "${role}" consumes more already: ${facts}; use force`)
}

/**
 * Sets weights, all or none, durable when it resolves. Source: mesos, UPDATE_WEIGHTS.
 * @throws ERR_MODEL_ROLE; ERR_MASTER_WEIGHT for one that is not above 0; what the store throws
 */
export async function setWeights(
  { allocator, registrar, offers }: MasterContext,
  weights: Readonly<Record<string, number>>,
): Promise<void> {
  for (const [role, weight] of Object.entries(weights)) {
    parseRole(role)
    if (Number.isFinite(weight) && weight > 0) continue
    throw new AppError('ERR_MASTER_WEIGHT', `the weight of "${role}" must be a number above 0`)
  }
  const records = Object.entries(weights).map(([role, weight]) => [role, { role, weight }] as const)
  await registrar.apply(() => ({ weights: new Map(records) }))
  for (const [role, { weight }] of records) allocator.setWeight(role, weight)
  offers.schedule()
}

/** Every role that has frameworks, a weight, a quota, something allocated or reserved. */
export function roles({ allocator }: MasterContext): ReadonlyMap<string, RoleUse> {
  return allocator.roles()
}
