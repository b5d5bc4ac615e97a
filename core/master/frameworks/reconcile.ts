import { type AgentId, type TaskId } from '../../model/ids.ts'
import { type SchedulerCall } from '../../model/scheduler.ts'
import { type TaskState } from '../../model/task.ts'
import { type FrameworkEntry, type MasterContext } from '../context.ts'
import { forward } from '../tasks/tasks.ts'
import { type MasterTask } from '../tasks/state.ts'

type Question = Pick<Extract<SchedulerCall, { readonly kind: 'reconcile' }>, 'taskIds' | 'agentOf'>

/**
 * Tells a framework what the master knows of its tasks: of all for an empty list, else of those. Of a task that the master
 * does not know, the agent's fate decides. As long as an agent of an earlier master may still come back with it, the answer
 * waits, also of a task that is known: what an earlier master cached may be older than what its framework acknowledged, and
 * its agent tells nothing twice. Source: reference/mesos-core.md, Reconciliation.
 */
export function reconcile(
  context: MasterContext,
  framework: FrameworkEntry,
  { taskIds, agentOf = new Map() }: Question,
): void {
  if (taskIds.length === 0) {
    for (const task of context.tasks.ofFramework(framework.id)) tellOrWait(context, framework, task)
    return
  }
  for (const taskId of taskIds) {
    const task = context.tasks.get(taskId)
    const agentId: AgentId | undefined = agentOf.get(taskId)
    if (task?.frameworkId === framework.id) tellOrWait(context, framework, task)
    else if (isRecovering(context, agentId)) framework.unanswered.set(taskId, agentId)
    else tellUnknown(context, framework, { taskId, agentId })
  }
}

/** Answers what waited for agents; to be called when one has come back or was given up. */
export function answerPending(context: MasterContext): void {
  for (const framework of context.frameworks.values()) {
    const waiting = [...framework.unanswered]
    framework.unanswered.clear()
    for (const [taskId, agentId] of waiting) {
      reconcile(context, framework, { taskIds: [taskId], ...(agentId && { agentOf: new Map([[taskId, agentId]]) }) })
    }
  }
}

/** Without a name: any agent may have the task. */
function isRecovering({ agents }: MasterContext, agentId?: AgentId): boolean {
  if (agentId !== undefined) return agents.get(agentId)?.state.kind === 'recovered'
  return [...agents.values()].some(({ state }) => state.kind === 'recovered')
}

function tellOrWait(context: MasterContext, framework: FrameworkEntry, task: MasterTask): void {
  const { taskId, agentId } = task.info
  if (isRecovering(context, agentId)) framework.unanswered.set(taskId, agentId)
  else tellKnown(context, task)
}

function tellKnown(context: MasterContext, { status, info, frameworkId }: MasterTask): void {
  const { uuid: _, ...latest } = status
  const answer = { ...latest, source: 'MASTER', reason: 'REASON_RECONCILIATION' } as const
  forward(context, frameworkId, answer, info.agentId)
}

interface Unknown {
  readonly taskId: TaskId
  readonly agentId: AgentId | undefined
}

function tellUnknown(context: MasterContext, framework: FrameworkEntry, { taskId, agentId }: Unknown): void {
  const agent = agentId === undefined ? undefined : context.agents.get(agentId)
  const isGone = agentId !== undefined && context.registrar.state.gone.has(agentId)
  const fate = fateWithout(isGone ? 'gone' : agent?.state.kind)
  const since = fate.state === 'TASK_UNREACHABLE' ? agent?.record.unreachableSinceMs : undefined
  const status = { taskId, ...fate, source: 'MASTER', reason: 'REASON_RECONCILIATION', networks: [] } as const
  forward(context, framework.id, { ...status, timestampMs: since ?? context.clock.nowMs() }, agentId)
}

/** The fate of a task that the master does not know, by its agent's state. */
function fateWithout(agentState: string | undefined): { readonly state: TaskState; readonly message: string } {
  switch (agentState) {
    case undefined:
      return { state: 'TASK_UNKNOWN', message: 'no agent has this task' }
    case 'unreachable':
      return { state: 'TASK_UNREACHABLE', message: 'its agent does not answer' }
    case 'gone':
      return { state: 'TASK_GONE_BY_OPERATOR', message: 'an operator marked its agent as gone' }
    default:
      return { state: 'TASK_GONE', message: 'its agent does not have this task' }
  }
}
