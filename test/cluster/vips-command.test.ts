import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { echoServer, holdConnection } from '../support/connections.ts'
import { eventually, servingTasks, startTestCluster } from '../support/local-cluster.ts'

const weft = fileURLToPath(new URL('../../core/cli/main.ts', import.meta.url))

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
  t.match(shown, { address: '100.96.77.77', port: 70, backends: [{ port: 7000, weight: 1, flows: { agent1: 0 } }] })
  t.ok(shown.backends[0].flows.master1 >= 1, 'the connection that is open')
  t.match(run('vip', 'show', 'echo.marathon'), /tcp 100\.96\.77\.77:70 +10\.\S+:7000 +1 +[1-9]/)
  held.close()
  t.match(refused('vip', 'remove', 'echo.marathon'), /tasks are behind/)
  await api.send('DELETE', '/v2/apps/echo')
  await eventually('nothing is behind it', async () => (/reserved/.test(run('vip', 'list')) ? true : undefined))
  t.match(run('vip', 'remove', 'echo.marathon'), /rests/)
  t.match(run('vip', 'list'), /echo.*\(resting\)/)
  t.match(run('vip', 'remove', 'echo.marathon'), /is removed/)
  t.notMatch(run('vip', 'list'), /echo/)
})
