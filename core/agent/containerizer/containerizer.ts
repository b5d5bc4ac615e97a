import { type CniDns } from '../../../cni-plugins/cni/result.ts'
import { type Ip } from '../../base/ip.ts'
import { type AgentId, type FrameworkId } from '../../model/ids.ts'
import { type Resources } from '../../model/resources.ts'
import { type TaskInfo } from '../../model/task.ts'
import { type VolumeBind } from './spec.ts'

/** What only the agent can give. */
export interface ContainerExtra {
  /** Wins over what the task says. */
  readonly env: Readonly<Record<string, string>>
  readonly binds: readonly VolumeBind[]
}

/** What a container is made of. */
export interface ContainerRequest {
  readonly containerId: string
  readonly frameworkId: FrameworkId
  readonly agentId?: AgentId
  readonly info: TaskInfo
  /** Of a custom executor: how it finds its agent. */
  readonly extra?: ContainerExtra
  /** Directory of the agent's machine that all tasks of its executor share. */
  readonly sharedSandbox?: string
  /** `host`: the agent's own namespace. */
  readonly network:
    | { readonly kind: 'host'; readonly dns?: CniDns }
    | { readonly kind: 'own'; readonly netns: string; readonly addresses: readonly Ip[]; readonly dns?: CniDns }
}

/** What a container is prepared from: all but its network, which is not there yet. */
export type PrepareRequest = Omit<ContainerRequest, 'network'> & {
  /** It will be on networks of its own: where their namespace will be pinned. */
  readonly netns?: string
}

/** A container that runs. */
export interface RunningContainer {
  /** Its init process, in the process ids of the agent; 0: it has ended already. */
  readonly pid: number
}

/** How a container ended. */
export interface ContainerExit {
  readonly containerId: string
  /** As a shell tells it: 128 + signal when killed. Absent: it vanished, nobody saw how. */
  readonly status?: number
  readonly outOfMemory: boolean
}

/** What an agent's restart finds of a container. */
export type ContainerFinding =
  | { readonly kind: 'running'; readonly pid: number }
  | { readonly kind: 'exited'; readonly exit: ContainerExit }
  /** It never ran, or all of it vanished with the machine. */
  | { readonly kind: 'absent' }

/**
 * Runs containers that outlive the agent. Ends are told to the `onExit` that the implementation was opened with, once,
 * after `launch` has resolved or `recover` has returned.
 */
export interface Containerizer {
  /**
   * Gets what the container needs and what may take long: image, fetched files. Call it before networks are attached; a
   * launch without it does the same. @throws ERR_AGENT_IMAGE, ERR_AGENT_FETCH, … ; `remove` undoes it
   */
  prepare?(
    request: PrepareRequest,
    options: { readonly signal: AbortSignal; readonly onProgress: (message: string) => void },
  ): Promise<void>
  /** Resolves when the task's process runs. @throws ERR_AGENT_CONTAINER and leaves nothing behind but the sandbox */
  launch(request: ContainerRequest, options: { readonly signal: AbortSignal }): Promise<RunningContainer>
  /** `TERM` reaches every process of the container (of Docker's the first one, as `docker stop`), `KILL` ends all of them. Nothing happens when it has ended. */
  signal(containerId: string, signal: 'TERM' | 'KILL'): void
  /** Takes over what an earlier agent left; removes containers that are not named. */
  recover(containerIds: readonly string[]): Promise<ReadonlyMap<string, ContainerFinding>>
  /** Runs a command inside. @returns its exit status @throws AbortError after killing it */
  exec(containerId: string, argv: readonly string[], options: { readonly signal: AbortSignal }): Promise<number>
  /** Gives it this much from now on: memory is never taken back, cpu is. Nothing happens when it has ended. */
  resize?(containerId: string, resources: Resources): void
  /** Octets of disk that the container takes: sandbox, and what it wrote to its root file system. Volumes count not. */
  diskUsage?(containerId: string, options: { readonly signal: AbortSignal }): Promise<number>
  /** Kills what runs, removes container, cgroup and supervisor files. Idempotent. */
  remove(containerId: string): Promise<void>
}
