import { type AgentId } from '../model/ids.ts'
import { isObject, type JsonObject } from '../scheduling/json.ts'
import { type OfferPool, type RejectReason } from '../scheduling/offers.ts'
import { formatPath } from '../scheduling/problem.ts'
import { type AppDefinition, type AppRecord, wantedInstances } from './app.ts'
import { type Deployed } from './deploy.ts'
import { type AppId } from './ids.ts'
import { type Instance, isActive } from './instance.ts'
import { networksOf, scalarResources } from './match.ts'
import { type FreeAgent, openPools, placeRollout, type Placed } from './preview-place.ts'
import { type WorldView } from './world.ts'

/** What a plan is made from. */
export interface PreviewInput {
  readonly deployed: Deployed
  /** As it is now, without the change. */
  readonly world: Pick<WorldView, 'app' | 'instancesOf'>
  /** Undefined: nobody knows; nothing is placed. */
  readonly agents: readonly FreeAgent[] | undefined
}

/** A field that would change; absent on the side on which it is not there. */
interface FieldChange {
  readonly path: string
  readonly from?: unknown
  readonly to?: unknown
}

/** A plan places at most so many new instances of one app: it is made in the master, between other work. */
const maxPlaced = 2_000
/** Agents whose reasons are told for one app. */
const maxReasons = 100

/** What a change would do, app by app in the order of its steps. Nothing of it is done. */
export function previewJson({ deployed, world, agents }: PreviewInput): JsonObject {
  const records = deployed.records.toSorted((a, b) => stepOf(a) - stepOf(b))
  let pools = agents === undefined ? undefined : openPools(agents)
  const apps = records.map((record) => {
    const { json, left } = appPreview(record, world, pools)
    pools = left
    return json
  })
  const fits = agents === undefined ? {} : { fits: apps.every((app) => app['unplaced'] === 0) }
  return { apps, ...fits, interrupts: deployed.cancelled }
}

function stepOf({ deployment }: AppRecord): number {
  return deployment?.step ?? 0
}

function appPreview(
  record: AppRecord,
  world: PreviewInput['world'],
  pools: readonly OfferPool[] | undefined,
): { readonly json: JsonObject; readonly left: readonly OfferPool[] | undefined } {
  const { id } = record.definition
  const before = world.app(id)
  const active = world.instancesOf(id).filter(isActive)
  const outdated = active.filter(({ configVersion }) => configVersion !== record.configVersion)
  const changes = record.goal === 'delete' ? [] : fieldChanges(before?.definition, record.definition)
  const wanted = wantedInstances(record)
  const restarts = record.goal === 'delete' || before === undefined ? [] : outdated
  const stops = Math.max(0, active.length - wanted)
  const json = {
    id,
    step: stepOf(record),
    change: changeOf({ record, before, changes, restarts: restarts.length }),
    changes,
    instances: { from: before === undefined ? 0 : wantedInstances(before), to: wanted },
    restarts: restarts.map((instance) => ({ id: instance.id, host: instance.place.hostname })),
    stops,
  }
  if (pools === undefined) return { json, left: undefined }
  const placed = place(record, { before: before?.definition ?? record.definition, active, outdated }, pools)
  return { json: { ...json, ...placedJson(id, record.definition, placed) }, left: placed.agents }
}

interface Present {
  readonly before: AppDefinition
  readonly active: readonly Instance[]
  readonly outdated: readonly Instance[]
}

function place(record: AppRecord, { before, active, outdated }: Present, pools: readonly OfferPool[]): Placed {
  const current = active.filter((instance) => !outdated.includes(instance))
  const kept = Math.min(current.length, wantedInstances(record))
  const wanted = Math.min(wantedInstances(record), kept + maxPlaced)
  const { minimumHealthCapacity, maximumOverCapacity } = record.definition.upgradeStrategy
  const limits = {
    minServing: Math.ceil(wanted * minimumHealthCapacity),
    maxTotal: Math.floor(wanted * (1 + maximumOverCapacity)),
  }
  const leaving = [...current.slice(kept), ...outdated]
  return placeRollout({ record, wanted, staying: current.slice(0, kept), leaving, former: before, limits }, pools)
}

function placedJson(id: AppId, definition: AppDefinition, placed: Placed): JsonObject {
  const byHost = Map.groupBy(placed.placements, ({ pool }) => pool.place.hostname)
  const places = [...byHost].map(([host, here]) => ({ host, agentId: here[0]?.pool.agentId, count: here.length }))
  const reasons = [...placed.rejections].slice(0, maxReasons)
  return {
    placements: places.toSorted((a, b) => (a.host < b.host ? -1 : 1)),
    unplaced: placed.unplaced,
    reasons: reasons.map(([agentId, reason]) => reasonJson({ agentId, reason, definition, placed })),
    ...(placed.unplaced > 0 && placed.agents.length === 0 ? { advice: `no agent is there for ${id}` } : {}),
  }
}

interface ReasonInput {
  readonly agentId: AgentId
  readonly reason: RejectReason
  readonly definition: AppDefinition
  readonly placed: Placed
}

function reasonJson({ agentId, reason, definition, placed }: ReasonInput): JsonObject {
  const pool = placed.agents.find((agent) => agent.agentId === agentId)
  return { host: pool?.place.hostname, agentId, reason, detail: detailOf(reason, definition, pool) }
}

/** What is wanted and what is there, in the units of the definition. */
function detailOf(reason: RejectReason, definition: AppDefinition, pool: OfferPool | undefined): string {
  const want = scalarResources(definition)
  const free = pool?.resources
  switch (reason) {
    case 'InsufficientCpus':
      return `wants ${want.cpuMillis / 1000} cpus, ${(free?.cpuMillis ?? 0) / 1000} are free`
    case 'InsufficientMemory':
      return `wants ${want.memMb} MB of memory, ${free?.memMb ?? 0} are free`
    case 'InsufficientDisk':
      return `wants ${want.diskMb} MB of disk, ${free?.diskMb ?? 0} are free`
    case 'InsufficientAddresses':
      return `no free address of ${networksOf(definition).join(' or ')} there`
    case 'InsufficientPorts':
      return 'the ports that it wants of the host are taken'
    case 'UnfulfilledConstraint':
      return `constraints: ${definition.constraints.map((constraint) => constraint.join(' ')).join(', ')}`
    default:
      return reason
  }
}

interface ChangeInput {
  readonly record: AppRecord
  readonly before: AppRecord | undefined
  readonly changes: readonly FieldChange[]
  readonly restarts: number
}

function changeOf({ record, before, changes, restarts }: ChangeInput): string {
  if (record.goal === 'delete') return 'delete'
  if (before === undefined) return 'create'
  if (restarts > 0 || before.configVersion !== record.configVersion) return 'replace'
  if (changes.length === 0) return 'none'
  return changes.every(({ path }) => path === '/instances') ? 'scale' : 'update'
}

/** Fields of which the two differ; of a new app: those that are not empty. Paths as in problems. */
export function fieldChanges(from: AppDefinition | undefined, to: AppDefinition): readonly FieldChange[] {
  if (from === undefined) return []
  return difference(from, to, [])
}

function difference(from: unknown, to: unknown, path: readonly PropertyKey[]): readonly FieldChange[] {
  if (Array.isArray(from) && Array.isArray(to)) {
    const length = Math.max(from.length, to.length)
    return Array.from({ length }, (_, i) => difference(from[i], to[i], [...path, i])).flat()
  }
  if (isObject(from) && isObject(to)) {
    const keys = [...new Set([...Object.keys(from), ...Object.keys(to)])]
    return keys.flatMap((key) => difference(from[key], to[key], [...path, key]))
  }
  if (from === to) return []
  const side = (name: string, value: unknown) => (value === undefined ? {} : { [name]: value })
  return [{ path: formatPath(path), ...side('from', from), ...side('to', to) }]
}
