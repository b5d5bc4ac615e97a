import { AppError } from '../../base/errors.ts'
import { type TaskInfo } from '../../model/task.ts'
import { unlessAborted } from '../abort.ts'
import { type RunningContainer } from '../containerizer/containerizer.ts'
import { type CustomDependencies } from './custom.ts'
import { executorEnvironment, executorTask, socketMount } from './custom-env.ts'
import { type ExecutorHome } from './home.ts'

/** Longest wait for an image and fetched files. */
const prepareTimeoutMs = 1_800_000

/** What is launched. */
export interface ExecutorLaunch {
  readonly home: ExecutorHome
  /** Those that it begins with. */
  readonly tasks: readonly TaskInfo[]
  /** Image and files are there; what follows is quick. */
  readonly onAttach: () => void
}

/** Gets the image and files of an executor, attaches its networks, starts its container. @throws as each of these */
export async function launchExecutor(
  { containerizer, agentId, endpoint, clock }: CustomDependencies,
  { home, tasks, onAttach }: ExecutorLaunch,
  aborting: AbortController,
): Promise<RunningContainer> {
  const { containerId, frameworkId } = home.record
  const { signal } = aborting
  const info = executorTask(home.record, tasks)
  const agent = agentId()
  const request = { containerId, frameworkId, info, ...(agent === undefined ? {} : { agentId: agent }) }
  const late = new AppError(
    'ERR_AGENT_LAUNCH_TIMEOUT',
    `image and files took over ${prepareTimeoutMs / 60_000} minutes`,
  )
  const cancel = clock.after(prepareTimeoutMs, () => aborting.abort(late))
  try {
    const netns = info.networks.length === 0 ? {} : { netns: home.netns }
    await containerizer.prepare?.({ ...request, ...netns }, { signal, onProgress: () => undefined })
  } finally {
    cancel()
  }
  onAttach()
  const { network } = await unlessAborted(home.network(), signal)
  const { socketDir } = endpoint
  const binds = socketDir === undefined ? [] : [{ source: socketDir, destination: socketMount, mode: 'ro' as const }]
  const extra = { env: executorEnvironment(home.record, endpoint), binds }
  return containerizer.launch({ ...request, network, extra }, { signal })
}
