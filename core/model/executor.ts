import { type ContainerInfo, type FetchUri } from './container.ts'
import { type ExecutorId } from './ids.ts'
import { type Resources } from './resources.ts'
import { type CommandInfo, type NetworkRequest } from './task.ts'

/**
 * Who runs a task on its agent. `command`: the agent itself (no ExecutorInfo given); `default`: the agent too, for the tasks
 * of one group in one network namespace; `custom`: a program of the framework that speaks the v1 executor API.
 * Source: mesos, mesos.proto, message ExecutorInfo.
 */
export interface ExecutorInfo {
  readonly id: ExecutorId
  readonly kind: 'default' | 'custom'
  readonly name: string
  /** Of the executor itself, beside those of its tasks. */
  readonly resources: Resources
  /** For `custom` only. */
  readonly command?: CommandInfo
  readonly container?: ContainerInfo
  readonly fetch?: readonly FetchUri[]
  /** The group's networks (`default`), or the executor's own (`custom`). */
  readonly networks: readonly NetworkRequest[]
  readonly shutdownGraceMs: number
  readonly labels: Readonly<Record<string, string>>
}
