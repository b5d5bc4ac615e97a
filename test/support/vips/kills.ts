import { type Test } from 'tap'
import { type LocalCluster } from '../../../core/cli/up/cluster.ts'
import { echoServer, type HeldConnection, holdConnection, startLoad } from '../connections.ts'
import { eventually, killDaemon } from '../local-cluster.ts'
import { balancingOf, idsOf, onDcos, removeApps, settled, vipOf } from './stage.ts'

const small = { cpus: 0.1, mem: 32, networks: onDcos }
const echo = {
  ...{ id: '/echo', args: ['/usr/bin/perl', '-e', echoServer], instances: 2, ...small },
  container: { portMappings: [{ containerPort: 7000, labels: { VIP_0: '/echo:7000' } }] },
}
const kills = 10

/** Node daemons are killed ten times under load: no connection breaks, none is refused, and the tables are right. */
export async function killSuite(t: Test, cluster: LocalCluster): Promise<void> {
  const { layout, api } = cluster
  await api.send('POST', '/v2/apps', echo)
  await api.send('POST', '/v2/apps', { id: '/caller', cmd: 'exec sleep 100000', instances: 1, ...small })
  await settled(cluster)
  const vip = await vipOf(cluster, 'echo')
  const [caller = ''] = await idsOf(cluster, 'caller')
  const to = [vip, '7000'] as const
  const held: HeldConnection[] = []
  const reached = new Set<string>()
  for (let i = 0; i < 12 && reached.size < 2; i++) {
    const one = await holdConnection(layout, caller, to)
    held.push(one)
    reached.add(await one.say('hello'))
  }
  t.teardown(() => {
    for (const one of held) one.close()
  })
  const say = () => Promise.all(held.map((one) => one.say('hello')))
  const served = await say()
  t.equal(reached.size, 2, 'connections to both backends')
  const load = await startLoad(layout, caller, to)
  const hosts = layout.hosts.map(({ name }) => name)
  const before = await Promise.all(hosts.map((host) => balancingOf(cluster, host)))
  for (let i = 0; i < kills; i++) {
    await killDaemon(cluster, `${hosts[i % hosts.length]}/net`)
    t.same(await say(), served, `established connections go on after kill ${i + 1}`)
  }
  await settled(cluster)
  for (const [i, host] of hosts.entries()) {
    const right = await eventually(`${host} is as it was`, async () => {
      return (await balancingOf(cluster, host)) === before[i] ? true : undefined
    })
    t.ok(right, `the tables of ${host} are right`)
  }
  t.same(await say(), served, 'established connections are still there')
  const { answered, failed } = await load.stop()
  t.equal(failed, 0, `${answered} new connections, none failed`)
  t.ok(answered > 50)
  for (const one of held) one.close()
  await removeApps(cluster, 'echo', 'caller')
}
