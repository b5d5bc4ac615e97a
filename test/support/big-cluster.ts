import { type AgentOrder } from '../../core/api/messages.ts'
import { parseIp } from '../../core/base/ip.ts'
import { registerAgent } from '../../core/master/agents/sessions.ts'
import { type AgentLink, type MasterContext } from '../../core/master/context.ts'
import { type AgentId, type FrameworkId, parseAgentId, parseNodeName, parseTaskId } from '../../core/model/ids.ts'
import { type TaskInfo } from '../../core/model/task.ts'
import { type AgentTask, type Registration } from '../../core/api/messages.ts'
import { agentResources } from './master.ts'

/** Agents that are only their registrations and a link that swallows orders, over the session interface, without gRPC. */
export interface FakeAgent {
  readonly registration: Registration
  readonly link: AgentLink
  readonly orders: AgentOrder[]
}

/** How many of what. */
export interface FakeCluster {
  readonly agents: number
  readonly tasksPerAgent: number
  /** Tasks are dealt out to them in turn. */
  readonly frameworks: readonly FrameworkId[]
}

/** Makes the agents of a cluster, each with its tasks running. */
export function fakeAgents({ agents, tasksPerAgent, frameworks }: FakeCluster): readonly FakeAgent[] {
  return Array.from({ length: agents }, (_, n) => {
    const agentId = parseAgentId(`11111111-2222-4333-8444-555555555555-S${n}`)
    const tasks = Array.from({ length: tasksPerAgent }, (_, i) => fakeTask(agentId, n * tasksPerAgent + i, frameworks))
    const registration: Registration = {
      agentId,
      nodeName: parseNodeName(`node${n}`),
      underlay: parseIp(`198.${18 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`),
      resources: agentResources,
      attributes: { rack: `r${n % 100}` },
      tasks,
      bootId: 'boot',
      highestTerm: 0,
    }
    return { registration, ...swallowing() }
  })
}

/** Registers them, some hundreds at a time, as their connections would come in. */
export async function registerAll(context: MasterContext, agents: readonly FakeAgent[]): Promise<void> {
  const batch = 200
  for (let at = 0; at < agents.length; at += batch) {
    const some = agents.slice(at, at + batch)
    await Promise.all(some.map(({ registration, link }) => registerAgent(context, registration, link)))
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function swallowing(): { readonly link: AgentLink; readonly orders: AgentOrder[] } {
  const orders: AgentOrder[] = []
  let open = true
  const close = () => {
    open = false
  }
  return { orders, link: { send: (order) => void orders.push(order), isOpen: () => open, close } }
}

function fakeTask(agentId: AgentId, n: number, frameworks: readonly FrameworkId[]): AgentTask {
  const frameworkId = frameworks[n % frameworks.length]
  if (frameworkId === undefined) throw new Error('a cluster needs a framework')
  const taskId = parseTaskId(`app-${n % 1000}.instance-${n}`)
  const port = 31_000 + (n % 100)
  const info: TaskInfo = {
    taskId,
    name: `app-${n % 1000}`,
    agentId,
    resources: { cpuMillis: 100, memMb: 32, diskMb: 0, ports: [{ begin: port, end: port }] },
    command: { shell: true, value: 'sleep 1000', arguments: [], env: {} },
    networks: [],
    discovery: {
      name: `app-${n % 1000}`,
      visibility: 'CLUSTER',
      ports: [{ number: port, protocols: ['tcp'], labels: {} }],
    },
    killGraceMs: 3_000,
    labels: { owner: 'bench' },
  }
  const address = parseIp(`10.${80 + (n >> 18)}.${(n >> 10) & 255}.${(n >> 2) & 255}`)
  const latest = {
    taskId,
    state: 'TASK_RUNNING',
    source: 'AGENT',
    timestampMs: 1_700_000_000_000 + n,
    networks: [{ name: '', addresses: [address] }],
  } as const
  return { frameworkId, info, latest }
}
