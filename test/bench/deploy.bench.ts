import { type Api, isRecord } from '../../core/cli/api.ts'
import { startCluster } from '../../core/cli/up/cluster.ts'
import { recordsOf } from '../../core/cli/up/sample.ts'
import { openProbers, type Probers } from '../support/probers.ts'
import { runningAt } from '../support/events.ts'
import { type Bench, type BenchRow, median, percentile } from './report.ts'

const repetitions = 30
const goalMs = 50

/** Milliseconds from the POST, and from TASK_RUNNING to the VIP's answer on the last node. */
export interface Deployment {
  readonly running: number
  readonly named: number
  readonly answered: number
}

const answering = `use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 64, ReuseAddr => 1) or die;
while (my $c = $s->accept) { <$c>; print $c "HTTP/1.0 200 OK\\r\\n\\r\\nok\\n"; close $c }`

function app(id: string): Record<string, unknown> {
  return {
    id: `/${id}`,
    args: ['/usr/bin/perl', '-e', answering],
    instances: 1,
    cpus: 0.1,
    mem: 32,
    networks: [{ mode: 'container', name: 'dcos' }],
    container: { portMappings: [{ containerPort: 8080, labels: { VIP_0: `/${id}:80` } }] },
  }
}

/** One app deployed, asked for on each node, and removed. */
export async function deployOnce(api: Api, probers: Probers, id: string): Promise<Deployment> {
  const seen = await runningAt(api, id)
  const started = performance.timeOrigin + performance.now()
  const asked = probers.ask({
    name: `${id}.marathon.mesos`,
    vipName: `${id}.marathon.l4lb.thisdcos.directory`,
    port: 80,
  })
  await api.send('POST', '/v2/apps', app(id))
  const [running, answers] = await Promise.all([seen.promise, asked])
  await api.send('DELETE', `/v2/apps/${id}`)
  await untilGone(api, id)
  return {
    running: running - started,
    named: Math.max(...answers.map(({ namedAtMs }) => namedAtMs)) - started,
    answered: Math.max(...answers.map(({ answeredAtMs }) => answeredAtMs)) - started,
  }
}

async function untilGone(api: Api, id: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    const tasks = await recordsOf(api, '/weft/v1/tasks', 'tasks')
    if (!tasks.some((task) => isRecord(task) && String(task['id']).startsWith(`${id}.`))) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** From POST /v2/apps of one instance to TASK_RUNNING, to its name and its VIP answering on every node. */
export const run: Bench = async (report) => {
  const options = { name: `bench-${process.pid}`, agents: 3, port: 0, networks: ['dcos'], progress: () => undefined }
  const cluster = await startCluster(options)
  const probers = openProbers(cluster.layout.hosts)
  const all: Deployment[] = []
  try {
    for (let i = 0; i < repetitions; i++) all.push(await deployOnce(cluster.api, probers, `bench${i}`))
  } finally {
    probers.close()
    await cluster.stop()
  }
  const row = (metric: string, ours: number, goal: number | undefined): BenchRow => ({
    bench: 'deploy',
    metric,
    ours,
    peer: null,
    peerName: null,
    ratio: null,
    goal: goal === undefined ? 'none' : `ours <= ${goal}`,
    holds: goal === undefined ? null : ours <= goal,
    conditions: `ms, ${repetitions} deployments of 1 instance, 4 nodes, asked on each node in a loop`,
  })
  const series = {
    'POST to TASK_RUNNING': all.map(({ running }) => running),
    'POST to name on every node': all.map(({ named }) => named),
    'POST to VIP answering on every node': all.map(({ answered }) => answered),
    'TASK_RUNNING to VIP answering on every node': all.map(({ running, answered }) => answered - running),
  }
  for (const [metric, values] of Object.entries(series)) {
    const goal = metric.startsWith('TASK_RUNNING') ? goalMs : undefined
    report(row(`${metric}, median`, median(values), goal))
    report(row(`${metric}, p99`, percentile(values, 99), undefined))
  }
}
