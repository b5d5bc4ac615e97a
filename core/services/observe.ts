import { type AgentId, parseTaskId } from '../model/ids.ts'
import { isTerminal, type TaskStatus } from '../model/task.ts'
import { type AppId, appIdOfTask } from './ids.ts'
import { type Instance, stepInstance } from './instance.ts'
import { parseMemberId, stepMember, wholeStatus } from './pods-member.ts'
import { type TaskFailure } from './runtime.ts'
import { type WorldView } from './world.ts'

/** A status update and where it came from. */
export interface Observation {
  readonly status: TaskStatus
  readonly agentId: AgentId | undefined
  /** Host name of the agent, when an offer told it. */
  readonly hostname: string | undefined
  /** Monotonic. */
  readonly nowMs: number
}

/** What a status update means. */
export type Observed =
  | { readonly kind: 'stepped'; readonly before: Instance; readonly after: Instance }
  | { readonly kind: 'ended'; readonly before: Instance; readonly after: Instance; readonly failure?: TaskFailure }
  /** A task of an app of ours that no record knows: it is taken on as an outdated instance, so that it counts. */
  | { readonly kind: 'adopted'; readonly after: Instance }
  /** A task of ours whose app is gone. */
  | { readonly kind: 'orphan'; readonly app: AppId }
  | { readonly kind: 'ignored' }

/** Reads an update against what is known; changes nothing. */
export function observeStatus(world: WorldView, observation: Observation): Observed {
  const member = parseMemberId(observation.status.taskId)
  return member === undefined ? observeTask(world, observation) : observeMember(world, observation, member)
}

/** A group that no record knows is stopped: what its containers are can't be told from one of them. */
function observeMember(
  world: WorldView,
  { status, agentId, nowMs }: Observation,
  { instance, name }: { readonly instance: string; readonly name: string },
): Observed {
  const id = parseTaskId(instance)
  const app = appIdOfTask(id)
  if (app === undefined) return { kind: 'ignored' }
  const before = world.instance(app, id)
  if (before?.members === undefined) {
    const lives = !isTerminal(status.state) && status.state !== 'TASK_UNKNOWN' && status.state !== 'TASK_UNREACHABLE'
    return lives && agentId !== undefined ? { kind: 'orphan', app } : { kind: 'ignored' }
  }
  const members = stepMember(before.members, name, status)
  const whole = wholeStatus(id, members, status)
  const after = { ...stepInstance(before, { kind: 'status', status: whole, nowMs }), members }
  if (after.phase.kind !== 'ended') return { kind: 'stepped', before, after }
  const isFailure = after.phase.outcome !== 'stopped'
  return { kind: 'ended', before, after, ...(isFailure ? { failure: failureOf(before, whole) } : {}) }
}

function observeTask(world: WorldView, observation: Observation): Observed {
  const { status, agentId, nowMs } = observation
  const app = appIdOfTask(status.taskId)
  if (app === undefined) return { kind: 'ignored' }
  const before = world.instance(app, status.taskId)
  if (before !== undefined) {
    const after = stepInstance(before, { kind: 'status', status, nowMs })
    if (after.phase.kind !== 'ended') return { kind: 'stepped', before, after }
    const isFailure = after.phase.outcome !== 'stopped'
    return { kind: 'ended', before, after, ...(isFailure ? { failure: failureOf(before, status) } : {}) }
  }
  const lives = !isTerminal(status.state) && status.state !== 'TASK_UNKNOWN' && status.state !== 'TASK_UNREACHABLE'
  if (!lives || agentId === undefined) return { kind: 'ignored' }
  if (world.app(app) === undefined) return { kind: 'orphan', app }
  return { kind: 'adopted', after: adopt(app, agentId, observation) }
}

function adopt(appId: AppId, agentId: AgentId, { status, hostname, nowMs }: Observation): Instance {
  const unknown: Instance = {
    id: status.taskId,
    appId,
    configVersion: 0,
    agentId,
    place: { hostname: hostname ?? agentId, attributes: {} },
    hostPorts: [],
    createdAtMs: status.timestampMs,
    health: status.healthy === undefined ? 'unchecked' : 'checked',
    networks: [],
    goal: { kind: 'run' },
    phase: { kind: 'recovered', sinceMs: nowMs },
  }
  return stepInstance(unknown, { kind: 'status', status, nowMs })
}

function failureOf({ place, agentId, configVersion }: Instance, status: TaskStatus): TaskFailure {
  return {
    taskId: status.taskId,
    state: status.state,
    message: status.message ?? status.reason ?? '',
    host: place.hostname,
    agentId,
    timestampMs: status.timestampMs,
    configVersion,
  }
}
