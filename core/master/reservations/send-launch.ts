import { errorMessage } from '../../base/errors.ts'
import { type AgentId, type FrameworkId } from '../../model/ids.ts'
import { fillSecrets } from '../../model/secret.ts'
import { type TaskInfo } from '../../model/task.ts'
import { type MasterContext } from '../context.ts'
import { judge } from '../tasks/tasks.ts'
import { type MasterVerdict } from '../tasks/state.ts'

/** Tasks of one ACCEPT, entered already. */
export interface LaunchOrder {
  readonly agentId: AgentId
  readonly frameworkId: FrameworkId
  readonly tasks: readonly TaskInfo[]
}

/**
 * Sends a launch to its agent: at once, or when what it stands on (`written`: reservations) is durable and told to the agent.
 * A task that is killed meanwhile does not start; when the writing fails none does.
 */
export function sendLaunch(context: MasterContext, order: LaunchOrder, written: readonly Promise<void>[]): void {
  const { agentId, frameworkId, tasks } = order
  if (tasks.length === 0) return
  const send = (some: readonly TaskInfo[]) => {
    const ready = wholeGroups(context, some, (info) => withSecrets(context, info)[0])
    const { name, user } = context.frameworks.get(frameworkId)?.info ?? { name: frameworkId, user: '' }
    const order = { kind: 'launch', frameworkId, tasks: ready, framework: { name, user } } as const
    if (ready.length > 0) context.agents.get(agentId)?.link?.send(order)
  }
  if (written.length === 0) {
    send(tasks)
    return
  }
  const sendRest = () => {
    const isKilled = ({ taskId }: TaskInfo) => context.tasks.get(taskId)?.killing !== undefined
    const killed = tasks.filter(isKilled)
    end(context, killed, { state: 'TASK_KILLED', reason: 'REASON_TASK_KILLED_DURING_LAUNCH', message: '' })
    const isThere = ({ taskId }: TaskInfo) => context.tasks.get(taskId) !== undefined
    const rest = wholeGroups(context, tasks, (info) => (isThere(info) ? info : undefined))
    if (rest.length > 0) send(rest)
  }
  const drop = (error: unknown) => {
    const message = `a reservation of the same call could not be written: ${errorMessage(error)}`
    end(context, tasks, { state: 'TASK_DROPPED', reason: 'REASON_RESOURCES_UNKNOWN', message })
  }
  Promise.all(written).then(sendRest, drop)
}

/** Those that pass, without groups of which one does not: their other tasks end. */
function wholeGroups(
  context: MasterContext,
  tasks: readonly TaskInfo[],
  pass: (info: TaskInfo) => TaskInfo | undefined,
): readonly TaskInfo[] {
  const passed = tasks.map((info) => ({ info, ready: pass(info) }))
  const lost = new Set(passed.flatMap(({ info, ready }) => (ready === undefined ? [info.groupId] : [])))
  lost.delete(undefined)
  const broken = tasks.filter(({ groupId }) => lost.has(groupId))
  const message = 'a task of its group could not be launched'
  end(context, broken, { state: 'TASK_KILLED', reason: 'REASON_TASK_KILLED_DURING_LAUNCH', message })
  return passed.flatMap(({ info, ready }) => (ready === undefined || lost.has(info.groupId) ? [] : [ready]))
}

/** None when a secret of it is not there: then the task has failed. */
function withSecrets(context: MasterContext, info: TaskInfo): readonly TaskInfo[] {
  try {
    return [fillSecrets(info, context.readSecret)]
  } catch (error) {
    end(context, [info], { state: 'TASK_FAILED', reason: 'REASON_TASK_INVALID', message: errorMessage(error) })
    return []
  }
}

function end(context: MasterContext, tasks: readonly TaskInfo[], verdict: Omit<MasterVerdict, 'timestampMs'>): void {
  for (const { taskId } of tasks) {
    const task = context.tasks.get(taskId)
    if (task !== undefined) judge(context, task, { ...verdict, timestampMs: context.clock.nowMs() })
  }
}
