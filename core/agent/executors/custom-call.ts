import { z } from 'zod'
import { AppError } from '../../base/errors.ts'
import { type ExecutorId, type FrameworkId, parseExecutorId, parseFrameworkId, parseTaskId } from '../../model/ids.ts'
import { type TaskId } from '../../model/ids.ts'
import { type TaskState, type TaskStatus } from '../../model/task.ts'
import { malformed, readAs, readId, withoutNulls } from '../../api/mesos/problem.ts'
import { base64Text, idValue } from '../../api/mesos/wire.ts'

/** What an executor says of a task; the agent adds addresses. */
export type ExecutorUpdate = Omit<TaskStatus, 'networks' | 'timestampMs'> & {
  readonly uuid: string
  /** Absent: when it arrives. */
  readonly timestampMs?: number
}

/** A call of the v1 executor API. Source: mesos, executor.proto, message Call. */
export type ExecutorCall = { readonly frameworkId: FrameworkId; readonly executorId: ExecutorId } & (
  | {
      readonly kind: 'subscribe'
      /** Tasks that it was told to launch and of which no update of its was acknowledged. */
      readonly tasks: readonly TaskId[]
      readonly updates: readonly ExecutorUpdate[]
    }
  | { readonly kind: 'update'; readonly update: ExecutorUpdate }
  | { readonly kind: 'message'; readonly data: string }
  | { readonly kind: 'heartbeat' }
)

/** What an executor may tell of a task. Source: mesos, src/slave/validation.cpp; the others are an agent's or a master's. */
const states = [
  'TASK_STARTING',
  'TASK_RUNNING',
  'TASK_KILLING',
  'TASK_FINISHED',
  'TASK_FAILED',
  'TASK_KILLED',
  'TASK_ERROR',
  'TASK_LOST',
  'TASK_DROPPED',
  'TASK_GONE',
] as const satisfies readonly TaskState[]

const callTypes = ['SUBSCRIBE', 'UPDATE', 'MESSAGE', 'HEARTBEAT'] as const

const envelope = z.looseObject({
  type: z.string().optional(),
  executor_id: idValue.optional(),
  framework_id: idValue.optional(),
})

const statusWire = z.looseObject({
  task_id: idValue,
  state: z.string(),
  source: z.string().optional(),
  reason: z.string().optional(),
  message: z.string().optional(),
  data: base64Text.optional(),
  uuid: base64Text.optional(),
  healthy: z.boolean().optional(),
  timestamp: z.number().optional(),
})

const updateWire = z.looseObject({ status: statusWire })

const subscribeWire = z.looseObject({
  unacknowledged_tasks: z.array(z.looseObject({ task_id: idValue })).default([]),
  unacknowledged_updates: z.array(updateWire).default([]),
})

/**
 * A call as JSON has it.
 * @throws ERR_SCHEDULER_MALFORMED, ERR_EXECUTOR_INVALID with the text that Mesos has for it
 */
export function parseExecutorCall(json: unknown): ExecutorCall {
  const body = withoutNulls(json)
  const { type: name, executor_id: executor, framework_id: framework, ...members } = readAs(envelope, body, '')
  if (name === undefined) throw invalid("Expecting 'type' to be present")
  const type = callTypes.find((known) => known === name)
  if (type === undefined) throw new AppError('ERR_SCHEDULER_MALFORMED', `Failed to find enum for '${name}'`)
  if (executor === undefined) throw invalid("Expecting 'executor_id' to be present")
  if (framework === undefined) throw invalid("Expecting 'framework_id' to be present")
  const from = {
    frameworkId: readId(parseFrameworkId, framework, 'framework_id'),
    executorId: readId(parseExecutorId, executor, 'executor_id'),
  }
  if (type === 'HEARTBEAT') return { ...from, kind: 'heartbeat' }
  const path = type.toLowerCase()
  const value = members[path]
  if (value === undefined) throw invalid(`Expecting '${path}' to be present`)
  switch (type) {
    case 'SUBSCRIBE':
      return { ...from, kind: 'subscribe', ...parseSubscribe(value, path) }
    case 'UPDATE':
      return { ...from, kind: 'update', update: parseUpdate(readAs(updateWire, value, path), path) }
    case 'MESSAGE':
      return { ...from, kind: 'message', data: readAs(z.looseObject({ data: base64Text }), value, path).data }
  }
}

function parseSubscribe(value: unknown, path: string) {
  const wire = readAs(subscribeWire, value, path)
  return {
    tasks: wire.unacknowledged_tasks.map(({ task_id: id }, index) =>
      readId(parseTaskId, id, `${path}.unacknowledged_tasks[${index}].task_id`),
    ),
    updates: wire.unacknowledged_updates.map((each, index) =>
      parseUpdate(each, `${path}.unacknowledged_updates[${index}]`),
    ),
  }
}

/** Source: mesos, src/slave/validation.cpp, executor::call::validate. */
function parseUpdate({ status }: z.infer<typeof updateWire>, path: string): ExecutorUpdate {
  const at = `${path}.status`
  const { source, reason, message, data, healthy, timestamp } = status
  if (status.uuid === undefined) throw invalid("Expecting 'uuid' to be present")
  const uuid = Buffer.from(status.uuid, 'base64')
  if (uuid.length !== 16) throw invalid(`'${at}.uuid' is not 16 octets in base64`)
  if (source !== 'SOURCE_EXECUTOR') throw invalid(`invalid source '${source}', expecting 'SOURCE_EXECUTOR'`)
  const state = states.find((known) => known === status.state)
  if (state === undefined && status.state.startsWith('TASK_')) throw invalid(`${status.state} is not allowed`)
  if (state === undefined) throw malformed(`${at}.state`, `Failed to find enum for '${status.state}'`)
  return {
    taskId: readId(parseTaskId, status.task_id, `${at}.task_id`),
    state,
    source: 'EXECUTOR',
    uuid: uuid.toString('hex'),
    ...(timestamp === undefined ? {} : { timestampMs: Math.max(0, Math.round(timestamp * 1000)) }),
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
    ...(data === undefined || data === '' ? {} : { data }),
    ...(healthy === undefined ? {} : { healthy }),
  }
}

function invalid(problem: string): AppError {
  return new AppError('ERR_EXECUTOR_INVALID', problem)
}
