import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type LocalCluster, startCluster } from '../../../core/cli/up/cluster.ts'
import { recordsOf } from '../../../core/cli/up/sample.ts'
import { type StoreKind } from '../../../core/cli/up/store-server.ts'
import { echoServer, startLoad } from '../connections.ts'
import { daemonOf, digAt, eventually, servingTasks } from '../local-cluster.ts'

/** Name of the virtual address that is asked and called all the time. */
export const vipName = 'echo.marathon.l4lb.thisdcos.directory'
const small = { cpus: 0.1, mem: 32, networks: [{ mode: 'container', name: 'dcos' }] }
const echo = {
  id: '/echo',
  args: ['/usr/bin/perl', '-e', echoServer],
  instances: 2,
  ...small,
  container: { portMappings: [{ containerPort: 7000, protocol: 'tcp', labels: { VIP_0: '/echo:7000' } }] },
  healthChecks: [{ protocol: 'MESOS_TCP', portIndex: 0, intervalSeconds: 5, gracePeriodSeconds: 10 }],
}
const caller = { id: '/caller', cmd: 'exec sleep 100000', instances: 1, ...small }

/** What was asked of names and of the VIP, and how it came out. */
export interface Traffic {
  readonly names: number
  /** Answers that were none, or had no address. */
  readonly badNames: readonly string[]
  readonly connections: number
  readonly badConnections: number
}

/** Three masters, two agents, a service that is called by name and by VIP without a pause. */
export interface FailoverWorld {
  readonly cluster: LocalCluster
  /**
   * Kills the leader, scales the service from 2 to 3 and deploys another, until that is done; then puts it back.
   * @returns milliseconds from the signal to the first new container, and tasks that did not live through it
   */
  killLeader(): Promise<{ readonly launchMs: number; readonly restarted: readonly string[] }>
  /** Ends the traffic. */
  endTraffic(): Promise<Traffic>
}

/** The host of the leader. */
export async function leaderOf({ api }: Pick<LocalCluster, 'api'>): Promise<string> {
  const masters = await recordsOf(api, '/weft/v1/masters', 'masters')
  const leaders = masters.filter(({ role }) => role === 'leader').map(({ node }) => String(node))
  if (leaders.length !== 1) throw new Error(`leaders: ${leaders.join(' ')}`)
  return leaders[0] ?? ''
}

const idsOf = async (cluster: LocalCluster, app: string) =>
  (await servingTasks(cluster, app)).map(({ id }) => String(id)).toSorted()

/** Starts it; the caller stops its cluster. */
export async function startFailoverWorld(kind: StoreKind, label: string): Promise<FailoverWorld> {
  const cluster = await startCluster({
    ...{ name: `${label}-${kind}-${process.pid}`, agents: 2, masters: 3, store: kind, port: 0 },
    ...{ networks: ['dcos'], progress: () => undefined },
  })
  try {
    return await begin(cluster)
  } catch (error) {
    await cluster.stop()
    throw error
  }
}

async function begin(cluster: LocalCluster): Promise<FailoverWorld> {
  const { layout, api } = cluster
  for (const app of [echo, caller]) await api.send('POST', '/v2/apps', app)
  const [from = ''] = await eventually('servers and the caller run', async () => {
    const [servers, callers] = await Promise.all([idsOf(cluster, 'echo'), idsOf(cluster, 'caller')])
    return servers.length === 2 && callers.length === 1 ? callers : undefined
  })
  await api.get('/weft/v1/converge?timeoutMs=10000')
  const [vip = ''] = await digAt(cluster, 'agent1', vipName)
  const load = await startLoad(layout, from, [vip, '7000'])
  const queries = ['echo.marathon.mesos', vipName].map((name) => startQueries(cluster, name))
  let rounds = 0
  return {
    cluster,
    killLeader: () => killLeader(cluster, `round${++rounds}`),
    endTraffic: async () => {
      const asked = await Promise.all(queries.map((query) => query.stop()))
      const { answered, failed } = await load.stop()
      return {
        names: asked.reduce((sum, { good }) => sum + good, 0),
        badNames: asked.flatMap(({ bad }) => bad),
        connections: answered,
        badConnections: failed,
      }
    },
  }
}

/** Queries one after another until it is stopped; empty answers and failures are counted as such. */
function startQueries(cluster: LocalCluster, name: string) {
  let on = true
  const bad: string[] = []
  let good = 0
  const run = async () => {
    while (on) {
      const found = await digAt(cluster, 'agent1', name).catch((error: unknown) => [`failed: ${String(error)}`])
      if (found.length > 0 && found.every((line) => /^[\d.]+$/.test(line))) good++
      else bad.push(`${name}: ${found.join(' ')}`)
    }
  }
  const running = run()
  const stop = async () => {
    on = false
    await running
    return { good, bad }
  }
  return { stop }
}

async function killLeader(cluster: LocalCluster, extra: string) {
  const { api } = cluster
  const settled = await idsOf(cluster, 'echo')
  const before = containersOf(cluster)
  const leader = await leaderOf(cluster)
  const killed = performance.now()
  process.kill(daemonOf(cluster, `${leader}/master`).pid, 'SIGKILL')
  // Held for 5 s while nobody leads, then refused: a client asks again.
  const asked = eventually('the scaling is accepted', () =>
    api.send('PUT', '/v2/apps/echo?force=true', { instances: 3 }),
  )
  await eventually('a task is launched by the next leader', async () =>
    [...containersOf(cluster)].some((id) => !before.has(id)) ? true : undefined,
  )
  const launchMs = performance.now() - killed
  await asked
  await api.send('PUT', `/v2/apps/${extra}`, { ...caller, id: `/${extra}` })
  const now = await eventually('three servers, and the other app', async () => {
    const ids = await idsOf(cluster, 'echo')
    return ids.length === 3 && (await idsOf(cluster, extra)).length === 1 ? ids : undefined
  })
  await api.send('DELETE', `/v2/apps/${extra}?force=true`)
  await api.send('PUT', '/v2/apps/echo?force=true', { instances: 2 })
  await eventually('two servers, and three masters', async () => {
    const masters = await recordsOf(api, '/weft/v1/masters', 'masters')
    const there = masters.filter(({ connected }) => connected === true).length
    return (await idsOf(cluster, 'echo')).length === 2 && there === 3 ? true : undefined
  })
  return { launchMs, restarted: settled.filter((id) => !now.includes(id)) }
}

/** As the agents' disks have them: nobody need answer. */
function containersOf({ layout }: LocalCluster): ReadonlySet<string> {
  const folders = layout.hosts.map(({ directory }) => join(directory, 'agent', 'containers'))
  return new Set(folders.flatMap((folder) => (existsSync(folder) ? readdirSync(folder) : [])))
}
