import { z } from 'zod'
import { AppError } from '../../../base/errors.ts'
import { type FrameworkId, parseAgentId, parseExecutorId, parseFrameworkId, parseTaskId } from '../../../model/ids.ts'
import { type FrameworkInfo, type SchedulerCall } from '../../../model/scheduler.ts'
import { acceptWire, declineWire, parseAccept, parseDecline } from './parse-accept.ts'
import { frameworkProblem, parseFramework } from './parse-framework.ts'
import { readAs, readId, withoutNulls } from '../../../api/mesos/problem.ts'
import { base64Text, frameworkWire, idValue, nanoseconds } from '../../../api/mesos/wire.ts'

/** What a request asks for. */
export type SchedulerRequest =
  | {
      readonly kind: 'subscribe'
      readonly framework: FrameworkInfo
      readonly suppressed: readonly string[]
      /** Why it can't be let in. */
      readonly problem: string | undefined
    }
  | { readonly kind: 'call'; readonly frameworkId: FrameworkId; readonly call: SchedulerCall }
  | {
      readonly kind: 'update-framework'
      readonly frameworkId: FrameworkId
      readonly call: Extract<SchedulerCall, { readonly kind: 'update-framework' }>
      readonly problem: string | undefined
    }
  /** Known, and nothing comes of it. */
  | { readonly kind: 'ignored'; readonly frameworkId: FrameworkId }
  /** Known to Mesos, not to Weft. */
  | { readonly kind: 'unimplemented'; readonly frameworkId: FrameworkId; readonly type: string }

/** The member of a call that carries its arguments; REVIVE and SUPPRESS may go without. */
const callTypes = [
  'SUBSCRIBE',
  'TEARDOWN',
  'ACCEPT',
  'DECLINE',
  'ACCEPT_INVERSE_OFFERS',
  'DECLINE_INVERSE_OFFERS',
  'REVIVE',
  'SUPPRESS',
  'KILL',
  'SHUTDOWN',
  'ACKNOWLEDGE',
  'ACKNOWLEDGE_OPERATION_STATUS',
  'RECONCILE',
  'RECONCILE_OPERATIONS',
  'MESSAGE',
  'REQUEST',
  'UPDATE_FRAMEWORK',
] as const

type CallType = (typeof callTypes)[number]

const envelope = z.looseObject({ type: z.string().optional(), framework_id: idValue.optional() })

const subscribeWire = z.looseObject({
  framework_info: frameworkWire,
  suppressed_roles: z.array(z.string()).default([]),
})

const place = { agent_id: idValue, executor_id: idValue }

const wires = {
  REVIVE: z.looseObject({ role: z.string().optional(), roles: z.array(z.string()).default([]) }),
  KILL: z.looseObject({
    task_id: idValue,
    agent_id: idValue.optional(),
    kill_policy: z.looseObject({ grace_period: nanoseconds.optional() }).optional(),
  }),
  SHUTDOWN: z.looseObject(place),
  MESSAGE: z.looseObject({ ...place, data: base64Text }),
  ACKNOWLEDGE: z.looseObject({ agent_id: idValue, task_id: idValue, uuid: base64Text }),
  RECONCILE: z.looseObject({
    tasks: z.array(z.looseObject({ task_id: idValue, agent_id: idValue.optional() })).default([]),
  }),
} as const

interface Body {
  readonly type: CallType
  readonly frameworkId: FrameworkId
  /** The member that has the call's name in lower case. */
  readonly value: unknown
  /** Path of `value`. */
  readonly path: string
  /** Who runs a framework's tasks. */
  readonly userOf: (frameworkId: FrameworkId) => string
}

/**
 * A call as the scheduler API has it in JSON. Fields that Mesos does not know are passed over, as it does itself.
 * @throws ERR_SCHEDULER_MALFORMED, ERR_SCHEDULER_UNSUPPORTED, ERR_SCHEDULER_INVALID with the text that Mesos has for it
 */
export function parseCall(json: unknown, userOf: (frameworkId: FrameworkId) => string): SchedulerRequest {
  const body = withoutNulls(json)
  const { type: name, framework_id: id, ...members } = readAs(envelope, body, '')
  if (name === undefined) throw invalid("Expecting 'type' to be present")
  const type = callTypes.find((known) => known === name)
  if (type === undefined) throw new AppError('ERR_SCHEDULER_MALFORMED', `Failed to find enum for '${name}'`)
  const path = type.toLowerCase()
  const value = members[path]
  if (value === undefined && !mayGoWithout.has(type)) throw invalid(`Expecting '${path}' to be present`)
  if (type === 'SUBSCRIBE') return parseSubscribe(value, id)
  if (id === undefined) throw invalid("Expecting 'framework_id' to be present")
  const frameworkId = readId(parseFrameworkId, id, 'framework_id')
  return parseBody({ type, frameworkId, value: value ?? {}, path, userOf })
}

const mayGoWithout: ReadonlySet<CallType> = new Set(['TEARDOWN', 'REVIVE', 'SUPPRESS'])

function invalid(problem: string): AppError {
  return new AppError('ERR_SCHEDULER_INVALID', problem)
}

function parseSubscribe(value: unknown, id: z.infer<typeof idValue> | undefined): SchedulerRequest {
  const { framework_info: info, suppressed_roles: suppressed } = readAs(subscribeWire, value, 'subscribe')
  if ((id?.value ?? '') !== (info.id?.value ?? '')) {
    throw invalid("'framework_id' differs from 'subscribe.framework_info.id'")
  }
  const problem = frameworkProblem(info, suppressed)
  return { kind: 'subscribe', framework: parseFramework(info, 'subscribe.framework_info'), suppressed, problem }
}

function parseBody(body: Body): SchedulerRequest {
  const { type, frameworkId } = body
  switch (type) {
    case 'REQUEST':
    case 'ACKNOWLEDGE_OPERATION_STATUS':
    // No agent has inverse offers, so that none can be accepted or declined.
    case 'ACCEPT_INVERSE_OFFERS':
    case 'DECLINE_INVERSE_OFFERS':
      return { kind: 'ignored', frameworkId }
    case 'RECONCILE_OPERATIONS':
      return { kind: 'unimplemented', frameworkId, type }
    case 'UPDATE_FRAMEWORK':
      return parseUpdate(body)
    default:
      return { kind: 'call', frameworkId, call: parseModelCall(body) }
  }
}

function parseModelCall({ type, value, path, userOf, frameworkId }: Body): SchedulerCall {
  switch (type) {
    case 'ACCEPT':
      return parseAccept(readAs(acceptWire, value, path), path, userOf(frameworkId))
    case 'DECLINE':
      return parseDecline(readAs(declineWire, value, path), path)
    case 'REVIVE':
    case 'SUPPRESS':
      return parseRoles(type, value, path)
    case 'KILL':
      return parseKill(value, path)
    case 'ACKNOWLEDGE':
      return parseAcknowledge(value, path)
    case 'RECONCILE':
      return parseReconcile(value, path)
    case 'SHUTDOWN':
      return { kind: 'shutdown', ...parsePlace(readAs(wires.SHUTDOWN, value, path), path) }
    case 'MESSAGE': {
      const wire = readAs(wires.MESSAGE, value, path)
      return { kind: 'message', ...parsePlace(wire, path), data: wire.data }
    }
    default:
      return { kind: 'teardown' }
  }
}

/** The documentation shows `role`, the protocol has `roles`. */
function parseRoles(type: 'REVIVE' | 'SUPPRESS', value: unknown, path: string): SchedulerCall {
  const { role, roles } = readAs(wires.REVIVE, value, path)
  const all = role === undefined ? roles : [...roles, role]
  const kind = type === 'REVIVE' ? 'revive' : 'suppress'
  return all.length === 0 ? { kind } : { kind, roles: all }
}

function parseKill(value: unknown, path: string): SchedulerCall {
  const { task_id: task, agent_id: agent, kill_policy: policy } = readAs(wires.KILL, value, path)
  const grace = policy?.grace_period
  return {
    kind: 'kill',
    taskId: readId(parseTaskId, task, `${path}.task_id`),
    ...(agent && agent.value !== '' ? { agentId: readId(parseAgentId, agent, `${path}.agent_id`) } : {}),
    ...(grace && { graceMs: Math.min(Math.max(0, Math.round(grace.nanoseconds / 1_000_000)), 2 ** 32 - 1) }),
  }
}

function parseAcknowledge(value: unknown, path: string): SchedulerCall {
  const { agent_id: agent, task_id: task, uuid } = readAs(wires.ACKNOWLEDGE, value, path)
  const octets = Buffer.from(uuid, 'base64')
  if (octets.length !== 16) throw invalid(`'${path}.uuid' is not 16 octets in base64`)
  return {
    kind: 'acknowledge',
    agentId: readId(parseAgentId, agent, `${path}.agent_id`),
    taskId: readId(parseTaskId, task, `${path}.task_id`),
    uuid: octets.toString('hex'),
  }
}

function parseReconcile(value: unknown, path: string): SchedulerCall {
  const pairs = readAs(wires.RECONCILE, value, path).tasks.map(({ task_id: task, agent_id: agent }, index) => {
    const at = `${path}.tasks[${index}]`
    const taskId = readId(parseTaskId, task, `${at}.task_id`)
    const isTold = agent !== undefined && agent.value !== ''
    return { taskId, agentId: isTold ? readId(parseAgentId, agent, `${at}.agent_id`) : undefined }
  })
  const told = pairs.flatMap(({ taskId, agentId }) => (agentId === undefined ? [] : [[taskId, agentId] as const]))
  const taskIds = pairs.map(({ taskId }) => taskId)
  return { kind: 'reconcile', taskIds, ...(told.length === 0 ? {} : { agentOf: new Map(told) }) }
}

function parsePlace(wire: z.infer<typeof wires.SHUTDOWN>, path: string) {
  return {
    agentId: readId(parseAgentId, wire.agent_id, `${path}.agent_id`),
    executorId: readId(parseExecutorId, wire.executor_id, `${path}.executor_id`),
  }
}

function parseUpdate({ frameworkId, value, path }: Body): SchedulerRequest {
  const { framework_info: info, suppressed_roles: suppressed } = readAs(subscribeWire, value, path)
  if (info.id === undefined) throw invalid(`Expecting '${path}.framework_info.id' to be present`)
  if (info.id.value !== frameworkId) throw invalid(`'framework_id' differs from '${path}.framework_info.id'`)
  const call = { kind: 'update-framework', info: parseFramework(info, `${path}.framework_info`), suppressed } as const
  return { kind: 'update-framework', frameworkId, call, problem: frameworkProblem(info, suppressed) }
}
