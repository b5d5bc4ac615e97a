import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { clusterLayout, netnsPath } from '../../core/cli/up/layout.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { echoServer, holdConnection } from '../support/connections.ts'
import { eventually, servingTasks, startTestCluster } from '../support/local-cluster.ts'

const weft = fileURLToPath(new URL('../../core/cli/main.ts', import.meta.url))

const utf8 = { encoding: 'utf8' } as const
const master = clusterLayout({ name: `vipcmd-${process.pid}`, agents: 1 }).hosts[0] ?? { netns: '', underlay: '' }
/** Of the agent, by the underlay: what Prometheus asks. */
const metricsUrls = ['http://198.18.1.1:62080/metrics', `http://${master.underlay}:62080/weft/v1/vips`]
const metricLines = [
  /^net_version_lag 0$/m,
  /^lb_backends\{state="serving"\} [12]$/m,
  /^net_round_seconds_count\{kind="apply",result="ok"\} [1-9]/m,
  /^cni_call_seconds_count\{command="ADD",result="ok"\} [1-9]/m,
  /^ipam_leases\{network="dcos",subnet="[^"]+",state="used"\} 1$/m,
  /^net_operations_total\{kind="nft\.element\.add",result="ok"\} [1-9]/m,
  /"dataPlane":"nftables","counts":"readings"|"dataPlane":"ipvs","counts":"kernel"/,
]

t.test('weft vip create, list, show, remove', { skip: canMakeHosts }, async (t) => {
  const cluster = await startTestCluster(1, 'vipcmd')
  t.teardown(() => cluster.stop())
  const { layout, api } = cluster
  const words = (...args: readonly string[]) => [weft, '--cluster', layout.name, ...args]
  const run = (...args: readonly string[]) => execFileSync(process.execPath, words(...args), { encoding: 'utf8' })
  const refused = (...args: readonly string[]) =>
    spawnSync(process.execPath, words(...args), { encoding: 'utf8' }).stderr

  t.match(run('vip', 'create', 'echo.marathon', '--address', '100.96.77.77'), /100\.96\.77\.77/)
  t.match(run('vip', 'list'), /echo\.marathon\.l4lb\.thisdcos\.directory +100\.96\.77\.77.*\(reserved\)/)
  t.match(refused('vip', 'create', 'other.marathon', '--address', '100.96.77.77'), /address of VIP "echo\.marathon"/)
  t.match(refused('vip', 'create', 'other'), /NAME\.FRAMEWORK/)
  t.match(refused('vip', 'show', 'echo.marathon'), /nothing is behind/)
  await api.send('POST', '/v2/apps', {
    ...{ id: '/echo', args: ['/usr/bin/perl', '-e', echoServer], cpus: 0.1, mem: 64 },
    networks: [{ mode: 'container', name: 'dcos' }],
    container: { portMappings: [{ containerPort: 7000, labels: { VIP_0: '/echo:70' } }] },
  })
  const [task] = await eventually('it serves', async () => {
    const serving = await servingTasks(cluster, 'echo')
    return serving.length === 1 ? serving : undefined
  })
  await api.get('/weft/v1/converge?timeoutMs=10000')
  const held = await eventually('a connection', async () => {
    const connection = await holdConnection(layout, 'master1', ['100.96.77.77', '70'])
    return (await connection.say('x')).startsWith(String(task?.['id'])) ? connection : undefined
  })
  const [shown] = JSON.parse(run('vip', 'show', 'echo', '--json'))
  t.match(shown, { name: 'echo.marathon', address: '100.96.77.77', port: 70, active: 1, backends: [{ port: 7000 }] })
  const [backend] = shown.backends
  t.match(backend, { state: 'serving', weight: 1, node: 'agent1', task: String(task?.['id']) })
  t.ok(backend.total >= 1 && backend.bytes > 0 && backend.connectionsPerSecond === 0, 'the connection that is open')
  t.match(backend.nodes, { master1: { active: 1 }, agent1: { active: 0, total: 0 } })
  t.match(run('vip', 'show', 'echo.marathon', '--nodes'), /:7000 +agent1 +serving +1 +1 .*\n +from master1 +serving/)
  t.match(run('vip', 'list'), /echo\.marathon\S+ +tcp 100\.96\.77\.77:70 +1 /)
  const remote = execFileSync('nsenter', [`--net=${netnsPath(master.netns)}`, 'curl', '-s', ...metricsUrls], utf8)
  for (const line of metricLines) t.match(remote, line)
  held.close()
  t.match(refused('vip', 'remove', 'echo.marathon'), /tasks are behind/)
  await api.send('DELETE', '/v2/apps/echo')
  await eventually('nothing is behind it', async () => (/reserved/.test(run('vip', 'list')) ? true : undefined))
  t.match(run('vip', 'remove', 'echo.marathon'), /rests/)
  t.match(run('vip', 'list'), /echo.*\(resting\)/)
  t.match(run('vip', 'remove', 'echo.marathon'), /is removed/)
  t.notMatch(run('vip', 'list'), /echo/)
})
