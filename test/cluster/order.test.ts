import { spawn } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { type HostLayout, netnsPath } from '../../core/cli/up/layout.ts'
import { echoServer } from '../support/connections.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { digAt, eventually, servingTasks, startTestCluster } from '../support/local-cluster.ts'
import { repositoryRoot } from '../support/tree.ts'

const vipName = 'late.marathon.l4lb.thisdcos.directory'
const prober = join(repositoryRoot, 'test/support/order-prober.ts')

/** It listens only a while after it has started: what has a name too early is caught. */
const app = {
  id: '/late',
  args: ['/usr/bin/perl', '-e', `select undef, undef, undef, 0.4; ${echoServer}`],
  instances: 2,
  cpus: 0.1,
  mem: 32,
  taskKillGracePeriodSeconds: 1,
  networks: [{ mode: 'container', name: 'dcos' }],
  container: { portMappings: [{ containerPort: 7000, labels: { VIP_0: '/late:7000' } }] },
  healthChecks: [{ protocol: 'MESOS_TCP', portIndex: 0, gracePeriodSeconds: 10, intervalSeconds: 5 }],
}

interface Counts {
  readonly answered: number
  readonly unnamed: number
  readonly broken: number
}

function startProber(host: HostLayout): () => Promise<Counts> {
  const words = [`--net=${netnsPath(host.netns)}`, process.execPath, '--disable-warning=ExperimentalWarning', prober]
  const child = spawn('nsenter', [...words, vipName, '7000'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  const closed = new Promise((resolve) => child.on('close', resolve))
  return async () => {
    child.stdin.end()
    await closed
    return JSON.parse(Buffer.concat(chunks).toString()) as Counts
  }
}

t.test('a name leads to what answers, on every node, while services come and go', { skip: canMakeHosts }, async (t) => {
  const cluster = await startTestCluster(2, 'order')
  t.teardown(() => cluster.stop())
  const { layout, api } = cluster
  const probers = layout.hosts.map((host) => ({ host, stop: startProber(host) }))
  for (let round = 0; round < 3; round++) {
    await api.send('POST', '/v2/apps', app)
    await eventually('both tasks serve', async () =>
      (await servingTasks(cluster, 'late')).length === 2 ? true : undefined,
    )
    await api.get('/weft/v1/converge?timeoutMs=10000')
    for (const { name } of layout.hosts)
      t.equal((await digAt(cluster, name, vipName)).length, 1, `${name} has the name`)
    await api.send('DELETE', '/v2/apps/late?force=true')
    await eventually('the app is gone', async () =>
      (await api.request('GET', '/v2/apps/late')).status === 404 ? true : undefined,
    )
    await api.get('/weft/v1/converge?timeoutMs=10000')
    for (const { name } of layout.hosts) t.same(await digAt(cluster, name, vipName), [], `${name} has it no more`)
  }
  for (const { host, stop } of probers) {
    const { answered, unnamed, broken } = await stop()
    t.ok(answered > 0 && unnamed > 0, `${host.name}: ${answered} answers, ${unnamed} times no name`)
    t.equal(broken, 0, `${host.name}: the name never led to what does not answer`)
  }
})
