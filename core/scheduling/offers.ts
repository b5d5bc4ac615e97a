import { type AgentId, type OfferId } from '../model/ids.ts'
import { addReservations, type Reservation } from '../model/reservation.ts'
import { addResources, type Resources } from '../model/resources.ts'
import { type Offer } from '../model/scheduler.ts'
import { type Place } from './constraints.ts'
import { type JsonObject } from './json.ts'

/**
 * Why an offer was not used, in the order of the checks. Source: marathon, NoOfferMatchReason;
 * `InsufficientAddresses` is ours: the node's part of a network of the app has no free address.
 */
export const rejectReasons = [
  'UnfulfilledRole',
  'UnfulfilledConstraint',
  'NoCorrespondingReservationFound',
  'AgentMaintenance',
  'InsufficientCpus',
  'InsufficientMemory',
  'InsufficientDisk',
  'InsufficientAddresses',
  'InsufficientPorts',
  'DeclinedScarceResources',
] as const

/** One of {@link rejectReasons}. */
export type RejectReason = (typeof rejectReasons)[number]

/** All offers of one agent in one role, together: so that parts of an agent add up. */
export interface OfferPool {
  readonly agentId: AgentId
  readonly role: string
  readonly place: Place
  readonly offerIds: readonly OfferId[]
  /** Unreserved ones. */
  readonly resources: Resources
  /** Of reservations for the role; absent: none. */
  readonly reserved?: readonly Reservation[]
  /** Containers that still fit on the agent's node, by network; one of which that is not known is left out. */
  readonly freeAddresses?: Readonly<Record<string, number>>
}

function reservations(
  before: readonly Reservation[] = [],
  more: readonly Reservation[] = [],
): Pick<OfferPool, 'reserved'> {
  return before.length + more.length === 0 ? {} : { reserved: addReservations(before, more) }
}

function room(freeAddresses: Offer['freeAddresses']): Pick<OfferPool, 'freeAddresses'> {
  return freeAddresses === undefined ? {} : { freeAddresses }
}

/** Offers by agent and role. */
export function poolOffers(offers: Iterable<Offer>): readonly OfferPool[] {
  const pools = new Map<string, OfferPool>()
  for (const { id, agentId, hostname, role, attributes, resources, reserved, freeAddresses } of offers) {
    const key = `${agentId} ${role}`
    const pool = pools.get(key)
    pools.set(
      key,
      pool === undefined
        ? {
            agentId,
            role,
            place: { hostname, attributes },
            offerIds: [id],
            resources,
            ...reservations(reserved),
            ...room(freeAddresses),
          }
        : {
            ...pool,
            offerIds: [...pool.offerIds, id],
            resources: addResources(pool.resources, resources),
            ...reservations(pool.reserved, reserved),
            ...room(freeAddresses), // of the same node: the later offer knows better
          },
    )
  }
  return [...pools.values()]
}

/** Last offers by the first reason against them: each check sees the offers that all checks before it let through. */
export function funnel(counts: ReadonlyMap<RejectReason, number>): readonly JsonObject[] {
  let processed = [...counts.values()].reduce((sum, count) => sum + count, 0)
  return rejectReasons.map((reason) => {
    const declined = counts.get(reason) ?? 0
    const step = { reason, declined, processed }
    processed -= declined
    return step
  })
}

/** How often each reason was given, added to `before`. */
export function countReasons(
  reasons: Iterable<RejectReason>,
  before: ReadonlyMap<RejectReason, number> = new Map(),
): ReadonlyMap<RejectReason, number> {
  const counts = new Map(before)
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1)
  return counts
}
