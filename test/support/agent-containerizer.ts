import {
  type ContainerExit,
  type ContainerFinding,
  type Containerizer,
  type ContainerRequest,
} from '../../core/agent/containerizer/containerizer.ts'
import { AppError } from '../../core/base/errors.ts'

/**
 * Containers in memory. Their commands are few: `exit N`, `sleep`, `stubborn` (ignores TERM), `fail` (does not start).
 * Other values never end by themselves.
 */
export interface FakeContainerizer extends Containerizer {
  readonly running: ReadonlySet<string>
  /** Ends a container as its process would. */
  end(containerId: string, status: number): void
  /** What COMMAND checks are answered. */
  execStatus: number
}

/** Opens one; like the real one it tells ends to `onExit`, after the launch has resolved. */
export function openFakeContainerizer(onExit: (exit: ContainerExit) => void): FakeContainerizer {
  const running = new Set<string>()
  const commands = new Map<string, string>()
  const ended = new Map<string, ContainerExit>()
  let pids = 1000
  const end = (containerId: string, status: number) => {
    if (!running.delete(containerId)) return
    const exit = { containerId, status, outOfMemory: false }
    ended.set(containerId, exit)
    setImmediate(() => onExit(exit))
  }
  const launch = async ({ containerId, info }: ContainerRequest, { signal }: { readonly signal: AbortSignal }) => {
    await new Promise((resolve) => setImmediate(resolve))
    signal.throwIfAborted()
    const { value } = info.command
    if (value === 'fail') throw new AppError('ERR_AGENT_CONTAINER', "the fake can't start the container")
    running.add(containerId)
    commands.set(containerId, value)
    const status = /^exit (\d+)$/.exec(value)?.[1]
    if (status !== undefined) setImmediate(() => end(containerId, Number(status)))
    return { pid: pids++ }
  }
  const find = (id: string): ContainerFinding => {
    const exit = ended.get(id)
    if (exit !== undefined) return { kind: 'exited', exit }
    return running.has(id) ? { kind: 'running', pid: 1000 } : { kind: 'absent' }
  }
  const fake: FakeContainerizer = {
    running,
    execStatus: 0,
    end,
    launch,
    signal: (id, name) => {
      if (name === 'KILL') end(id, 137)
      else if (commands.get(id) !== 'stubborn') end(id, 143)
    },
    recover: async (ids) => new Map(ids.map((id) => [id, find(id)])),
    exec: async (_id, _argv, { signal }) => {
      signal.throwIfAborted()
      return fake.execStatus
    },
    remove: async (id) => {
      running.delete(id)
      ended.delete(id)
    },
  }
  return fake
}
