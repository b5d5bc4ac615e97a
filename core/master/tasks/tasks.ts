import { errorMessage } from '../../base/errors.ts'
import { type AgentId, type FrameworkId, type TaskId } from '../../model/ids.ts'
import { shareOf } from '../../model/reservation.ts'
import { isTerminal, type TaskStatus } from '../../model/task.ts'
import { taskVips } from '../../model/task-vips.ts'
import { drainedStatus } from '../agents/decide-life.ts'
import { type MasterContext } from '../context.ts'
import { decideVips, hasVipAddresses, vipNames } from '../networks/vips.ts'
import {
  type MasterTask,
  type MasterVerdict,
  masterStatus,
  runningTask,
  stateFor,
  stepTask,
  vipLabels,
} from './state.ts'

const vipRetryMs = 1_000

/** True while the task's resources are its own. */
export function holdsResources({ status }: MasterTask): boolean {
  return !isTerminal(status.state) && status.state !== 'TASK_UNREACHABLE'
}

/** Enters a task, or its next state, everywhere: table, allocator, snapshot. The one place where tasks change. */
export function putTask(context: MasterContext, task: MasterTask): void {
  const { taskId, agentId } = task.info
  const before = context.tasks.get(taskId)
  account(context, before, task)
  context.tasks.set(task)
  const node = context.agents.get(agentId)?.record.nodeName
  const framework = frameworkName(context, task.frameworkId)
  const running = node === undefined ? undefined : runningTask(task, { node, agentId, framework })
  if (running !== undefined) ensureVips(context, task)
  context.publisher.task(taskId, running)
  context.room.task(task)
  context.changes.tell({ kind: 'task', ...(before && { before }), after: task })
}

/** Enters a task of the table that an earlier master cached. One whose agent is not in the registry any more is dropped. */
export function recoverTask(context: MasterContext, task: MasterTask): void {
  const agent = context.agents.get(task.info.agentId)
  if (agent === undefined) {
    context.tasks.delete(task.info.taskId)
    return
  }
  const isLost = agent.state.kind === 'unreachable' && holdsResources(task)
  const found: MasterTask = isLost ? { ...task, status: { ...task.status, state: 'TASK_UNREACHABLE' } } : task
  account(context, undefined, found)
  context.tasks.set(found)
  putTask(context, found)
}

/** Forgets a task everywhere. */
export function dropTask(context: MasterContext, task: MasterTask): void {
  const known = context.tasks.get(task.info.taskId)
  account(context, known, undefined)
  context.tasks.delete(task.info.taskId)
  context.publisher.task(task.info.taskId, undefined)
  context.room.task(task)
  if (known !== undefined && known.status !== task.status)
    context.changes.tell({ kind: 'task', before: known, after: task })
  context.changes.tell({ kind: 'task', before: task })
}

function account(context: MasterContext, before?: MasterTask, after?: MasterTask): void {
  const { allocator, offers, tasks } = context
  const held = before !== undefined && holdsResources(before)
  const holds = after !== undefined && holdsResources(after)
  if (!held && holds) {
    allocator.allocated(grantOf(after))
    const executor = tasks.executors.enter(after)
    if (executor !== undefined) allocator.allocated(executor)
  }
  if (held && !holds) {
    allocator.recover(grantOf(before))
    const executor = tasks.executors.leave(before)
    if (executor !== undefined) allocator.recover(executor)
    offers.schedule([before.info.agentId])
  }
}

function grantOf({ info, frameworkId, role }: MasterTask) {
  const { unreserved, reserved } = shareOf(info.resources, info.reserved)
  return { agentId: info.agentId, frameworkId, role, resources: unreserved, reserved }
}

/** The name under which a framework's tasks are found; its id when only agents know it. */
export function frameworkName({ frameworks }: MasterContext, id: FrameworkId): string {
  return frameworks.get(id)?.info.name ?? id
}

/**
 * Makes the addresses of a task's VIPs durable; they are in the snapshot from then on, while the task is. Not waited for: a
 * full store delays the VIP, not the task.
 */
export function ensureVips(context: MasterContext, task: MasterTask): void {
  const { profile, registrar, vipUse, clock, log, tasks } = context
  const framework = frameworkName(context, task.frameworkId)
  const names = safeVipNames(task)
  if (names.every((name) => hasVipAddresses(profile, registrar.state, `${name}.${framework}`))) return
  const decide = decideVips(profile, { framework, names }, vipUse())
  registrar.apply(decide).catch((error: unknown) => {
    log.error(
      { taskId: task.info.taskId, vips: names, reason: errorMessage(error) },
      'VIP could not be given an address',
    )
    clock.after(vipRetryMs, () => {
      const now = tasks.get(task.info.taskId)
      if (now !== undefined && holdsResources(now)) ensureVips(context, now)
    })
  })
}

function safeVipNames({ info }: MasterTask): readonly string[] {
  try {
    return vipNames(info)
  } catch {
    return [] // ERR_VIP_LABEL: refused at launch; a task that an agent brings with such a label has no VIP
  }
}

/** An agent's update: entered, and forwarded until its framework acknowledges it. */
export function agentUpdate(
  context: MasterContext,
  agentId: AgentId,
  frameworkId: FrameworkId,
  said: TaskStatus,
): void {
  context.counters.taskUpdates++
  const task = context.tasks.get(said.taskId)
  const status = drainedStatus(context.agents.get(agentId)?.record, task, said)
  if (task !== undefined && task.info.agentId === agentId) {
    const next = stepTask(task, { kind: 'update', status })
    putTask(context, next)
    if (isTerminal(next.status.state) && next.unacknowledged === undefined) dropTask(context, next)
  }
  const framework = context.frameworks.get(frameworkId)
  if (framework === undefined || framework.state === 'removed') {
    acknowledge(context, { agentId, taskId: status.taskId, uuid: status.uuid ?? '' }) // nobody else will
    return
  }
  if (status.state === 'TASK_KILLING' && !framework.info.capabilities.includes('TASK_KILLING_STATE')) {
    acknowledge(context, { agentId, taskId: status.taskId, uuid: status.uuid ?? '' }) // it does not know the word
    return
  }
  forward(context, frameworkId, status, agentId)
}

/** Sends a status to its framework, if that is subscribed, in the words that it knows. */
export function forward(context: MasterContext, frameworkId: FrameworkId, status: TaskStatus, agentId?: AgentId): void {
  const framework = context.frameworks.get(frameworkId)
  if (framework?.deliver === undefined) return
  const state = stateFor(status.state, framework.info.capabilities)
  const place = agentId === undefined ? {} : { agentId }
  framework.deliver({ kind: 'update', status: { ...status, state }, ...place })
}

/** Tells the agent that an update has arrived, and forgets a task that has ended. */
export function acknowledge(
  context: MasterContext,
  update: { readonly agentId: AgentId; readonly taskId: TaskId; readonly uuid: string },
): void {
  const { agentId, taskId, uuid } = update
  context.agents.get(agentId)?.link?.send({ kind: 'acknowledge', taskId, uuid })
  const task = context.tasks.get(taskId)
  if (task === undefined) return
  const next = stepTask(task, { kind: 'acknowledge', uuid })
  if (isTerminal(next.status.state) && next.unacknowledged === undefined) dropTask(context, next)
  else if (next !== task) putTask(context, next)
}

/** A health check's answer; the framework learns it too, without acknowledging. */
export function healthChange(context: MasterContext, agentId: AgentId, taskId: TaskId, healthy: boolean): void {
  const task = context.tasks.get(taskId)
  if (task === undefined || task.info.agentId !== agentId || isTerminal(task.status.state)) return
  const timestampMs = context.clock.nowMs()
  const next = stepTask(task, { kind: 'health', healthy, timestampMs })
  putTask(context, next)
  const { uuid: _, ...status } = next.status
  forward(context, task.frameworkId, { ...status, reason: 'REASON_TASK_HEALTH_CHECK_STATUS_UPDATED' }, agentId)
}

/**
 * Asks for a task's end: at once in the snapshot, so that nothing new is sent to it, and by its agent; of one behind a VIP
 * by its agent when the nodes have that snapshot. The other tasks of its group end with it, as by default in Mesos.
 */
export function killTask(context: MasterContext, task: MasterTask, graceMs: number): void {
  killOne(context, task, graceMs)
  const { info, frameworkId } = task
  if (info.groupId === undefined || info.executor?.kind === 'custom') return
  // Its agent would end them too, but not drain them first.
  for (const other of context.tasks.ofAgent(info.agentId)) {
    const isOther = other.frameworkId === frameworkId && other.info.groupId === info.groupId
    if (isOther && other.killing === undefined) killOne(context, other, other.info.killGraceMs)
  }
}

function killOne(context: MasterContext, task: MasterTask, graceMs: number): void {
  if (isTerminal(task.status.state)) return
  const next = stepTask(task, { kind: 'kill', graceMs, nowMs: context.clock.nowMs() })
  putTask(context, next)
  if (isBehindVip(task)) context.drains.kill(task.info.taskId, graceMs)
  else sendKill(context, task.info.taskId, graceMs)
}

/** Tells the task's agent, if it is connected, to end it. */
export function sendKill(
  { tasks, agents }: Pick<MasterContext, 'tasks' | 'agents'>,
  taskId: TaskId,
  graceMs: number,
): void {
  const task = tasks.get(taskId)
  if (task === undefined || isTerminal(task.status.state)) return
  agents.get(task.info.agentId)?.link?.send({ kind: 'kill', taskId, graceMs })
}

/** True when nodes balance connections to it: its end must wait until they have turned away. */
export function isBehindVip(task: MasterTask): boolean {
  return task.status.state === 'TASK_RUNNING' && taskVips(vipLabels(task), 'pass-over').length > 0
}

/** The master's own word on a task; one that ends it ends it here too, for no acknowledgement will come. */
export function judge(context: MasterContext, task: MasterTask, verdict: MasterVerdict): void {
  if (isTerminal(task.status.state)) {
    // It has ended and its framework was told; without its agent no acknowledgement can go anywhere.
    if (isTerminal(verdict.state)) dropTask(context, task)
    return
  }
  const status = masterStatus(task, verdict)
  const { unacknowledged: _, ...settled } = stepTask(task, { kind: 'update', status })
  if (isTerminal(verdict.state)) dropTask(context, settled)
  else putTask(context, settled)
  forward(context, task.frameworkId, status, task.info.agentId)
}
