import { execFileSync } from 'node:child_process'
import t from 'tap'
import { sampleNetworks } from '../../core/cli/sample/apps.ts'
import { startCluster } from '../../core/cli/up/cluster.ts'
import { boxImage, canRunDockerd, startTestDockerd } from '../support/dockerd.ts'
import { digAt, eventually, servingTasks } from '../support/local-cluster.ts'

const app = {
  id: '/docked',
  cmd: 'mkdir /www; echo from docker > /www/index.html; exec busybox httpd -f -p 8080 -h /www',
  instances: 2,
  cpus: 0.1,
  mem: 64,
  networks: [{ mode: 'container', name: 'dcos' }],
  container: {
    type: 'DOCKER',
    docker: { image: boxImage },
    portMappings: [{ containerPort: 8080, labels: { VIP_0: '/docked:80' } }],
  },
  healthChecks: [{ protocol: 'HTTP', path: '/', portIndex: 0, gracePeriodSeconds: 30, intervalSeconds: 1 }],
}

t.test('an app of Docker containers', { skip: canRunDockerd }, async (t) => {
  const dockerd = await startTestDockerd()
  t.teardown(() => dockerd.remove())
  const dockerHost = `unix://${dockerd.socketPath}`
  const common = { agents: 1, port: 0, networks: sampleNetworks, progress: () => undefined }
  const cluster = await startCluster({ ...common, name: `dock-${process.pid}`, dockerHost })
  t.teardown(() => cluster.stop())
  const answer = await fetch(`${cluster.api.url}/v2/apps`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(app),
  })
  t.equal(answer.status, 201, await answer.text())
  await eventually('both serve', async () => ((await servingTasks(cluster, 'docked')).length === 2 ? true : undefined))
  t.equal((await digAt(cluster, 'agent1', 'docked.marathon.containerip.dcos.thisdcos.directory')).length, 2, 'names')
  const namespace = `weft-${cluster.layout.name}-agent1`
  const url = 'http://docked.marathon.l4lb.thisdcos.directory/'
  const page = await eventually('the VIP answers', async () => {
    const [address = ''] = await digAt(cluster, 'agent1', new URL(url).hostname)
    return execFileSync('nsenter', [`--net=/run/netns/${namespace}`, 'busybox', 'wget', '-qO-', `http://${address}/`], {
      encoding: 'utf8',
      timeout: 5000,
    })
  })
  t.equal(page, 'from docker\n')
  await cluster.stop()
  const left = execFileSync('docker', ['-H', dockerHost, 'ps', '-aq'], { encoding: 'utf8' })
  t.equal(left, '', '`weft down` leaves no container')
})
