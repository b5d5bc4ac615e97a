import { type AgentId } from '../model/ids.ts'
import { type Resources, subtractResources } from '../model/resources.ts'
import { type Constraint, fulfils } from '../scheduling/constraints.ts'
import { type OfferPool, type RejectReason } from '../scheduling/offers.ts'
import { type RunId } from './ids.ts'
import { type Run } from './run.ts'
import { type JobFields } from './schema.ts'

/** Where everything goes, and why the rest goes nowhere. */
export interface Placing {
  readonly placements: readonly { readonly run: Run; readonly pool: OfferPool }[]
  /** For each run that still waits: the reason of each agent that was offered. */
  readonly rejections: ReadonlyMap<RunId, ReadonlyMap<AgentId, RejectReason>>
}

/** Constraints of a job as those of apps are written; EQ is an old name of IS. Source: metronome, Operator. */
export function constraintsOf({ placement }: JobFields['run']): readonly Constraint[] {
  return placement.constraints.map(({ attribute, operator, value }) => [
    attribute,
    operator === 'EQ' ? 'IS' : operator,
    ...(value === undefined ? [] : [value]),
  ])
}

/** What one run takes. Fractions are rounded up to what the model counts in. */
export function resourcesOf({ cpus, mem, disk }: JobFields['run']): Resources {
  return { cpuMillis: Math.round(cpus * 1000), memMb: Math.ceil(mem), diskMb: Math.ceil(disk), ports: [] }
}

/** Names of the virtual networks that a run takes an address of. */
export function networksOf({ networks }: JobFields['run']): readonly string[] {
  return networks.flatMap(({ mode, name }) => (mode === 'container' && name !== undefined ? [name] : []))
}

/** Places runs in the order given, each where most cpu is free. */
export function placeRuns(waiting: readonly Run[], pools: readonly OfferPool[]): Placing {
  let open = pools.map((pool) => ({ pool, left: pool }))
  const placements: { run: Run; pool: OfferPool }[] = []
  const rejections = new Map<RunId, ReadonlyMap<AgentId, RejectReason>>()
  for (const run of waiting) {
    const spec = run.definition.run
    const tried = open.map((candidate) => ({ candidate, reason: rejectReason(spec, candidate.left) }))
    const fitting = tried.filter(({ reason }) => reason === undefined).map(({ candidate }) => candidate)
    const best = fitting.toSorted((a, b) => b.left.resources.cpuMillis - a.left.resources.cpuMillis)[0]
    if (best === undefined) {
      const reasons = tried.flatMap(({ candidate, reason }) =>
        reason === undefined ? [] : [[candidate.pool.agentId, reason] as const],
      )
      rejections.set(run.id, new Map(reasons))
      continue
    }
    placements.push({ run, pool: best.pool })
    open = open.map((other) => (other === best ? { pool: best.pool, left: without(best.left, spec) } : other))
  }
  return { placements, rejections }
}

/** The first thing that an offer lacks, in the order of {@link RejectReason}. */
function rejectReason(spec: JobFields['run'], pool: OfferPool): RejectReason | undefined {
  const want = resourcesOf(spec)
  const have = pool.resources
  if (pool.role !== '*') return 'UnfulfilledRole'
  if (!constraintsOf(spec).every((constraint) => fulfils(constraint, pool.place, []))) return 'UnfulfilledConstraint'
  if (want.cpuMillis > have.cpuMillis) return 'InsufficientCpus'
  if (want.memMb > have.memMb) return 'InsufficientMemory'
  if (want.diskMb > have.diskMb) return 'InsufficientDisk'
  const isFull = networksOf(spec).some((name) => (pool.freeAddresses?.[name] ?? 1) < 1)
  return isFull ? 'InsufficientAddresses' : undefined
}

function without(pool: OfferPool, spec: JobFields['run']): OfferPool {
  const resources = subtractResources(pool.resources, resourcesOf(spec))
  const { freeAddresses } = pool
  if (freeAddresses === undefined) return { ...pool, resources }
  const taken = networksOf(spec).flatMap((name) =>
    name in freeAddresses ? [[name, (freeAddresses[name] ?? 0) - 1] as const] : [],
  )
  return { ...pool, resources, freeAddresses: { ...freeAddresses, ...Object.fromEntries(taken) } }
}
