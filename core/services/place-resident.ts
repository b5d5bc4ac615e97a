import { type AgentId } from '../model/ids.ts'
import { portsToRanges, type Resources } from '../model/resources.ts'
import { type OfferPool, type RejectReason } from '../scheduling/offers.ts'
import { type AppRecord } from './app.ts'
import { type Claim, isOffered } from './claim.ts'
import { type Instance } from './instance.ts'
import { networksOf } from './match.ts'
import { appPorts, assignHostPorts } from './ports.ts'

/** What an instance takes on a claim beside what is reserved. */
export interface ClaimFit {
  readonly resources: Resources
  readonly hostPorts: readonly (number | undefined)[]
}

/** Claims of an app that no instance has: each waits for its next task. */
export function freeClaims(claims: readonly Claim[], instances: readonly Instance[]): readonly Claim[] {
  const taken = new Set(instances.flatMap(({ claim, phase }) => (phase.kind === 'ended' ? [] : (claim ?? []))))
  return claims.filter(({ id, state }) => state === 'kept' && !taken.has(id))
}

/** The next task of a claim, on the agent that has it; constraints held when it was made. */
export function fitClaim(
  { definition }: AppRecord,
  claim: Claim,
  { pool, seed }: { readonly pool: OfferPool; readonly seed: number },
): ClaimFit | RejectReason {
  if (claim.agentId !== pool.agentId || !isOffered(claim, pool.reserved)) return 'NoCorrespondingReservationFound'
  if (networksOf(definition).some((name) => (pool.freeAddresses?.[name] ?? 1) < 1)) return 'InsufficientAddresses'
  const hostPorts = assignHostPorts(appPorts(definition), pool.resources.ports, seed)
  if (hostPorts === undefined) return 'InsufficientPorts'
  const ports = portsToRanges([...new Set(hostPorts.filter((port) => port !== undefined))])
  return { resources: { ...claim.reservation.resources, ports }, hostPorts }
}

/** Reasons of agents that have none of the claims that are waited for. */
export function withoutClaim(pools: readonly OfferPool[]): Map<AgentId, RejectReason> {
  return new Map(pools.map(({ agentId }) => [agentId, 'NoCorrespondingReservationFound']))
}
