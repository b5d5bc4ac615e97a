import { z } from 'zod'
import { malformed, readAs, readId, unsupported } from '../../../api/mesos/problem.ts'
import { idValue, nanoseconds, resourceWire } from '../../../api/mesos/wire.ts'
import { parseAgentId, parseFrameworkId } from '../../../model/ids.ts'
import { type QuotaLimits } from '../../allocator/quota.ts'
import { type QuotaChange } from '../../reservations/roles.ts'
import { parseStorage, type StorageOperation } from '../scheduler/parse-accept.ts'
import { type AgentId, type FrameworkId } from '../../../model/ids.ts'

const envelope = z.looseObject({ type: z.string() })
const ofAgent = z.looseObject({ agent_id: idValue })
const teardown = z.looseObject({ framework_id: idValue })
const drain = z.looseObject({
  agent_id: idValue,
  max_grace_period: nanoseconds.optional(),
  mark_gone: z.boolean().default(false),
})
const weights = z.looseObject({ weight_infos: z.array(z.looseObject({ role: z.string(), weight: z.number() })) })
const quota = z.looseObject({
  force: z.boolean().default(false),
  quota_configs: z.array(
    z.looseObject({ role: z.string(), limits: z.record(z.string(), z.looseObject({ value: z.number() })).default({}) }),
  ),
})
const resources = z.looseObject({ agent_id: idValue, resources: z.array(resourceWire) })
const volumes = z.looseObject({ agent_id: idValue, volumes: z.array(resourceWire) })

/** Calls that only ask. */
export const questions = [
  ...(['GET_HEALTH', 'GET_VERSION', 'GET_FLAGS', 'GET_METRICS', 'GET_LOGGING_LEVEL', 'GET_MASTER'] as const),
  ...(['GET_STATE', 'GET_AGENTS', 'GET_FRAMEWORKS', 'GET_TASKS', 'GET_EXECUTORS', 'GET_OPERATIONS'] as const),
  ...(['GET_ROLES', 'GET_QUOTA', 'GET_WEIGHTS', 'SUBSCRIBE'] as const),
] as const

/** A question of an operator. */
export type Question = (typeof questions)[number]

/** What an operator asks for. Source: mesos, v1/master/master.proto, message Call. */
export type OperatorCall =
  | { readonly kind: 'question'; readonly type: Question; readonly body: unknown }
  | { readonly kind: 'quota'; readonly changes: readonly QuotaChange[]; readonly force: 'forced' | 'unforced' }
  | { readonly kind: 'weights'; readonly weights: Readonly<Record<string, number>> }
  | {
      readonly kind: 'drain'
      readonly agentId: AgentId
      readonly maxGraceMs: number | undefined
      readonly afterwards: 'stay' | 'gone'
    }
  | { readonly kind: 'deactivate' | 'reactivate' | 'gone'; readonly agentId: AgentId }
  | { readonly kind: 'teardown'; readonly frameworkId: FrameworkId }
  | { readonly kind: 'operate'; readonly agentId: AgentId; readonly operations: readonly StorageOperation[] }
  /** Known to Mesos, not to Weft. */
  | { readonly kind: 'unimplemented'; readonly type: string }

const unimplemented: ReadonlySet<string> = new Set([
  ...['SET_LOGGING_LEVEL', 'LIST_FILES', 'READ_FILE', 'GROW_VOLUME', 'SHRINK_VOLUME', 'SET_QUOTA', 'REMOVE_QUOTA'],
  ...['GET_MAINTENANCE_STATUS', 'GET_MAINTENANCE_SCHEDULE', 'UPDATE_MAINTENANCE_SCHEDULE'],
  ...['START_MAINTENANCE', 'STOP_MAINTENANCE', 'MARK_RESOURCE_PROVIDER_GONE'],
])

/** Reads a call. @throws ERR_SCHEDULER_MALFORMED with the JSON path; ERR_MODEL_ROLE is found when it is done */
export function parseOperatorCall(value: unknown): OperatorCall {
  const { type, ...members } = readAs(envelope, value, '')
  const name = type.toLowerCase()
  const body = members[name]
  const read = <T>(schema: z.ZodType<T>): T => {
    if (body === undefined) throw malformed(name, 'is missing')
    return readAs(schema, body, name)
  }
  const agentOf = (wire: { readonly agent_id: z.infer<typeof idValue> }) =>
    readId(parseAgentId, wire.agent_id, `${name}.agent_id`)
  const question = questions.find((each) => each === type)
  if (question !== undefined) return { kind: 'question', type: question, body }
  switch (type) {
    case 'UPDATE_QUOTA': {
      const { force, quota_configs: configs } = read(quota)
      const changes = configs.map(({ role, limits }) => ({ role, limits: limitsOf(limits, name) }))
      return { kind: 'quota', changes, force: force ? 'forced' : 'unforced' }
    }
    case 'UPDATE_WEIGHTS': {
      const infos = read(weights).weight_infos
      return { kind: 'weights', weights: Object.fromEntries(infos.map(({ role, weight }) => [role, weight])) }
    }
    case 'DRAIN_AGENT': {
      const wish = read(drain)
      const maxGraceMs = wish.max_grace_period && graceOf(wish.max_grace_period.nanoseconds, name)
      return { kind: 'drain', agentId: agentOf(wish), maxGraceMs, afterwards: wish.mark_gone ? 'gone' : 'stay' }
    }
    case 'DEACTIVATE_AGENT':
      return { kind: 'deactivate', agentId: agentOf(read(ofAgent)) }
    case 'REACTIVATE_AGENT':
      return { kind: 'reactivate', agentId: agentOf(read(ofAgent)) }
    case 'MARK_AGENT_GONE':
      return { kind: 'gone', agentId: agentOf(read(ofAgent)) }
    case 'TEARDOWN': {
      const frameworkId = readId(parseFrameworkId, read(teardown).framework_id, `${name}.framework_id`)
      return { kind: 'teardown', frameworkId }
    }
    case 'RESERVE_RESOURCES':
    case 'UNRESERVE_RESOURCES': {
      const wire = read(resources)
      const kind = type === 'RESERVE_RESOURCES' ? 'reserve' : 'unreserve'
      const operation = { type: kind.toUpperCase(), [kind]: { resources: wire.resources } }
      return { kind: 'operate', agentId: agentOf(wire), operations: parseStorage(operation, name) }
    }
    case 'CREATE_VOLUMES':
    case 'DESTROY_VOLUMES': {
      const wire = read(volumes)
      const kind = type === 'CREATE_VOLUMES' ? 'create' : 'destroy'
      const operation = { type: kind.toUpperCase(), [kind]: { volumes: wire.volumes } }
      return { kind: 'operate', agentId: agentOf(wire), operations: parseStorage(operation, name) }
    }
    default:
      if (unimplemented.has(type)) return { kind: 'unimplemented', type }
      throw malformed('type', `"${type}" is not a call`)
  }
}

/** @throws ERR_SCHEDULER_UNSUPPORTED for a resource that no quota is kept of */
function limitsOf(limits: Readonly<Record<string, { readonly value: number }>>, path: string): QuotaLimits {
  const { cpus, mem, disk, ...others } = limits
  const [other] = Object.keys(others)
  if (other !== undefined) throw unsupported(`${path}.limits.${other}`, 'limits are of cpus, mem and disk')
  return {
    ...(cpus && { cpuMillis: Math.round(cpus.value * 1000) }),
    ...(mem && { memMb: Math.ceil(mem.value) }),
    ...(disk && { diskMb: Math.ceil(disk.value) }),
  }
}

function graceOf(given: number, path: string): number {
  if (given >= 0) return Math.ceil(given / 1_000_000)
  throw malformed(`${path}.max_grace_period`, 'must not be negative')
}
