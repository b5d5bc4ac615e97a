import { type NetworkName } from '../../model/ids.ts'
import { networksOfTask } from '../../model/task.ts'
import { type MasterContext } from '../context.ts'
import { holdsResources } from '../tasks/tasks.ts'

type UsersContext = Pick<MasterContext, 'tasks' | 'registrar' | 'usage' | 'clock'>

/** Who keeps a network from being removed, in words. */
export interface NetworkUsers {
  /** Tasks and apps. */
  readonly named: readonly string[]
  /** Nodes that still have leases of the network: of containers that no task has, or that end just now. */
  readonly leases: readonly string[]
}

/** Looks for users: `task web.1`, `app /web`, `2 addresses on node agent1`. */
export function networkUsers(context: UsersContext, name: NetworkName, apps: readonly string[]): NetworkUsers {
  const tasks = [...context.tasks.all()]
    .filter(({ info }) => networksOfTask(info).some((request) => request.name === name))
    .filter(holdsResources)
  const leases = [...context.registrar.state.nodes.keys()].flatMap((node) => {
    const used = Math.max(0, ...context.usage.of(node).flatMap((one) => (one.network === name ? [one.used] : [])))
    return used === 0 ? [] : [`${used} ${used === 1 ? 'address' : 'addresses'} on node ${node}`]
  })
  return {
    named: [...apps.map((id) => `app ${id}`), ...tasks.map(({ info }) => `task ${info.taskId}`)],
    leases,
  }
}

/** Longest wait for addresses that tasks have just given back: the nodes tell of them within a few milliseconds. */
const settleMs = 2_000

/** Resolves when no node has a lease of the network, or after a while. @throws AbortError */
export function leasesSettled(
  context: UsersContext,
  name: NetworkName,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const finish = (settle: () => void) => {
      stop()
      cancel()
      signal.removeEventListener('abort', abort)
      settle()
    }
    const look = () => {
      if (networkUsers(context, name, []).leases.length === 0) finish(resolve)
    }
    const abort = () => finish(() => reject(signal.reason))
    const stop = context.usage.onChange(look)
    const cancel = context.clock.after(settleMs, () => finish(resolve))
    signal.addEventListener('abort', abort, { once: true })
    look()
  })
}
