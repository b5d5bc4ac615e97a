import { type AgentId, parseTaskId, type TaskId } from '../model/ids.ts'
import { isTerminal, type NetworkInfo, type TaskState, type TaskStatus } from '../model/task.ts'
import { type Place } from '../scheduling/constraints.ts'
import { type AppId } from './ids.ts'
import { type Member } from './pods-member.ts'

/** `unchecked`: has no health check. `pending`: its check has no answer yet. */
export type Health = 'unchecked' | 'pending' | 'healthy' | 'unhealthy'

/** What is known of an instance. Times are monotonic, of this process. */
export type Phase =
  /** Launched, no word of it running yet. */
  | { readonly kind: 'staged'; readonly sinceMs: number; readonly state: TaskState }
  | { readonly kind: 'running'; readonly sinceMs: number; readonly health: Health }
  /** Its agent is killing it, whoever asked. */
  | { readonly kind: 'killing'; readonly sinceMs: number }
  /** Known from the store, or forgotten by the master: the truth is being asked for. */
  | { readonly kind: 'recovered'; readonly sinceMs: number }
  /** Its agent is out of reach. It is replaced; it may come back. */
  | { readonly kind: 'unreachable'; readonly sinceMs: number }
  | { readonly kind: 'ended'; readonly outcome: 'failed' | 'lost' | 'stopped' }

/** What is wanted of an instance. `askedAtMs`: when the kill was last sent, absent before. */
export type Goal = { readonly kind: 'run' } | { readonly kind: 'stop'; readonly askedAtMs?: number }

/** One task of an app, from the decision to launch it to its end. */
export interface Instance {
  readonly id: TaskId
  readonly appId: AppId
  /** `configVersion` of the app when it was launched; 0 when that is not known. */
  readonly configVersion: number
  readonly agentId: AgentId
  readonly place: Place
  readonly hostPorts: readonly number[]
  /** Wall clock. */
  readonly createdAtMs: number
  readonly startedAtMs?: number
  readonly health: 'checked' | 'unchecked'
  readonly networks: readonly NetworkInfo[]
  /** The first version of the snapshot that has it serving; absent while it does not serve. */
  readonly shownIn?: number
  readonly goal: Goal
  readonly phase: Phase
  /** Containers of a pod's instance, each a task of its own; absent: the instance is one task. */
  readonly members?: readonly Member[]
  /** The reservation and volumes that it runs on; absent: none of its own. */
  readonly claim?: TaskId
}

/** The ids of the tasks that an instance is made of. */
export function tasksOf({ id, members }: Pick<Instance, 'id' | 'members'>): readonly TaskId[] {
  return members === undefined ? [id] : members.map(({ name }) => parseTaskId(`${id}.${name}`))
}

/** What can happen to an instance. */
export type InstanceEvent =
  | { readonly kind: 'status'; readonly status: TaskStatus; readonly nowMs: number }
  | { readonly kind: 'stop' }
  | { readonly kind: 'kill-sent'; readonly nowMs: number }
  /** Waited for word of it in vain. */
  | { readonly kind: 'give-up' }

/** The next state. An ended instance stays ended. */
export function stepInstance(instance: Instance, event: InstanceEvent): Instance {
  if (instance.phase.kind === 'ended') return instance
  switch (event.kind) {
    case 'stop':
      return instance.goal.kind === 'stop' ? instance : { ...instance, goal: { kind: 'stop' } }
    case 'kill-sent':
      return { ...instance, goal: { kind: 'stop', askedAtMs: event.nowMs } }
    case 'give-up':
      return { ...instance, phase: { kind: 'ended', outcome: 'lost' } }
    case 'status':
      return applyStatus(instance, event.status, event.nowMs)
  }
}

function applyStatus(instance: Instance, status: TaskStatus, nowMs: number): Instance {
  if (isTerminal(status.state)) return { ...instance, phase: { kind: 'ended', outcome: outcomeOf(instance, status) } }
  switch (status.state) {
    case 'TASK_RUNNING':
      return applyRunning(instance, status, nowMs)
    case 'TASK_KILLING':
      return instance.phase.kind === 'killing' ? instance : { ...instance, phase: { kind: 'killing', sinceMs: nowMs } }
    case 'TASK_UNREACHABLE':
      return { ...instance, phase: { kind: 'unreachable', sinceMs: nowMs } }
    case 'TASK_UNKNOWN':
      return applyUnknown(instance, nowMs)
    default:
      return applyStaging(instance, status, nowMs)
  }
}

function applyRunning(instance: Instance, status: TaskStatus, nowMs: number): Instance {
  const { phase } = instance
  const health = healthOf(instance, status.healthy, phase.kind === 'running' ? phase.health : 'pending')
  const sinceMs = phase.kind === 'running' ? phase.sinceMs : nowMs
  const networks = status.networks.length > 0 ? status.networks : instance.networks
  const startedAtMs = instance.startedAtMs ?? status.timestampMs
  return { ...instance, networks, startedAtMs, phase: { kind: 'running', sinceMs, health } }
}

function healthOf(instance: Instance, healthy: boolean | undefined, before: Health): Health {
  if (instance.health === 'unchecked') return 'unchecked'
  if (healthy === undefined) return before
  return healthy ? 'healthy' : 'unhealthy'
}

/** An old STAGING or STARTING (told again by reconciliation) does not undo RUNNING. */
function applyStaging(instance: Instance, { state }: TaskStatus, nowMs: number): Instance {
  const { phase } = instance
  if (phase.kind === 'running' || phase.kind === 'killing') return instance
  const sinceMs = phase.kind === 'staged' ? phase.sinceMs : nowMs
  return { ...instance, phase: { kind: 'staged', sinceMs, state } }
}

/** Nobody knows it: one that was to be stopped is gone; another may be on an agent that has not registered again yet. */
function applyUnknown(instance: Instance, nowMs: number): Instance {
  if (instance.goal.kind === 'stop') return { ...instance, phase: { kind: 'ended', outcome: 'stopped' } }
  return instance.phase.kind === 'recovered' ? instance : { ...instance, phase: { kind: 'recovered', sinceMs: nowMs } }
}

/** Reasons that say something of the agent, not of the app: a replacement need not wait. */
const agentReasons: ReadonlySet<string> = new Set([
  'REASON_AGENT_REMOVED',
  'REASON_AGENT_RESTARTED',
  'REASON_RECONCILIATION',
])

function outcomeOf(instance: Instance, { state, reason }: TaskStatus): 'failed' | 'lost' | 'stopped' {
  if (instance.goal.kind === 'stop') return 'stopped'
  if (state === 'TASK_GONE' || state === 'TASK_GONE_BY_OPERATOR' || reason === 'REASON_AGENT_DRAINING') return 'lost'
  return state === 'TASK_LOST' && reason !== undefined && agentReasons.has(reason) ? 'lost' : 'failed'
}

/** True when it answers its users: running, and its check (if any) has passed. */
export function isServing({ phase, goal }: Instance): boolean {
  return goal.kind === 'run' && phase.kind === 'running' && (phase.health === 'unchecked' || phase.health === 'healthy')
}

/** True when it counts as one of the app's instances: wanted, and on its way or running. */
export function isActive({ phase, goal }: Instance): boolean {
  return goal.kind === 'run' && (phase.kind === 'staged' || phase.kind === 'running' || phase.kind === 'recovered')
}

/** True when it may hold resources of an agent that can be reached. */
export function isOccupying({ phase }: Instance): boolean {
  return phase.kind !== 'ended' && phase.kind !== 'unreachable'
}

/** The task state to show. */
export function shownState({ phase, goal }: Instance): TaskState {
  if (phase.kind === 'staged') return phase.state
  if (phase.kind === 'running')
    return goal.kind === 'stop' && goal.askedAtMs !== undefined ? 'TASK_KILLING' : 'TASK_RUNNING'
  if (phase.kind === 'killing') return 'TASK_KILLING'
  return phase.kind === 'unreachable' ? 'TASK_UNREACHABLE' : 'TASK_UNKNOWN'
}
