import { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { silentLog } from '../../core/base/log.ts'
import { type ClusterFacts, type Services, openServices } from '../../core/services/services.ts'
import { type TaskId } from '../../core/model/ids.ts'
import { type MemoryStore, openMemoryStore } from '../../core/store/memory.ts'
import {
  type FakeAgent,
  type FakeClock,
  type FakeCluster,
  openFakeClock,
  openFakeCluster,
  quiesce,
  until,
} from './fake-cluster.ts'

/** An answer of the API. */
export interface Answer {
  readonly status: number
  readonly body: unknown
  readonly deployment: string | undefined
}

/** Services on a simulated cluster, and what a test does with them. */
export interface ServicesWorld {
  readonly cluster: FakeCluster
  readonly clock: FakeClock
  readonly store: MemoryStore
  readonly app: FastifyInstance
  readonly services: Services
  send(method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', url: string, body?: unknown): Promise<Answer>
  /** A field of a GET's answer, by its path. */
  read(url: string, ...path: readonly string[]): Promise<unknown>
  settle(): Promise<void>
  /** Until no deployment is on its way. */
  deployed(): Promise<void>
  close(): Promise<void>
}

/** `count` agents of 8 cores, 16 GB and 100 ports. */
export function agents(count: number): readonly FakeAgent[] {
  const resources = { cpuMillis: 8_000, memMb: 16_384, diskMb: 10_000, ports: [{ begin: 31_000, end: 31_099 }] }
  return Array.from({ length: count }, (_, i) => ({ name: `S${i}`, resources }))
}

/** What a world may be given: parts of an earlier one go on in the next. */
export interface WorldParts {
  readonly agents?: readonly FakeAgent[]
  readonly from?: ServicesWorld
  readonly term?: number
  /** Nodes that are waited for; absent: none is. */
  readonly convergence?: NonNullable<ClusterFacts['convergence']>
  /** What plans place on; absent: they place nothing. */
  readonly freeAgents?: NonNullable<ClusterFacts['freeAgents']>
}

/** Opens services on a new cluster and an empty store, or on those of an earlier world. */
export async function openServicesWorld(parts: WorldParts = {}): Promise<ServicesWorld> {
  const clock = parts.from?.clock ?? openFakeClock()
  const store = parts.from?.store ?? openMemoryStore()
  const cluster = parts.from?.cluster ?? openFakeCluster(parts.agents ?? agents(3), clock)
  const services = await openServices({
    ...{ driver: cluster.driver, store, clock, log: silentLog, term: parts.term ?? 1 },
    cluster: {
      networkNames: () => new Set(['dcos', 'lab']),
      version: () => 42,
      leader: () => 'master:8080',
      hostname: 'master',
      ...(parts.convergence === undefined ? {} : { convergence: parts.convergence }),
      ...(parts.freeAgents === undefined ? {} : { freeAgents: parts.freeAgents }),
    },
  })
  const app = Fastify()
  await app.register(services.routes)
  const send = sender(app)
  await quiesce(cluster)
  return {
    ...{ cluster, clock, store, app, services, send },
    read: async (url, ...path) => path.reduce(field, (await send('GET', url)).body),
    settle: () => quiesce(cluster),
    deployed: async () => {
      const records = () => [...services.api.world.apps()]
      await until(() => records().every(({ deployment }) => deployment === undefined), 'every deployment is over')
      await quiesce(cluster)
    },
    close: async () => {
      await services.close()
      await app.close()
    },
  }
}

function sender(app: FastifyInstance): ServicesWorld['send'] {
  return async (method, url, body) => {
    const json = { payload: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
    const response = await app.inject({ method, url, ...(body === undefined ? {} : json) })
    const header = response.headers['marathon-deployment-id']
    const deployment = typeof header === 'string' ? header : undefined
    return { status: response.statusCode, body: parseBody(response.body), deployment }
  }
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text // not JSON: /ping
  }
}

function field(value: unknown, name: string): unknown {
  if (Array.isArray(value)) return value[Number(name)]
  return typeof value === 'object' && value !== null
    ? Object.entries(value).find(([key]) => key === name)?.[1]
    : undefined
}

/** An app of three instances on a network, behind a VIP. */
export const web = {
  id: '/shop/web',
  cmd: 'serve',
  instances: 3,
  networks: [{ mode: 'container', name: 'dcos' }],
  container: { portMappings: [{ containerPort: 80, labels: { VIP_0: '/web:80' } }] },
}
/** The same with a health check. */
export const checked = { ...web, healthChecks: [{ protocol: 'MESOS_HTTP', path: '/' }] }

/** A world that ends with the test. */
export async function open(t: Pick<Test, 'teardown'>, parts: WorldParts = {}): Promise<ServicesWorld> {
  const world = await openServicesWorld(parts)
  t.teardown(() => world.close())
  return world
}

/** Ids of the tasks that are not at an end. */
export const aliveIds = (world: ServicesWorld): readonly TaskId[] =>
  world.cluster
    .alive()
    .map(({ info }) => info.taskId)
    .toSorted()
/** How many calls of a kind the services made. */
export const callsOf = (world: ServicesWorld, kind: string): number =>
  world.cluster.calls.filter((call) => call.kind === kind).length
/** How many tasks each agent has that has any. */
export const onAgents = (world: ServicesWorld): readonly number[] => {
  const counts = new Map<string, number>()
  for (const { info } of world.cluster.alive()) counts.set(info.agentId, (counts.get(info.agentId) ?? 0) + 1)
  return [...counts.values()].toSorted()
}
