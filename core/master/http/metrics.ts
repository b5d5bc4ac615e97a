import { type MasterContext } from '../context.ts'

/** A metric: what it says, and how to read it now. */
interface Metric {
  readonly name: string
  readonly help: string
  readonly kind: 'gauge' | 'counter'
  readonly read: (context: MasterContext) => number
}

const metrics: readonly Metric[] = [
  gauge('master_term', 'term of office', ({ term }) => term),
  gauge('master_snapshot_version', 'published version', ({ keeper }) => keeper.version()),
  gauge('master_snapshot_subscribers', 'node daemons that follow', ({ keeper }) => keeper.subscribers()),
  gauge('master_converged', '1 when every node has the published version', ({ progress, keeper }) =>
    Number(progress.check(keeper.version()).converged),
  ),
  gauge('master_nodes', 'machines in the registry', ({ registrar }) => registrar.state.nodes.size),
  gauge('master_networks', 'virtual networks', ({ registrar }) => registrar.state.networks.size),
  gauge('master_vips', 'addresses given to VIPs', ({ registrar }) => registrar.state.vips.size),
  gauge('master_agents_connected', 'agents with a session', ({ agents }) => countState(agents, 'connected')),
  gauge(
    'master_agents_disconnected',
    'agents without one, waited for',
    (context) => countState(context.agents, 'disconnected') + countState(context.agents, 'recovered'),
  ),
  gauge('master_agents_unreachable', 'agents given up', ({ agents }) => countState(agents, 'unreachable')),
  gauge('master_tasks', 'tasks that have not ended', ({ tasks }) => tasks.size),
  gauge('master_tasks_running', 'tasks in the snapshot', ({ keeper }) => keeper.tasks.values.size),
  gauge('master_offers_outstanding', 'offers without an answer', ({ offers }) => [...offers.outstanding()].length),
  gauge(
    'master_allocator_waiting',
    'framework and role pairs that want offers and got none for a minute',
    (context) => waitsMs(context).filter((ms) => ms >= 60_000).length,
  ),
  gauge('master_allocator_longest_wait_seconds', 'longest of them', (context) =>
    Math.round(Math.max(0, ...waitsMs(context)) / 1000),
  ),
  gauge('master_memory_bytes', 'resident memory of the process', () => process.memoryUsage.rss()),
  counter('master_offers_total', 'offers made', ({ counters }) => counters.offersMade),
  counter('master_launches_total', 'tasks launched', ({ counters }) => counters.launches),
  counter('master_task_updates_total', 'status updates of agents', ({ counters }) => counters.taskUpdates),
  counter('master_registrations_total', 'agents registered, again too', ({ counters }) => counters.registrations),
  counter('master_refusals_total', 'agents and nodes refused', ({ counters }) => counters.refusals),
  counter('master_unreachable_total', 'agents given up', ({ counters }) => counters.unreachable),
  counter('master_store_failures_total', 'registry writes that failed', ({ counters }) => counters.storeFailures),
]

/** All metrics in the text format of Prometheus. The package is loaded at the first question: most masters get none. */
export async function metricsText(context: MasterContext): Promise<{ readonly type: string; readonly text: string }> {
  const { Counter, Gauge, Registry } = await import('prom-client')
  const registry = new Registry()
  for (const { name, help, kind, read } of metrics) {
    if (kind === 'gauge') new Gauge({ name, help, registers: [registry] }).set(read(context))
    else new Counter({ name, help, registers: [registry] }).inc(read(context))
  }
  return { type: registry.contentType, text: await registry.metrics() }
}

function gauge(name: string, help: string, read: Metric['read']): Metric {
  return { name, help, kind: 'gauge', read }
}

function counter(name: string, help: string, read: Metric['read']): Metric {
  return { name, help, kind: 'counter', read }
}

/** Of each framework and role that is not suppressed and has no offer now: how long it had none. */
function waitsMs({ allocator, offers, clock }: MasterContext): readonly number[] {
  const served = new Set([...offers.outstanding()].map(({ frameworkId, role }) => `${frameworkId} ${role}`))
  const nowMs = clock.monotonicMs()
  return allocator
    .eager()
    .filter(({ frameworkId, role }) => !served.has(`${frameworkId} ${role}`))
    .map(({ sinceMs }) => nowMs - sinceMs)
}

function countState(agents: MasterContext['agents'], kind: string): number {
  return [...agents.values()].filter(({ state }) => state.kind === kind).length
}
