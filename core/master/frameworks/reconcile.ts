import { type TaskId } from '../../model/ids.ts'
import { type FrameworkEntry, type MasterContext } from '../context.ts'
import { forward } from '../tasks/tasks.ts'
import { type MasterTask } from '../tasks/state.ts'

/**
 * Tells a framework what the master knows of its tasks: of all for an empty list, else of those. A task that nobody knows is
 * UNKNOWN, but not as long as an agent of an earlier master may still come back with it: then the answer waits.
 * Source: reference/mesos-core.md, Reconciliation.
 */
export function reconcile(context: MasterContext, framework: FrameworkEntry, taskIds: readonly TaskId[]): void {
  if (taskIds.length === 0) {
    for (const task of context.tasks.ofFramework(framework.id)) tellKnown(context, task)
    return
  }
  for (const taskId of taskIds) {
    const task = context.tasks.get(taskId)
    if (task?.frameworkId === framework.id) tellKnown(context, task)
    else if (isRecovering(context)) framework.unanswered.add(taskId)
    else tellUnknown(context, framework, taskId)
  }
}

/** Answers what waited for agents; to be called when one has come back or was given up. */
export function answerPending(context: MasterContext): void {
  if (isRecovering(context)) return
  for (const framework of context.frameworks.values()) {
    const taskIds = [...framework.unanswered]
    framework.unanswered.clear()
    if (taskIds.length > 0) reconcile(context, framework, taskIds)
  }
}

function isRecovering({ agents }: MasterContext): boolean {
  return [...agents.values()].some(({ state }) => state.kind === 'recovered')
}

function tellKnown(context: MasterContext, { status, info, frameworkId }: MasterTask): void {
  const { uuid: _, ...latest } = status
  const answer = { ...latest, source: 'MASTER', reason: 'REASON_RECONCILIATION' } as const
  forward(context, frameworkId, answer, info.agentId)
}

function tellUnknown(context: MasterContext, framework: FrameworkEntry, taskId: TaskId): void {
  forward(context, framework.id, {
    taskId,
    state: 'TASK_UNKNOWN',
    source: 'MASTER',
    reason: 'REASON_RECONCILIATION',
    message: 'no agent has this task',
    timestampMs: context.clock.nowMs(),
    networks: [],
  })
}
