import { type AgentId } from '../model/ids.ts'
import { type Reservation, reservedResources, subtractReservations } from '../model/reservation.ts'
import { type Resources, subtractResources } from '../model/resources.ts'
import { type AppRecord } from './app.ts'
import { type Place } from '../scheduling/constraints.ts'
import { type AppId } from './ids.ts'
import { type Instance, isActive } from './instance.ts'
import { type OfferPool, type RejectReason } from '../scheduling/offers.ts'
import { type Claim } from './claim.ts'
import { matchOffer, networksOf } from './match.ts'
import { fitClaim, freeClaims, withoutClaim } from './place-resident.ts'
import { isResident } from './residency.ts'

/** Instances of an app that wait for a place. */
export interface Demand {
  readonly record: AppRecord
  readonly count: number
  readonly instances: readonly Instance[]
  /** Of an app with persistent volumes. */
  readonly claims?: readonly Claim[]
}

/** One instance and where it goes. */
export interface Placement {
  readonly record: AppRecord
  readonly pool: OfferPool
  readonly resources: Resources
  /** How much of it is reserved already. */
  readonly reserved?: readonly Reservation[]
  /** What it has to itself there; `new`: it is to be reserved first. Absent: the app has no persistent volumes. */
  readonly claim?: Claim | 'new'
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
  reserved: readonly Reservation[]
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
    reserved: pool.reserved ?? [],
    freeAddresses: pool.freeAddresses,
  }))
  const placements: Placement[] = []
  const rejections = new Map<AppId, ReadonlyMap<AgentId, RejectReason>>()
  for (const demand of demands) {
    const onClaims = placeOnClaims(demand, open, seed + placements.length)
    placements.push(...onClaims.placements)
    const placed = placeApp({ ...demand, count: onClaims.rest }, open, seed + placements.length)
    placements.push(...placed.placements)
    if (onClaims.placements.length + placed.placements.length >= demand.count) continue
    rejections.set(demand.record.definition.id, new Map([...onClaims.rejections, ...placed.rejections]))
  }
  return { placements, rejections }
}

/** Instances of a resident app go where their volumes are. `rest`: so many more than it has claims are to get new ones. */
function placeOnClaims({ record, count, instances, claims = [] }: Demand, open: readonly OpenPool[], seed: number) {
  const placements: Placement[] = []
  const free = freeClaims(claims, instances)
  const rejections = free.length === 0 ? new Map<AgentId, RejectReason>() : withoutClaim(open.map(({ pool }) => pool))
  for (const claim of free) {
    if (placements.length === count) break
    const own = open.find(({ pool }) => pool.agentId === claim.agentId)
    if (own === undefined) continue
    const fit = fitClaim(record, claim, { pool: present(own), seed })
    if (typeof fit === 'string') {
      rejections.set(own.pool.agentId, fit)
      continue
    }
    const { resources, hostPorts } = fit
    const reserved = [claim.reservation]
    use(own, { resources, reserved, networks: networksOf(record.definition) })
    placements.push({ record, pool: own.pool, resources, reserved, claim, hostPorts })
  }
  return { placements, rejections, rest: Math.max(0, count - Math.max(free.length, placements.length)) }
}

function present({ pool, free, reserved, freeAddresses }: OpenPool): OfferPool {
  return { ...pool, resources: free, reserved, ...(freeAddresses === undefined ? {} : { freeAddresses }) }
}

/** What an instance takes of a pool. */
interface Use {
  readonly resources: Resources
  readonly reserved: readonly Reservation[]
  readonly networks: readonly string[]
}

function use(open: OpenPool, { resources, reserved, networks }: Use): void {
  open.free = subtractResources(open.free, subtractResources(resources, reservedResources(reserved)))
  if (reserved.length > 0) open.reserved = subtractReservations(open.reserved, reserved)
  open.freeAddresses = takeAddresses(open.freeAddresses, networks)
}

function placeApp(
  { record, count, instances, claims = [] }: Demand,
  open: readonly OpenPool[],
  seed: number,
): { readonly placements: readonly Placement[]; readonly rejections: ReadonlyMap<AgentId, RejectReason> } {
  const isClaimed = isResident(record.definition)
  // A claim without a task is where an instance will be.
  const active = [...instances.filter(isActive), ...freeClaims(claims, instances)]
  const running: Place[] = active.map(({ place }) => place)
  const onAgent = new Map<AgentId, number>()
  for (const { agentId } of active) onAgent.set(agentId, (onAgent.get(agentId) ?? 0) + 1)
  const placements: Placement[] = []
  const rejected = new Map<OpenPool, RejectReason>()
  while (placements.length < count) {
    const best = bestPool(open, rejected, onAgent)
    if (best === undefined) break
    const pool = present(best)
    const result = matchOffer(record.definition, pool, { running, seed: seed + placements.length })
    if (result.kind === 'reject') {
      rejected.set(best, result.reason)
      continue
    }
    const { resources, reserved, hostPorts } = result
    use(best, { resources, reserved, networks: networksOf(record.definition) })
    running.push(pool.place)
    onAgent.set(pool.agentId, (onAgent.get(pool.agentId) ?? 0) + 1)
    const claim = isClaimed ? { claim: 'new' as const } : {}
    placements.push({ record, pool: best.pool, resources, reserved, hostPorts, ...claim })
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
