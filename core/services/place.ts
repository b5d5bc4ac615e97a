import { type AgentId } from '../model/ids.ts'
import { type Resources, subtractResources } from '../model/resources.ts'
import { type AppRecord } from './app.ts'
import { type Place } from '../scheduling/constraints.ts'
import { type AppId } from './ids.ts'
import { type Instance, isActive } from './instance.ts'
import { type OfferPool, type RejectReason } from '../scheduling/offers.ts'
import { matchOffer, networksOf } from './match.ts'

/** Instances of an app that wait for a place. */
export interface Demand {
  readonly record: AppRecord
  readonly count: number
  readonly instances: readonly Instance[]
}

/** One instance and where it goes. */
export interface Placement {
  readonly record: AppRecord
  readonly pool: OfferPool
  readonly resources: Resources
  readonly hostPorts: readonly (number | undefined)[]
}

/** Where everything goes, and why the rest goes nowhere. */
export interface Placing {
  readonly placements: readonly Placement[]
  /** For each app that still waits: the reason of each agent that was offered. */
  readonly rejections: ReadonlyMap<AppId, ReadonlyMap<AgentId, RejectReason>>
}

/** An offer while it is being used up. */
interface OpenPool {
  readonly pool: OfferPool
  free: Resources
  freeAddresses: OfferPool['freeAddresses']
}

/**
 * Places one app after the other, each on the agents that have fewest of its instances, among equals on the one with
 * most cpu free: so that apps of one instance spread too. `seed` starts the choice of host ports.
 */
export function placeDemands(demands: readonly Demand[], pools: readonly OfferPool[], seed: number): Placing {
  const open: readonly OpenPool[] = pools.map((pool) => ({
    pool,
    free: pool.resources,
    freeAddresses: pool.freeAddresses,
  }))
  const placements: Placement[] = []
  const rejections = new Map<AppId, ReadonlyMap<AgentId, RejectReason>>()
  for (const demand of demands) {
    const placed = placeApp(demand, open, seed + placements.length)
    placements.push(...placed.placements)
    if (placed.placements.length < demand.count) rejections.set(demand.record.definition.id, placed.rejections)
  }
  return { placements, rejections }
}

function placeApp(
  { record, count, instances }: Demand,
  open: readonly OpenPool[],
  seed: number,
): { readonly placements: readonly Placement[]; readonly rejections: ReadonlyMap<AgentId, RejectReason> } {
  const active = instances.filter(isActive)
  const running: Place[] = active.map(({ place }) => place)
  const onAgent = new Map<AgentId, number>()
  for (const { agentId } of active) onAgent.set(agentId, (onAgent.get(agentId) ?? 0) + 1)
  const placements: Placement[] = []
  const rejected = new Map<OpenPool, RejectReason>()
  while (placements.length < count) {
    const best = bestPool(open, rejected, onAgent)
    if (best === undefined) break
    const { freeAddresses } = best
    const pool = { ...best.pool, resources: best.free, ...(freeAddresses === undefined ? {} : { freeAddresses }) }
    const result = matchOffer(record.definition, pool, { running, seed: seed + placements.length })
    if (result.kind === 'reject') {
      rejected.set(best, result.reason)
      continue
    }
    best.free = subtractResources(best.free, result.resources)
    best.freeAddresses = takeAddresses(freeAddresses, networksOf(record.definition))
    running.push(pool.place)
    onAgent.set(pool.agentId, (onAgent.get(pool.agentId) ?? 0) + 1)
    placements.push({ record, pool: best.pool, resources: result.resources, hostPorts: result.hostPorts })
    forgetConstraints(rejected)
  }
  return { placements, rejections: new Map([...rejected].map(([{ pool }, reason]) => [pool.agentId, reason])) }
}

function takeAddresses(free: OfferPool['freeAddresses'], networks: readonly string[]): OfferPool['freeAddresses'] {
  if (free === undefined) return undefined
  const taken = networks.flatMap((name) => (name in free ? [[name, (free[name] ?? 0) - 1] as const] : []))
  return { ...free, ...Object.fromEntries(taken) }
}

function bestPool(
  open: readonly OpenPool[],
  rejected: ReadonlyMap<OpenPool, RejectReason>,
  onAgent: ReadonlyMap<AgentId, number>,
): OpenPool | undefined {
  let best: OpenPool | undefined
  let fewest = Number.POSITIVE_INFINITY
  for (const candidate of open) {
    if (rejected.has(candidate)) continue
    const count = onAgent.get(candidate.pool.agentId) ?? 0
    if (count > fewest) continue
    if (count === fewest && best !== undefined && candidate.free.cpuMillis <= best.free.cpuMillis) continue
    best = candidate
    fewest = count
  }
  return best
}

/** Resources only shrink, but a constraint that another group must catch up with may hold after the next placement. */
function forgetConstraints(rejected: Map<OpenPool, RejectReason>): void {
  for (const [pool, reason] of rejected) if (reason === 'UnfulfilledConstraint') rejected.delete(pool)
}
