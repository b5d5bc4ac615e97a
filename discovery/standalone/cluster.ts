import { type Ip, parseIp } from '../../core/base/ip.ts'
import { type EntityDelta } from '../../core/model/snapshot.ts'
import {
  type NamedCluster,
  type NamedFramework,
  type NamedNode,
  type NamedTask,
  type RecordChange,
} from '../records/cluster.ts'
import { type MesosModel, type MesosStatus, type MesosTask } from './mesos.ts'
import { parseHostPort } from './parse-state.ts'

/** What names depend on besides the model. */
export interface MesosContext {
  /** `host:port` in the order of `masterN`. */
  readonly masters: readonly string[]
  /** Of a host's name; `undefined` while it is not known. */
  readonly resolve: (host: string) => Ip | undefined
  readonly version: number
}

/**
 * Turns models into clusters that names are made of. A task that did not change stays the same object, so that telling two
 * clusters apart is cheap.
 */
export function makeClusterMaker(): (model: MesosModel, context: MesosContext) => NamedCluster {
  const known = new WeakMap<MesosTask, NamedTask>()
  return (model, context) => {
    const tasks = new Map<string, NamedTask>()
    for (const [key, task] of model.tasks) {
      const framework = model.frameworks.get(task.frameworkId)
      if (framework === undefined || task.state !== 'TASK_RUNNING') continue
      const before = known.get(task)
      const named = before?.framework === framework.name ? before : namedTask(task, framework.name)
      known.set(task, named)
      tasks.set(key, named)
    }
    return {
      version: context.version,
      networks: new Map(),
      vips: new Map(),
      nodes: new Map([...agentNodes(model, context), ...masterNodes(model, context)]),
      frameworks: namedFrameworks(model, context),
      tasks,
    }
  }
}

function addressOf(host: string, { resolve }: MesosContext): Ip | undefined {
  try {
    return parseIp(host)
  } catch {
    return resolve(host) // ERR_IP_INVALID: it is a name
  }
}

function* agentNodes(model: MesosModel, context: MesosContext): Generator<[string, NamedNode]> {
  for (const { id, host, port } of model.agents.values()) {
    const underlay = addressOf(host, context)
    if (underlay === undefined) continue
    yield [id, { name: id, underlay, agentId: id, ...(port === undefined ? {} : { ports: { agent: port } }) }]
  }
}

/** In the order of the list; a leader that is not in it comes last. Source: mesos-dns, masterRecord. */
function* masterNodes(model: MesosModel, context: MesosContext): Generator<[string, NamedNode]> {
  const { leader } = model
  const leaderPlace = parseHostPort(leader ?? '')
  const leading = leaderPlace === undefined ? undefined : addressOf(leaderPlace.host, context)
  const listed = context.masters.flatMap((master) => {
    const address = addressOf(parseHostPort(master)?.host ?? master, context)
    return address === undefined ? [] : [address]
  })
  const all = [...new Set([...listed, ...(leading === undefined ? [] : [leading])])]
  for (const [i, underlay] of all.entries()) {
    const name = `master ${String(i).padStart(6, '0')}`
    const ports = leaderPlace === undefined ? {} : { ports: { master: leaderPlace.port } }
    yield [name, { name, underlay, ...(underlay === leading ? { master: 'leader', ...ports } : { master: 'standby' }) }]
  }
}

function namedFrameworks(model: MesosModel, context: MesosContext): ReadonlyMap<string, NamedFramework> {
  const all = [...model.frameworks.values()].map(({ id, name, host, port }) => {
    const address = host === '' ? undefined : addressOf(host, context)
    const addresses = address === undefined ? [] : [address]
    return [id, { name, addresses, ...(port === undefined || address === undefined ? {} : { port }) }] as const
  })
  return new Map(all)
}

/** What the newest running status says counts. Source: reference/mesos-dns.md, IPSources. */
function namedTask(task: MesosTask, framework: string): NamedTask {
  const running = task.statuses.filter(({ state }) => state === 'TASK_RUNNING')
  const newest = running.toSorted((a, b) => a.timestamp - b.timestamp).at(-1)
  return {
    id: task.id,
    name: task.name,
    framework,
    node: task.agentId,
    agentId: task.agentId,
    state: 'TASK_RUNNING',
    health: healthOf(task, newest),
    networks: newest?.networks ?? [],
    portMappings: [],
    ports: task.ports,
    labelled: { docker: newest?.docker ?? [], mesos: newest?.mesos ?? [] },
    ...(task.discovery === undefined ? {} : { discovery: task.discovery }),
  }
}

function healthOf({ check }: MesosTask, newest: MesosStatus | undefined): NamedTask['health'] {
  if (newest?.healthy !== undefined) return newest.healthy ? 'healthy' : 'unhealthy'
  return check === 'some' ? 'pending' : 'unchecked'
}

/** From a cluster to the next. */
export function clusterChange(previous: NamedCluster, next: NamedCluster): RecordChange {
  const none = new Map<string, unknown>()
  return {
    previous,
    next,
    delta: {
      networks: differ(none, none),
      vips: differ(none, none),
      nodes: differ(previous.nodes, next.nodes),
      tasks: differ(previous.tasks, next.tasks),
      frameworks: differ(previous.frameworks ?? none, next.frameworks ?? none),
    },
  }
}

/** True when something differs. */
export function isChange({ delta }: RecordChange): boolean {
  const parts = [delta.nodes, delta.tasks, delta.frameworks]
  return parts.some((part) => part !== undefined && part.upserts.size + part.removals.size > 0)
}

function differ(from: ReadonlyMap<string, unknown>, to: ReadonlyMap<string, unknown>): EntityDelta<string, unknown> {
  const upserts = [...to].filter(([key, value]) => {
    const before = from.get(key)
    return before !== value && JSON.stringify(before) !== JSON.stringify(value)
  })
  return { upserts: new Map(upserts), removals: new Set([...from.keys()].filter((key) => !to.has(key))) }
}
