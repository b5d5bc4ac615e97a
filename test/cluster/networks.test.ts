import t from 'tap'
import { isRecord } from '../../core/cli/api.ts'
import { openLocalReaders } from '../../core/cli/commands/explain.ts'
import { readSnapshot } from '../../core/cli/commands/snapshot.ts'
import { runAt } from '../../core/cli/up/checks.ts'
import { type LocalCluster } from '../../core/cli/up/cluster.ts'
import { recordsOf } from '../../core/cli/up/sample.ts'
import { explain } from '../../networking/explain/explain.ts'
import { formatExplanation } from '../../networking/explain/format.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { digAt, eventually, servingTasks, startTestCluster } from '../support/local-cluster.ts'
import { removeApps } from '../support/vips/stage.ts'

const { signal } = new AbortController()
const server = `use IO::Socket::IP; my $s = IO::Socket::IP->new(LocalHost => '::', V6Only => 0, LocalPort => 8080, Listen => 64, ReuseAddr => 1) or die $@;
while (1) { my $c = $s->accept or next; my $l = <$c>; print $c "HTTP/1.0 200 OK\\r\\n\\r\\n$ENV{MESOS_TASK_ID}\\n"; close $c }`

function app(id: string, network: string, more: object = {}) {
  const container = { portMappings: [{ containerPort: 8080, protocol: 'tcp', labels: { VIP_0: `/${id}:80` } }] }
  const args = ['/usr/bin/perl', '-e', server]
  return {
    id: `/${id}`,
    args,
    cpus: 0.1,
    mem: 32,
    networks: [{ mode: 'container', name: network }],
    container,
    ...more,
  }
}

async function running(cluster: LocalCluster, id: string, count: number) {
  return eventually(`${count} tasks of ${id} run`, async () => {
    const tasks = await servingTasks(cluster, id)
    return tasks.length === count ? tasks : undefined
  })
}

const converged = ({ api }: LocalCluster) => api.get('/weft/v1/converge?timeoutMs=10000')

t.test('networks at run time', { skip: canMakeHosts }, async (t) => {
  const cluster = await startTestCluster(2, 'networks')
  t.teardown(() => cluster.stop())
  const { api, layout } = cluster

  await t.test('created: both IP versions, names, a VIP of each; explained; not removed while in use', async (t) => {
    const { status, body } = await api.send('POST', '/weft/v1/networks', { name: 'shop' })
    t.equal(status, 201)
    t.match(body, { vni: 1026, subnets: [/^10\.\d+\.0\.0\/16$/, /^fd57:4546:54..::\/48$/] })
    await api.send('POST', '/v2/apps', app('till', 'shop', { instances: 2 }))
    await running(cluster, 'till', 2)
    await converged(cluster)
    const name = 'till.marathon.l4lb.thisdcos.directory'
    const [v4] = await digAt(cluster, 'agent1', name, 'A')
    const [v6] = await digAt(cluster, 'agent1', name, 'AAAA')
    t.match([v4, v6], [/^100\.96\./, /^fd57:4546:54fe::/])
    t.equal((await digAt(cluster, 'agent2', 'till.marathon.mesos', 'AAAA')).length, 2)
    for (const url of [`http://${v4}/`, `http://[${v6}]/`]) {
      t.match(await runAt(layout, 'agent1', ['curl', '-sS', '--max-time', '5', url]), /^till\./, url)
    }
    const deps = { snapshot: await readSnapshot(api), open: openLocalReaders(layout) }
    const answer = await explain({ from: 'agent1', to: `${name}:80` }, deps, { signal })
    t.equal(answer.problem, undefined, answer.problem === undefined ? 'nothing is wrong' : formatExplanation(answer))
    t.match(answer.paths.length, 4, 'two backends over two IP versions')

    const refused = await api.request('DELETE', '/weft/v1/networks/shop')
    t.equal(refused.status, 409)
    t.match(refused.body, { code: 'ERR_MASTER_NETWORK_IN_USE', message: /app \/till, task till\./ })
    await removeApps(cluster, 'till')
    t.match(await api.request('DELETE', '/weft/v1/networks/shop'), { status: 200 })
    await converged(cluster)
    for (const host of layout.hosts) t.notMatch(await runAt(layout, host.name, ['ip', 'link', 'show']), /wfv1026/)
  })

  await t.test('refused: overlaps, names, VNIs', async (t) => {
    const cases = [
      [{ name: 'x', subnets: ['10.80.8.0/22'] }, 409, /overlaps.*of network .*dcos/],
      [{ name: 'x', subnets: ['fd57:4546:54fe::/48'] }, 409, /VIPs/],
      [{ name: 'dcos' }, 409, /already/],
      [{ name: 'Host' }, 422, /name/],
      [{ name: 'x', vni: 1024 }, 409, /VNI of network .*dcos/],
      [{ name: 'x', vni: 1024 + 65_536 }, 409, /modulo/],
      [{ name: 'x', subnet: [] }, 422, /subnet/],
    ] as const
    for (const [wish, status, says] of cases) {
      const answer = await api.request('POST', '/weft/v1/networks', wish)
      t.equal(answer.status, status, JSON.stringify(wish))
      t.match(JSON.stringify(answer.body), says)
    }
    t.match(await api.request('GET', '/weft/v1/networks/nowhere'), { status: 404 })
  })

  await t.test(
    'nodes tell how full their parts are; where there is no address nothing is placed, and why',
    async (t) => {
      await api.send('POST', '/weft/v1/networks', { name: 'tiny', subnets: ['10.222.0.0/23'] })
      await converged(cluster)
      const show = async () => {
        const body = await api.get('/weft/v1/networks/tiny')
        return isRecord(body) && Array.isArray(body['nodes']) ? body['nodes'].filter(isRecord) : []
      }
      const parts = (await show()).map(({ node }) => String(node))
      t.equal(parts.length, 2, 'two nodes have a /24 of it, the third has none')
      const without = ['agent1', 'agent2'].find((name) => !parts.includes(name))
      const having = parts.find((name) => name.startsWith('agent'))
      if (having === undefined || without === undefined) throw new Error('the master has one part, an agent the other')
      await api.send('POST', '/v2/apps', app('few', 'tiny', { instances: 2 }))
      const tasks = await running(cluster, 'few', 2)
      t.same(
        tasks.map(({ node }) => node),
        [having, having],
      )
      const used = await eventually('the node tells of its leases', async () => {
        const node = (await show()).find((one) => one['node'] === having)
        const usage = Array.isArray(node?.['usage']) ? node['usage'].filter(isRecord) : []
        return usage[0]?.['used'] === 2 ? usage : undefined
      })
      t.match(used, [{ subnet: /^10\.222\.[01]\.0\/24$/, used: 2, free: 251, resting: 0 }])
      const constraints = [['@hostname', 'IS', without]]
      await api.send('POST', '/v2/apps', app('stuck', 'tiny', { instances: 1, constraints }))
      await eventually('the queue tells why', async () => {
        const queue = JSON.stringify(await api.get('/v2/queue'))
        return queue.includes('"reason":"InsufficientAddresses","declined":1') ? true : undefined
      })
      await removeApps(cluster, 'stuck')
      await removeApps(cluster, 'few')
      t.match(await api.request('DELETE', '/weft/v1/networks/tiny'), { status: 200 })
    },
  )

  await t.test('a node that left is removed: no trace of it stays on the others', async (t) => {
    const gone = layout.hosts.find(({ name }) => name === 'agent2')
    if (gone === undefined) throw new Error('there is no agent2')
    const before = (await recordsOf(api, '/weft/v1/nodes', 'nodes')).find(({ name }) => name === 'agent2')
    t.equal((await api.request('DELETE', '/weft/v1/nodes/agent2')).status, 409, 'not while it is connected')
    await cluster.stopHost('agent2')
    await eventually('the master lets it go', async () =>
      (await api.request('DELETE', '/weft/v1/nodes/agent2')).status === 200 ? true : undefined,
    )
    await converged(cluster)
    const marks = new RegExp(
      `${gone.underlay.replaceAll('.', '\\.')}\\b|${String(isRecord(before?.['vtep']) ? before['vtep']['mac'] : 'none')}`,
    )
    for (const name of ['agent1', 'master1']) {
      for (const list of [
        ['ip', 'route', 'show'],
        ['ip', '-6', 'route', 'show'],
        ['ip', 'neighbour', 'show', 'nud', 'permanent'],
        ['bridge', 'fdb', 'show'],
        ['ip', 'nexthop', 'show'],
      ]) {
        t.notMatch(await runAt(layout, name, list), marks, `${name}: ${list.join(' ')}`)
      }
    }
  })
})
