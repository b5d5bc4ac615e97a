import { existsSync, readdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../base/errors.ts'
import { type TaskId } from '../model/ids.ts'
import { type TaskState } from '../model/task.ts'
import { readJournal } from './checkpoint.ts'
import { readChoice } from './containerizer/choose.ts'
import { engineOf, isDocker } from './docker/mark.ts'
import { dockerNames } from './docker/names.ts'
import { type AgentPaths, agentPaths, containerPaths } from './paths.ts'
import { foldRecord, latestStatus, type TaskEvent } from './record.ts'

/** A container that an agent has not forgotten, as its state directory tells it; no agent need run. */
export interface ContainerSummary {
  readonly containerId: string
  readonly taskId: TaskId
  readonly name: string
  readonly state: TaskState
  /** Folder with `stdout` and `stderr`. */
  readonly sandbox: string
  /** Path of its own network namespace; absent for a task on the host's network. */
  readonly netns?: string
}

/** All containers of a state directory, of which some may have ended. */
export async function listContainers(stateDir: string): Promise<readonly ContainerSummary[]> {
  const paths = agentPaths(stateDir)
  if (!existsSync(paths.containers)) return []
  const found = await Promise.all(readdirSync(paths.containers).map((id) => summarize(paths, id)))
  return found.filter((summary) => summary !== undefined)
}

/**
 * The command line that runs `argv` inside a task's container; `tty` gives it a terminal.
 * @throws ERR_AGENT_TASK_UNKNOWN, ERR_AGENT_TASK_ENDED
 */
export async function containerExecCommand(
  stateDir: string,
  taskId: TaskId | string,
  command: { readonly argv: readonly string[]; readonly tty?: 'yes' | 'no' },
): Promise<readonly string[]> {
  const found = (await listContainers(stateDir)).filter((container) => container.taskId === taskId)
  const running = found.find(({ state }) => state === 'TASK_RUNNING' || state === 'TASK_KILLING')
  const runtime = readChoice(join(stateDir, 'runtime.json'))
  const tty = command.tty === 'yes' ? ['--tty'] : []
  const paths = agentPaths(stateDir)
  if (running !== undefined && isDocker(paths, running.containerId)) {
    const name = dockerNames(realpathSync(stateDir)).task(running.containerId)
    return ['docker', '--host', `unix://${engineOf(paths)}`, 'exec', '--interactive', ...tty, name, ...command.argv]
  }
  if (running !== undefined && runtime !== undefined) {
    return [runtime.path, '--root', paths.runtime, 'exec', ...tty, running.containerId, ...command.argv]
  }
  const state = found[0]?.state
  if (state === undefined) throw new AppError('ERR_AGENT_TASK_UNKNOWN', `no task "${taskId}" on this node`)
  throw new AppError('ERR_AGENT_TASK_ENDED', `task "${taskId}" does not run: it is ${state}`)
}

async function summarize(paths: AgentPaths, containerId: string): Promise<ContainerSummary | undefined> {
  const { journal, sandbox, netns } = containerPaths(paths, containerId)
  const record = foldRecord((await readJournal<TaskEvent>(journal)).events)
  if (record === undefined) return undefined
  const { taskId, name, networks } = record.info
  const { state } = latestStatus(record)
  return { containerId, taskId, name, state, sandbox, ...(networks.length === 0 ? {} : { netns }) }
}
