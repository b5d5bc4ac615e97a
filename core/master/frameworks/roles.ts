import { type FrameworkEntry, type MasterContext } from '../context.ts'

/**
 * Makes the framework's roles, except the suppressed ones, those in which it is offered something; none while nobody is
 * subscribed. Offers that are out already stay. Source: reference/mesos-core.md, Offers: "SUPPRESS … rescinds none".
 */
export function offerInRoles({ allocator }: MasterContext, entry: FrameworkEntry, suppressed: Iterable<string>): void {
  const { id, info } = entry
  entry.suppressed = new Set([...suppressed].filter((role) => info.roles.includes(role)))
  allocator.addFramework(id, info.roles, [...entry.suppressed])
  if (entry.state !== 'connected') allocator.setFrameworkActive(id, 'inactive')
}

/** SUPPRESS: no roles given means all. */
export function suppressRoles(
  context: MasterContext,
  entry: FrameworkEntry,
  roles: readonly string[] = entry.info.roles,
): void {
  offerInRoles(context, entry, [...entry.suppressed, ...roles])
}

/** REVIVE: drops refusals too, and allocates at once. No roles given means all. */
export function reviveRoles(
  context: MasterContext,
  entry: FrameworkEntry,
  roles: readonly string[] = entry.info.roles,
): void {
  const { allocator, offers } = context
  allocator.clearFilters(entry.id, roles)
  const still = [...entry.suppressed].filter((role) => !roles.includes(role))
  offerInRoles(context, entry, still)
  offers.schedule()
}
