import { type Clock } from '../../base/clock.ts'
import { type AgentId, type FrameworkId, type OfferId } from '../../model/ids.ts'
import { type Offer, type SchedulerEvent } from '../../model/scheduler.ts'
import { type Allocator } from '../allocator/allocator.ts'
import { type Grant } from '../allocator/grant.ts'
import { type MasterIds } from '../ids.ts'

/** An offer lives this long. Source: DC/OS, MESOS_OFFER_TIMEOUT=2mins (reference/mesos-core.md, Offers). */
const offerTimeoutMs = 120_000

/** Outstanding offers, and the rounds of allocation that make them. */
export interface Offers {
  /** Something became free: allocate soon, on these agents or on all. Calls of one turn make one round. */
  schedule(agentIds?: Iterable<AgentId>): void
  /**
   * Takes offers out for an ACCEPT; their resources are then recovered. Undefined, with the valid ones gone too, when one is
   * not outstanding, is not the framework's, or is of another agent or role than the first.
   */
  take(frameworkId: FrameworkId, offerIds: readonly OfferId[]): readonly [Offer, ...Offer[]] | undefined
  /** Gives offers back; what is not outstanding is passed over. */
  decline(frameworkId: FrameworkId, offerIds: readonly OfferId[], refuseMs: number): void
  /** Blocks what a framework left of its offers, and allocates the rest of the agents anew. */
  refuse(grant: Grant, refuseMs: number): void
  rescindOfAgent(agentId: AgentId): void
  rescindInRoles(frameworkId: FrameworkId, roles: readonly string[]): void
  /** The framework is not told: it is not there. */
  dropOfFramework(frameworkId: FrameworkId): void
  outstanding(): Iterable<Offer>
  close(): void
}

/** What offers need. */
export interface OffersOptions {
  readonly allocator: Allocator
  readonly ids: MasterIds
  readonly clock: Clock
  readonly soon: (task: () => void) => void
  readonly agentFacts: (agentId: AgentId) => Pick<Offer, 'hostname' | 'attributes' | 'freeAddresses'> | undefined
  readonly deliver: (frameworkId: FrameworkId, event: SchedulerEvent) => void
}

interface OffersState extends OffersOptions {
  readonly table: Map<OfferId, { readonly offer: Offer; readonly cancelTimeout: () => void }>
  due: Set<AgentId> | 'all' | undefined
  cancelExpiry: () => void
  closed: boolean
}

/** Shortest refusal: an interval of Mesos's allocator, so that a framework that declines all without a filter can't spin. */
const shortestRefusalMs = 1_000
const defaultRefusalMs = 5_000
const longestRefusalMs = 365 * 24 * 3_600_000

/** Length of a refusal. Source: reference/mesos-core.md, Offers: negative → 5 s, at most 365 days. */
export function refusalMs(askedMs: number): number {
  if (Number.isNaN(askedMs) || askedMs < 0) return defaultRefusalMs
  return Math.min(Math.max(askedMs, shortestRefusalMs), longestRefusalMs)
}

/** Opens it without offers. */
export function openOffers(options: OffersOptions): Offers {
  const state: OffersState = {
    ...options,
    table: new Map(),
    due: undefined,
    cancelExpiry: () => undefined,
    closed: false,
  }
  const { table } = state
  const ofAgent = (agentId: AgentId) => [...table.values()].filter(({ offer }) => offer.agentId === agentId)
  const refuse = (grant: Grant, refuseMs: number) => {
    options.allocator.refuse(grant, options.clock.monotonicMs() + refusalMs(refuseMs))
    watchExpiry(state)
    schedule(state, [grant.agentId])
  }
  return {
    schedule: (agentIds) => schedule(state, agentIds),
    take: (frameworkId, offerIds) => take(state, frameworkId, offerIds),
    decline: (frameworkId, offerIds, refuseMs) => {
      for (const id of offerIds) {
        const entry = table.get(id)
        if (entry?.offer.frameworkId !== frameworkId) continue
        remove(state, id)
        refuse(entry.offer, refuseMs)
      }
    },
    refuse,
    rescindOfAgent: (agentId) => {
      for (const { offer } of ofAgent(agentId)) rescind(state, offer)
    },
    rescindInRoles: (frameworkId, roles) => {
      for (const { offer } of [...table.values()]) {
        if (offer.frameworkId === frameworkId && roles.includes(offer.role)) rescind(state, offer)
      }
    },
    dropOfFramework: (frameworkId) => {
      for (const { offer } of table.values()) if (offer.frameworkId === frameworkId) remove(state, offer.id)
    },
    outstanding: () => [...table.values()].map(({ offer }) => offer),
    close: () => {
      state.closed = true
      state.cancelExpiry()
      for (const { cancelTimeout } of table.values()) cancelTimeout()
    },
  }
}

function schedule(state: OffersState, agentIds?: Iterable<AgentId>): void {
  if (state.due === undefined) state.soon(() => round(state))
  if (agentIds === undefined || state.due === 'all') {
    state.due = 'all'
    return
  }
  state.due ??= new Set()
  for (const agentId of agentIds) state.due.add(agentId)
}

function round(state: OffersState): void {
  const { allocator, clock, due } = state
  state.due = undefined
  if (due === undefined || state.closed) return
  const grants = allocator.allocate(due === 'all' ? allocator.agents() : due, clock.monotonicMs())
  const made = new Map<FrameworkId, Offer[]>()
  for (const grant of grants) {
    const offer = makeOffer(state, grant)
    if (offer === undefined) continue
    const known = made.get(grant.frameworkId)
    if (known === undefined) made.set(grant.frameworkId, [offer])
    else known.push(offer)
  }
  for (const [frameworkId, offers] of made) state.deliver(frameworkId, { kind: 'offers', offers })
}

function makeOffer(state: OffersState, grant: Grant): Offer | undefined {
  const facts = state.agentFacts(grant.agentId)
  if (facts === undefined) {
    state.allocator.recover(grant) // the agent went away since
    return undefined
  }
  const offer: Offer = { id: state.ids.nextOffer(), ...grant, ...facts }
  const cancelTimeout = state.clock.after(offerTimeoutMs, () => rescind(state, offer))
  state.table.set(offer.id, { offer, cancelTimeout })
  return offer
}

/** Takes the offer out and frees its resources. */
function remove(state: OffersState, id: OfferId): void {
  const entry = state.table.get(id)
  if (entry === undefined) return
  entry.cancelTimeout()
  state.table.delete(id)
  state.allocator.recover(entry.offer)
  schedule(state, [entry.offer.agentId])
}

function rescind(state: OffersState, offer: Offer): void {
  remove(state, offer.id)
  state.deliver(offer.frameworkId, { kind: 'rescind', offerId: offer.id })
}

function take(
  state: OffersState,
  frameworkId: FrameworkId,
  ids: readonly OfferId[],
): readonly [Offer, ...Offer[]] | undefined {
  const found = ids.map((id) => state.table.get(id)?.offer).filter((offer) => offer?.frameworkId === frameworkId)
  const [first, ...others] = found.filter((offer) => offer !== undefined)
  if (first === undefined) return undefined
  for (const { id } of [first, ...others]) remove(state, id)
  const alike = others.every(({ agentId, role }) => agentId === first.agentId && role === first.role)
  const complete = others.length + 1 === ids.length && new Set(ids).size === ids.length
  return alike && complete ? [first, ...others] : undefined
}

/** Allocates again when refusals end; one timer for all of them. */
function watchExpiry(state: OffersState): void {
  const { allocator, clock } = state
  state.cancelExpiry()
  const nextMs = allocator.nextExpiryMs()
  if (nextMs === undefined || state.closed) return
  // setTimeout holds 31 bits; a later end is looked at again then.
  const waitMs = Math.min(Math.max(1, Math.ceil(nextMs - clock.monotonicMs())), 2 ** 31 - 1)
  state.cancelExpiry = clock.after(waitMs, () => {
    const agentIds = allocator.expireFilters(clock.monotonicMs())
    if (agentIds.size > 0) schedule(state, agentIds)
    watchExpiry(state)
  })
}
