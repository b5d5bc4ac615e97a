import { type ContainerExit, type ContainerFinding } from './containerizer/containerizer.ts'
import { type TaskEnd } from './end-status.ts'
import { hasEnded, isForgettable, type TaskRecord } from './record.ts'

/** What a restarted agent does about a task that an earlier one had. */
export type Recovery =
  /** Nothing is left to do. */
  | { readonly kind: 'forget' }
  /** It has ended: undo what is left, send what is unacknowledged. */
  | { readonly kind: 'clean' }
  /** It runs. `announce`: nobody was told yet. */
  | { readonly kind: 'adopt'; readonly pid: number; readonly announce: boolean }
  /** It ended while no agent was there. */
  | { readonly kind: 'finish'; readonly exit: ContainerExit }
  /** Neither runs nor ended properly. */
  | { readonly kind: 'abandon'; readonly end: TaskEnd }

/** Decides by the task's journal, by what is found of its container, and by whether the machine was restarted. */
export function recoverTask(record: TaskRecord, finding: ContainerFinding, bootId: string): Recovery {
  if (isForgettable(record)) return { kind: 'forget' }
  if (hasEnded(record)) return { kind: 'clean' }
  if (record.bootId !== bootId) return afterReboot(finding)
  switch (finding.kind) {
    case 'running':
      // Its networks are only known when the journal says so: a full disk may have kept that from it.
      if (record.networks === undefined && hasOwnNetwork(record)) return { kind: 'abandon', end: interrupted }
      return { kind: 'adopt', pid: finding.pid, announce: !wasAnnounced(record) }
    case 'exited':
      return { kind: 'finish', exit: finding.exit }
    case 'absent':
      return { kind: 'abandon', end: wasAnnounced(record) ? vanished : interrupted }
  }
}

/** Anything told before it started is on the way there. */
function wasAnnounced({ latest }: TaskRecord): boolean {
  return latest !== undefined && latest.state !== 'TASK_STARTING'
}

function hasOwnNetwork({ attachments, executor }: TaskRecord): boolean {
  return attachments.length > 0 || executor !== undefined
}

function afterReboot(finding: ContainerFinding): Recovery {
  // Its supervisor told an end before the machine went down.
  if (finding.kind === 'exited' && finding.exit.status !== undefined) return { kind: 'finish', exit: finding.exit }
  return { kind: 'abandon', end: rebooted }
}

/** The agent died before the task was announced. */
export const interrupted: TaskEnd = {
  state: 'TASK_LOST',
  reason: 'REASON_AGENT_RESTARTED',
  message: 'the agent was restarted while it launched the task',
}

const vanished: TaskEnd = {
  state: 'TASK_FAILED',
  reason: 'REASON_EXECUTOR_TERMINATED',
  message: 'the container vanished while no agent was there',
}

/** No container outlives the machine's run. */
export const rebooted: TaskEnd = {
  state: 'TASK_FAILED',
  reason: 'REASON_EXECUTOR_TERMINATED',
  message: 'the machine was restarted',
}
