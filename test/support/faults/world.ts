import { execFileSync } from 'node:child_process'
import { type Test } from 'tap'
import { type LocalCluster, startCluster } from '../../../core/cli/up/cluster.ts'
import { type Api, openApi } from '../../../core/cli/api.ts'
import { netnsPath } from '../../../core/cli/up/layout.ts'
import { recordsOf } from '../../../core/cli/up/sample.ts'
import { type StoreKind, storePorts } from '../../../core/cli/up/store-server.ts'
import { daemonOf, eventually } from '../local-cluster.ts'
import { type FaultFramework, isTerminal, openFaultFramework } from './framework.ts'
import { obeyedTerms, orphans, servedTerms, startWitness } from './witness.ts'

/** A cluster of three masters and two agents, with a framework, a service of two, and a witness. */
export interface FaultWorld {
  readonly kind: StoreKind
  readonly cluster: LocalCluster
  readonly framework: FaultFramework
  /** How daemons ended: `master1/master ended (exit status 3); …`. */
  readonly ends: readonly string[]
  /** Short of patience: a master that was stopped keeps what it accepted. */
  readonly api: Api
  /** The one that leads, by its host's name; another one than `not`, when that is given. */
  leader(not?: string): Promise<string>
  signal(daemon: string, signal: NodeJS.Signals): void
  /** Drops all packets of a host to and from those; the returned function lets them pass again. */
  cut(host: string, what: 'store' | 'agents' | 'store and agents'): () => void
  /** Waits until the framework was told that state of its task. */
  told(taskId: string, state: string): Promise<void>
  /** Asserts all that has to hold when nothing is wrong any more. */
  settled(t: Test): Promise<void>
}

const small = { cpus: 0.1, mem: 32, networks: [{ mode: 'container', name: 'dcos' }] }
const service = { id: '/twin', cmd: 'exec sleep 100000', instances: 2, ...small }

/** Starts it; everything goes in teardown. */
export async function startFaultWorld(t: Test, kind: StoreKind): Promise<FaultWorld> {
  const ends: string[] = []
  const cluster = await startCluster({
    ...{ name: `flts-${kind}-${process.pid}`, agents: 2, masters: 3, store: kind, port: 0, networks: ['dcos'] },
    progress: (text) => void (text.includes(' ended (') && ends.push(text)),
  })
  const witness = startWitness(cluster, { prefix: 'twin.', most: service.instances })
  t.teardown(async () => {
    witness.stop()
    await cluster.stop()
  })
  const api = openApi(cluster.api.url, 4_000)
  await api.send('POST', '/v2/apps', service)
  const framework = openFaultFramework(cluster.api.url)
  const twins = await eventually('the service runs', async () => {
    const ids = (await runningTasks(api)).filter((id) => id.startsWith('twin.'))
    return ids.length === 2 && framework.subscriptions() > 0 ? ids : undefined
  })
  const settled = async (t: Test) => {
    await eventually('all are there, and nothing else is', async () => {
      const problems = await unsettled(cluster, api, framework)
      if (problems.length > 0) throw new Error(problems.join('; '))
      return true
    })
    const running = await runningTasks(api)
    t.same(
      running.filter((id) => id.startsWith('twin.')),
      twins,
      'the service was not disturbed',
    )
    t.same([...witness.wrong], [], 'nothing was there twice, no term went back')
    checkTerms(t, cluster)
  }
  return {
    ...{ kind, cluster, framework, ends, api, settled },
    leader: (not) => leaderOf(api, not),
    signal: (daemon, signal) => void process.kill(daemonOf(cluster, daemon).pid, signal),
    cut: (host, what) => cutOff(cluster, { host, what, port: storePorts[kind] }),
    told: async (taskId, state) => {
      await eventually(`${taskId} ${state}`, async () =>
        framework.told.some((each) => each.taskId === taskId && each.state === state) ? true : undefined,
      )
    },
  }
}

async function runningTasks(api: Api): Promise<readonly string[]> {
  const tasks = await recordsOf(api, '/weft/v1/tasks', 'tasks')
  return tasks
    .filter(({ state }) => state === 'TASK_RUNNING')
    .map(({ id }) => String(id))
    .toSorted()
}

async function leaderOf(api: Api, not?: string): Promise<string> {
  return eventually('one leads', async () => {
    const masters = await recordsOf(api, '/weft/v1/masters', 'masters')
    const leaders = masters.filter(({ role }) => role === 'leader').map(({ node }) => String(node))
    if (leaders.length !== 1) throw new Error(`leaders: ${leaders.join(' ')}`)
    return leaders[0] === not ? undefined : leaders[0]
  })
}

/** What is still to come. */
async function unsettled(cluster: LocalCluster, api: Api, framework: FaultFramework): Promise<readonly string[]> {
  const masters = await recordsOf(api, '/weft/v1/masters', 'masters')
  const nodes = await recordsOf(api, '/weft/v1/nodes', 'nodes')
  const tasks = await recordsOf(api, '/weft/v1/tasks', 'tasks')
  const here = masters.filter(({ connected }) => connected === true).length
  const agents = nodes.filter(({ agentState }) => agentState === 'connected').length
  const running = await runningTasks(api)
  const last = new Map(framework.told.map(({ taskId, state }) => [taskId, state]))
  const lost = [...last].filter(([id, state]) => !running.includes(id) && !isTerminal(state)).map(([id]) => id)
  const ghosts = [...last].filter(([id, state]) => running.includes(id) && isTerminal(state)).map(([id]) => id)
  const waiting = tasks.filter(({ state }) => state !== 'TASK_RUNNING' && !isTerminal(String(state)))
  return [
    ...(here === 3 ? [] : [`${here} masters`]),
    ...(agents === 2 ? [] : [`${agents} agents`]),
    ...lost.map((id) => `the framework was not told that ${id} ended`),
    ...ghosts.map((id) => `the framework was told that ${id} ended, and it runs`),
    ...waiting.map(({ id, state }) => `${id} is ${state}`),
    ...(await orphans(cluster, running)),
  ]
}

/** Each term was served by one master, later terms later; no agent obeyed an earlier one after a later one. */
function checkTerms(t: Test, cluster: LocalCluster): void {
  const terms = servedTerms(cluster).map(({ term }) => term)
  t.same(
    terms,
    [...new Set(terms)].toSorted((a, b) => a - b),
    `terms were served one after another: ${terms.join(' ')}`,
  )
  for (const [agent, obeyed] of obeyedTerms(cluster)) {
    t.same(
      obeyed,
      obeyed.toSorted((a, b) => a - b),
      `${agent} obeyed ${obeyed.join(' ')}`,
    )
  }
}

interface Cut {
  readonly host: string
  readonly what: 'store' | 'agents' | 'store and agents'
  readonly port: number
}

/** In the namespace of a simulated host, with a table of our own. */
function cutOff({ layout }: LocalCluster, { host, what, port }: Cut): () => void {
  const found = layout.hosts.find(({ name }) => name === host)
  if (found === undefined) throw new Error(`no host ${host}`)
  const nft = (text: string) =>
    execFileSync('nsenter', [`--net=${netnsPath(found.netns)}`, 'nft', '-f', '-'], { input: text })
  // Of the store only what this master asks: the server may be on this host, and the other masters use it.
  const store = [`add rule inet fault out ip saddr ${found.underlay} tcp dport ${port} drop`]
  const agents = [
    'add rule inet fault out ip daddr 198.18.1.0/24 drop',
    'add rule inet fault in ip saddr 198.18.1.0/24 drop',
  ]
  const rules = [...(what === 'agents' ? [] : store), ...(what === 'store' ? [] : agents)]
  const chain = (name: string, hook: string) =>
    `add chain inet fault ${name} { type filter hook ${hook} priority -300; }`
  nft(['add table inet fault', chain('out', 'output'), chain('in', 'input'), ...rules, ''].join('\n'))
  return () => nft('delete table inet fault\n')
}
