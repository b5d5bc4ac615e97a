import { type Test } from 'tap'
import { type LocalCluster } from '../../../core/cli/up/cluster.ts'
import { recordsOf } from '../../../core/cli/up/sample.ts'
import { startHttpLoad } from '../http-load.ts'
import { idsOf, onDcos, type Pressure, removeApps, settled, webApp } from './stage.ts'

const name = 'web.marathon.l4lb.thisdcos.directory'
const instances = 3

/** Every backend of a VIP is replaced under load, several times, with HTTP keep-alive and without: no request fails. */
export async function rollingSuite(t: Test, cluster: LocalCluster, pressure: Pressure): Promise<void> {
  const { layout, api } = cluster
  await api.send('POST', '/v2/apps', webApp(instances))
  const clients = { id: '/client', cmd: 'sleep 1000', instances: pressure.places - 1, networks: onDcos }
  await api.send('POST', '/v2/apps', { ...clients, cpus: 0.1, mem: 64 })
  await settled(cluster)
  const found = (await recordsOf(api, '/weft/v1/tasks', 'tasks')).filter(({ id }) => String(id).startsWith('client.'))
  const places = ['master1', ...found.map(({ id }) => String(id))]
  const target = { host: name, port: 80, perSecond: pressure.perSecond }
  const ways = ['kept', 'new'] as const
  const loads = await Promise.all(
    places.flatMap((place) => ways.map((connections) => startHttpLoad(layout, place, { ...target, connections }))),
  )
  t.teardown(() => {
    for (const load of loads) load.end()
  })
  const replaced: string[] = []
  for (let release = 1; release <= pressure.releases; release++) {
    const before = await idsOf(cluster, 'web')
    await api.send('PUT', '/v2/apps/web', webApp(instances, release))
    await settled(cluster)
    replaced.push(...before)
    const after = await idsOf(cluster, 'web')
    t.equal(after.length, instances)
    t.notOk(
      after.some((id) => before.includes(id)),
      'all are new',
    )
  }
  t.equal(new Set(replaced).size, instances * pressure.releases)
  for (const [i, load] of loads.entries()) {
    const { answered, failures } = await load.stop()
    const who = `${places[Math.floor(i / 2)]}, ${ways[i % 2]} connections: ${answered} answered`
    t.same(failures, [], who)
    t.ok(answered > 50, who)
  }
  await removeApps(cluster, 'web', 'client')
}
