import { type TaskId } from '../model/ids.ts'
import { isTerminal, type NetworkInfo, type TaskState, type TaskStatus } from '../model/task.ts'

/** One container of a pod's instance. */
export interface Member {
  readonly name: string
  readonly state: TaskState
  /** Absent: not checked, or no answer yet. */
  readonly healthy?: boolean
  readonly message?: string
  /** Wall clock. */
  readonly sinceMs: number
  readonly networks: readonly NetworkInfo[]
  readonly checked: boolean
}

const memberPattern = /^(.+\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([a-z0-9-]+)$/

/** The instance's part of a container's task id, and the container; undefined for a task that is no part of a pod. */
export function parseMemberId(id: TaskId): { readonly instance: string; readonly name: string } | undefined {
  const [, instance, name] = memberPattern.exec(id) ?? []
  return instance === undefined || name === undefined ? undefined : { instance, name }
}

/** The members after an update of one. */
export function stepMember(members: readonly Member[], name: string, status: TaskStatus): readonly Member[] {
  return members.map((member) => {
    if (member.name !== name || isTerminal(member.state)) return member
    const { state, healthy = member.healthy, message = '', timestampMs } = status
    return {
      ...member,
      state,
      message,
      ...(healthy === undefined ? {} : { healthy }),
      sinceMs: state === member.state ? member.sinceMs : timestampMs,
      networks: status.networks.length > 0 ? status.networks : member.networks,
    }
  })
}

/** The state of the whole: it runs when all run (or have finished), is ending as soon as one failed, over when all are. */
export function wholeState(members: readonly Member[]): TaskState {
  const states = members.map(({ state }) => state)
  const failed = states.find((state) => isTerminal(state) && state !== 'TASK_FINISHED')
  if (states.every(isTerminal)) return failed ?? 'TASK_FINISHED'
  if (failed !== undefined) return 'TASK_KILLING'
  const rest = states.filter((state) => !isTerminal(state))
  for (const state of ['TASK_UNREACHABLE', 'TASK_KILLING', 'TASK_UNKNOWN', 'TASK_STAGING', 'TASK_STARTING'] as const) {
    if (rest.includes(state)) return state
  }
  return 'TASK_RUNNING'
}

/** The update of one container as one of the whole instance. */
export function wholeStatus(instance: TaskId, members: readonly Member[], status: TaskStatus): TaskStatus {
  const { healthy: _, ...rest } = status
  const checks = members.filter(({ checked, state }) => checked && !isTerminal(state)).map(({ healthy }) => healthy)
  const known = checks.includes(false)
    ? false
    : checks.length > 0 && checks.every((one) => one === true)
      ? true
      : undefined
  const networks = members.find((member) => member.networks.length > 0)?.networks ?? []
  return {
    ...rest,
    taskId: instance,
    state: wholeState(members),
    networks,
    ...(known === undefined ? {} : { healthy: known }),
  }
}
