import { sampleNetworks } from '../../core/cli/sample/apps.ts'
import { type LocalCluster, startCluster } from '../../core/cli/up/cluster.ts'
import { runAt } from '../../core/cli/up/checks.ts'
import { type ProcessRecord, readClusterRecord } from '../../core/cli/up/record.ts'
import { recordsOf } from '../../core/cli/up/sample.ts'

/** Longest wait of {@link eventually}. */
const limitMs = 30_000

/** A local cluster for one test file; its name is this process's own. Progress goes nowhere. */
export function startTestCluster(agents: number, label = 'test'): Promise<LocalCluster> {
  const name = `${label}-${process.pid}`
  return startCluster({ name, agents, port: 0, networks: sampleNetworks, progress: () => undefined })
}

/** Repeats `look` until it returns something other than undefined. @throws its last error, or that nothing came */
export async function eventually<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + limitMs
  let last: unknown
  while (performance.now() < deadline) {
    try {
      const found = await look()
      if (found !== undefined) return found
      last = undefined
    } catch (error) {
      last = error
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`not within ${limitMs / 1000} s: ${what}`, { cause: last })
}

/** Ids of the running, healthy or unchecked tasks of an app. */
export async function servingTasks({ api }: LocalCluster, app: string): Promise<readonly Record<string, unknown>[]> {
  const tasks = await recordsOf(api, '/weft/v1/tasks', 'tasks')
  const serving = tasks.filter(
    ({ state, health }) => state === 'TASK_RUNNING' && health !== 'pending' && health !== 'unhealthy',
  )
  return serving.filter(({ id }) => String(id).startsWith(`${app}.`))
}

/** The running daemon `agent1/net`, … . @throws when it does not run */
export function daemonOf({ layout }: LocalCluster, name: string): ProcessRecord {
  const found = readClusterRecord(layout.name)?.processes.find((process) => process.name === name)
  if (found === undefined) throw new Error(`${name} does not run`)
  return found
}

/** Kills a daemon and waits until the supervisor has started another. */
export async function killDaemon(cluster: LocalCluster, name: string): Promise<ProcessRecord> {
  const { pid } = daemonOf(cluster, name)
  process.kill(pid, 'SIGKILL')
  return eventually(`${name} starts again`, async () => {
    const next = daemonOf(cluster, name)
    return next.pid === pid ? undefined : next
  })
}

/** Sorted answers of `dig +short` on a host. */
export async function digAt(
  cluster: LocalCluster,
  where: string,
  ...words: readonly string[]
): Promise<readonly string[]> {
  const text = await runAt(cluster.layout, where, ['dig', '@198.51.100.1', '+short', '+time=1', '+tries=1', ...words])
  return text
    .split('\n')
    .filter((line) => line !== '')
    .toSorted()
}
