import { isDeepStrictEqual } from 'node:util'
import { type ExecutorInfo } from '../../model/executor.ts'
import { type ExecutorId } from '../../model/ids.ts'
import { type TaskInfo } from '../../model/task.ts'
import { type LaunchContext, type LaunchVerdicts, validateLaunches } from './validate.ts'

/**
 * What is wrong with a task's executor. `known`: the one of that id which its agent has.
 * Source: mesos, src/master/validation.cpp, executor::internal.
 */
export function findExecutorProblem(info: TaskInfo, known: ExecutorInfo | undefined): string | undefined {
  const { executor, groupId } = info
  if (executor === undefined) return undefined
  if (executor.kind === 'default' && groupId === undefined) {
    return 'the default executor runs task groups only: use LAUNCH_GROUP'
  }
  if (executor.kind === 'custom' && executor.command === undefined) {
    return `executor ${executor.id} has no command: a custom executor needs one`
  }
  if (info.networks.length > 0) {
    return `the networks of executor ${executor.id} are those of its tasks: give none to task ${info.taskId}`
  }
  const { cpuMillis, memMb, diskMb } = executor.resources
  if (![cpuMillis, memMb, diskMb].every((amount) => Number.isInteger(amount) && amount >= 0 && amount < 2 ** 32)) {
    return `the resources of executor ${executor.id} must be whole numbers, not below 0`
  }
  if (known !== undefined && !isDeepStrictEqual(known, executor)) {
    return `executor ${executor.id} is there already, and is another one`
  }
  return undefined
}

/** Checks a task group: it is launched as a whole or not at all. */
export function validateGroup(tasks: readonly TaskInfo[], context: LaunchContext): LaunchVerdicts {
  const verdicts = validateLaunches(tasks, context)
  const [bad] = verdicts.refused
  if (bad === undefined) return verdicts
  const problem = `Task '${bad.info.taskId}' in the task group is invalid: ${bad.problem}`
  return { accepted: [], refused: tasks.map((info) => ({ info, problem })), left: context.offered }
}

/** The executors of one agent as a launch finds them: those that are there, then those of the call's own tasks. */
export interface KnownExecutors {
  find(id: ExecutorId): ExecutorInfo | undefined
  add(info: ExecutorInfo): void
}

/** Opens it over those that are there. */
export function knownExecutors(find: (id: ExecutorId) => ExecutorInfo | undefined = () => undefined): KnownExecutors {
  const added = new Map<ExecutorId, ExecutorInfo>()
  return { find: (id) => added.get(id) ?? find(id), add: (info) => added.set(info.id, info) }
}
