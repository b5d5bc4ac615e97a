import { type AgentId, parseTaskId } from '../model/ids.ts'
import { addResources, portsToRanges, type Resources, subtractResources } from '../model/resources.ts'
import { type OfferPool, type RejectReason } from '../scheduling/offers.ts'
import { type AppDefinition, type AppRecord } from './app.ts'
import { type Instance } from './instance.ts'
import { networksOf, scalarResources } from './match.ts'
import { type Placement, placeDemands } from './place.ts'

/** What an agent has free: an offer that nobody made. */
export type FreeAgent = Pick<OfferPool, 'agentId' | 'place' | 'resources' | 'freeAddresses'>

/** An app as it is to be, and what there is of it. */
export interface Rollout {
  readonly record: AppRecord
  /** Instances that it wants. */
  readonly wanted: number
  /** Active ones that stay. */
  readonly staying: readonly Instance[]
  /** Active ones that go, in the order in which they are stopped. */
  readonly leaving: readonly Instance[]
  /** What the instances that go were made from. */
  readonly former: AppDefinition
  readonly limits: { readonly minServing: number; readonly maxTotal: number }
}

/** Where new instances would go, and why some would go nowhere. */
export interface Placed {
  readonly placements: readonly Placement[]
  readonly unplaced: number
  /** For each agent, why the next instance does not fit there; only when some are not placed. */
  readonly rejections: ReadonlyMap<AgentId, RejectReason>
  readonly agents: readonly OfferPool[]
}

/** A rolling update is played through so many times; then what is left is placed as if all old instances were gone. */
const maxRounds = 64

/** Agents as pools of one role. */
export function openPools(agents: readonly FreeAgent[], role = '*'): readonly OfferPool[] {
  return agents.map((agent) => ({ ...agent, role, offerIds: [] }))
}

/**
 * Plays a rollout through: new instances as far as the upgrade strategy lets them stand beside the old ones, then as many
 * old ones stopped as need not serve, and again. `agents` of the result have what is free at the end.
 */
export function placeRollout(rollout: Rollout, pools: readonly OfferPool[]): Placed {
  const { record, wanted, leaving, limits } = rollout
  const placements: Placement[] = []
  let staying = rollout.staying
  let old = leaving
  let agents = pools
  let rejections: Placed['rejections'] = new Map()
  const missing = () => Math.max(0, wanted - staying.length)
  for (let round = 0; missing() > 0 || old.length > 0; round++) {
    const isLast = round === maxRounds
    const top = old.length > 0 && limits.minServing >= limits.maxTotal ? limits.maxTotal + 1 : limits.maxTotal
    const room = isLast ? missing() : Math.max(0, Math.min(missing(), top - staying.length - old.length))
    if (isLast) [agents, old] = [giveBack(agents, old, rollout.former), []]
    const placing = placeDemands([{ record, count: room, instances: [...staying, ...old] }], agents, 0)
    rejections = placing.rejections.get(record.definition.id) ?? new Map()
    agents = take(agents, placing.placements, record.definition)
    staying = [...staying, ...placing.placements.map((placement, i) => imagined(placement, placements.length + i))]
    placements.push(...placing.placements)
    const stops = Math.min(old.length, Math.max(0, staying.length + old.length - Math.min(limits.minServing, wanted)))
    agents = giveBack(agents, old.slice(0, stops), rollout.former)
    old = old.slice(stops)
    if (isLast || (placing.placements.length === 0 && stops === 0)) break
  }
  return { placements, unplaced: missing(), rejections: missing() > 0 ? rejections : new Map(), agents }
}

/** An instance that is only thought of: where it stands is all that counts. */
function imagined({ record, pool, hostPorts }: Placement, number: number): Instance {
  return {
    id: parseTaskId(`plan.${number}`),
    appId: record.definition.id,
    configVersion: record.configVersion,
    agentId: pool.agentId,
    place: pool.place,
    hostPorts: hostPorts.filter((port) => port !== undefined),
    createdAtMs: 0,
    health: 'unchecked',
    networks: [],
    goal: { kind: 'run' },
    phase: { kind: 'running', sinceMs: 0, health: 'unchecked' },
  }
}

/** What is free when the placements are taken. */
function take(
  pools: readonly OfferPool[],
  placements: readonly Placement[],
  definition: AppDefinition,
): readonly OfferPool[] {
  if (placements.length === 0) return pools
  const taken = new Map<AgentId, Resources[]>()
  for (const { pool, resources } of placements) {
    taken.set(pool.agentId, [...(taken.get(pool.agentId) ?? []), resources])
  }
  return pools.map((pool) => {
    const here = taken.get(pool.agentId) ?? []
    const resources = here.reduce(subtractResources, pool.resources)
    return { ...pool, resources, ...addresses(pool, definition, -here.length) }
  })
}

/** What is free when the instances are gone. */
function giveBack(pools: readonly OfferPool[], gone: readonly Instance[], former: AppDefinition): readonly OfferPool[] {
  if (gone.length === 0) return pools
  return pools.map((pool) => {
    const here = gone.filter(({ agentId }) => agentId === pool.agentId)
    const back = here.map(({ hostPorts }) => ({ ...scalarResources(former), ports: portsToRanges(hostPorts) }))
    return { ...pool, resources: back.reduce(addResources, pool.resources), ...addresses(pool, former, here.length) }
  })
}

function addresses(
  { freeAddresses: free }: OfferPool,
  definition: AppDefinition,
  change: number,
): Pick<OfferPool, 'freeAddresses'> {
  if (free === undefined || change === 0) return free === undefined ? {} : { freeAddresses: free }
  const known = networksOf(definition).filter((name) => name in free)
  return { freeAddresses: { ...free, ...Object.fromEntries(known.map((name) => [name, (free[name] ?? 0) + change])) } }
}
