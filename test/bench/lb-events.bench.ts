import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { isRecord } from '../../core/cli/api.ts'
import { type LocalCluster, startCluster } from '../../core/cli/up/cluster.ts'
import { netnsPath } from '../../core/cli/up/layout.ts'
import { recordsOf } from '../../core/cli/up/sample.ts'
import { openProbers } from '../support/probers.ts'
import { deployOnce } from './deploy.bench.ts'
import { type Bench, type BenchRow, median, percentile } from './report.ts'

const agents = 9
const rounds = 20
const perSecond = 200
const goals = { connected: 50, failed: 1000 } as const
const stream = fileURLToPath(new URL('lb/stream.ts', import.meta.url))
const pauseMs = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const nowMs = () => performance.timeOrigin + performance.now()

const answering = `use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 256, ReuseAddr => 1) or die;
while (my $c = $s->accept) { <$c>; print $c "HTTP/1.0 200 OK\\r\\n\\r\\nok\\n"; close $c }`

/** Process ids of the app's servers: their command has the mark, and is Perl itself, not what started it. */
function serversOf(mark: string): readonly number[] {
  return readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return []
    try {
      const [program, , script = ''] = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0')
      return program === '/usr/bin/perl' && script.includes(mark) ? [Number(entry)] : []
    } catch {
      return [] // ESRCH, ENOENT: it ended meanwhile
    }
  })
}

async function untilServing({ api }: LocalCluster, count: number): Promise<string> {
  for (let i = 0; i < 600; i++) {
    const { vips } = await recordsOf(api, '/weft/v1/tasks', 'tasks').then((tasks) => ({
      vips: tasks.filter(({ id, state }) => String(id).startsWith('kill.') && state === 'TASK_RUNNING'),
    }))
    const all = await recordsOf(api, '/weft/v1/vips', 'all')
    const found = all.find((one) => isRecord(one) && one['name'] === 'kill')
    if (vips.length === count && Array.isArray(found?.['addresses'])) return String(found['addresses'][0])
    await pauseMs(50)
  }
  throw new Error(`no ${count} servers run`)
}

/** Milliseconds from each SIGKILL to the last connection that failed; 0: none did. */
async function killServers(cluster: LocalCluster): Promise<readonly number[]> {
  const mark = `weft-bench-${process.pid}`
  await cluster.api.send('POST', '/v2/apps', {
    ...{ id: '/kill', args: ['/usr/bin/perl', '-e', `# ${mark}\n${answering}`], instances: 4, cpus: 0.05, mem: 32 },
    ...{ backoffSeconds: 0, backoffFactor: 1, networks: [{ mode: 'container', name: 'dcos' }] },
    container: { portMappings: [{ containerPort: 8080, labels: { VIP_0: '/kill:80' } }] },
  })
  const vip = await untilServing(cluster, 4)
  const [host] = cluster.layout.hosts
  const words = [`--net=${netnsPath(host?.netns ?? '')}`, process.execPath, stream, vip, '80', String(perSecond)]
  const child = spawn('nsenter', words, { stdio: ['ignore', 'pipe', 'inherit'] })
  const failedAt: number[] = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    const said: unknown = JSON.parse(line)
    if (isRecord(said) && typeof said['failedAtMs'] === 'number') failedAt.push(said['failedAtMs'])
  })
  const times: number[] = []
  try {
    for (let round = 0; round < rounds; round++) {
      await untilServing(cluster, 4)
      await pauseMs(500) // failures of this round are none of the last one's
      failedAt.length = 0
      const [pid] = serversOf(mark)
      if (pid === undefined) throw new Error('no server of the app is there')
      const killedMs = nowMs()
      process.kill(pid, 'SIGKILL')
      await pauseMs(3_500) // longer than a connection may wait for its answer
      times.push(Math.max(0, ...failedAt.map((at) => at - killedMs)))
    }
  } finally {
    child.kill('SIGKILL')
  }
  return times
}

/** From TASK_RUNNING to the VIP's answer on the last of 10 nodes; from SIGKILL of a server to the last failed connection. */
export const run: Bench = async (report) => {
  const options = { name: `lbev-${process.pid}`, agents, port: 0, networks: ['dcos'], progress: () => undefined }
  const cluster = await startCluster(options)
  const tell = (metric: string, times: readonly number[], goal: number) => {
    for (const p of [50, 99]) {
      const ours = p === 50 ? median(times) : percentile(times, p)
      const row: BenchRow = {
        ...{ bench: 'lb-events', metric: `${metric}, ${p === 50 ? 'median' : 'p99'}, ms`, ours, peer: null },
        ...{ peerName: null, ratio: null, goal: `ours <= ${goal}`, holds: ours <= goal },
        conditions: `${agents + 1} nodes, ${times.length} rounds`,
      }
      report(row)
    }
  }
  try {
    tell(`SIGKILL of 1 of 4 servers to the last failure, ${perSecond}/s`, await killServers(cluster), goals.failed)
    const probers = openProbers(cluster.layout.hosts)
    try {
      const connected: number[] = []
      for (let i = 0; i < rounds; i++) {
        const { running, answered } = await deployOnce(cluster.api, probers, `event${i}`)
        connected.push(answered - running)
      }
      tell('TASK_RUNNING to an answer on every node', connected, goals.connected)
    } finally {
      probers.close()
    }
  } finally {
    await cluster.stop()
  }
}
