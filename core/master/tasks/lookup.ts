import { type AgentId, type FrameworkId, type TaskId } from '../../model/ids.ts'
import { type MasterTask } from './state.ts'

/**
 * Tasks by id, agent and framework. The list of an agent's tasks is never changed in place: whoever keeps one, or something
 * made of it, sees by its identity that it is still true.
 */
export interface TaskIndex {
  get(id: TaskId): MasterTask | undefined
  set(task: MasterTask): void
  delete(id: TaskId): void
  all(): Iterable<MasterTask>
  ofAgent(agentId: AgentId): readonly MasterTask[]
  byAgent(): ReadonlyMap<AgentId, readonly MasterTask[]>
  ofFramework(frameworkId: FrameworkId): readonly MasterTask[]
  readonly size: number
}

const none: readonly MasterTask[] = []

/** Opens it empty. */
export function openTaskIndex(): TaskIndex {
  const tasks = new Map<TaskId, MasterTask>()
  const byAgent = new Map<AgentId, readonly MasterTask[]>()
  const byFramework = new Map<FrameworkId, Set<TaskId>>()
  const leave = ({ info, frameworkId }: MasterTask) => {
    const rest = (byAgent.get(info.agentId) ?? none).filter((task) => task.info.taskId !== info.taskId)
    if (rest.length > 0) byAgent.set(info.agentId, rest)
    else byAgent.delete(info.agentId)
    const ids = byFramework.get(frameworkId)
    ids?.delete(info.taskId)
    if (ids?.size === 0) byFramework.delete(frameworkId)
  }
  const join = (task: MasterTask) => {
    const { info, frameworkId } = task
    byAgent.set(info.agentId, [...(byAgent.get(info.agentId) ?? none), task])
    const ids = byFramework.get(frameworkId)
    if (ids === undefined) byFramework.set(frameworkId, new Set([info.taskId]))
    else ids.add(info.taskId)
  }
  const replace = (before: MasterTask, after: MasterTask) => {
    const list = byAgent.get(after.info.agentId) ?? none
    byAgent.set(after.info.agentId, list.with(list.indexOf(before), after))
  }
  return {
    get: (id) => tasks.get(id),
    set: (task) => {
      const before = tasks.get(task.info.taskId)
      if (before === task) return
      tasks.set(task.info.taskId, task)
      const stays = before?.info.agentId === task.info.agentId && before.frameworkId === task.frameworkId
      if (before !== undefined && stays) return replace(before, task)
      if (before !== undefined) leave(before)
      join(task)
    },
    delete: (id) => {
      const task = tasks.get(id)
      if (task === undefined) return
      tasks.delete(id)
      leave(task)
    },
    all: () => tasks.values(),
    ofAgent: (agentId) => byAgent.get(agentId) ?? none,
    byAgent: () => byAgent,
    ofFramework: (frameworkId) =>
      [...(byFramework.get(frameworkId) ?? [])].map((id) => tasks.get(id)).filter((task) => task !== undefined),
    get size() {
      return tasks.size
    },
  }
}
