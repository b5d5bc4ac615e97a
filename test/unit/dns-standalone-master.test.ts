import { fastify } from 'fastify'
import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { masterRoutes } from '../../core/master/http/routes.ts'
import { parseTaskId } from '../../core/model/ids.ts'
import { noResources } from '../../core/model/resources.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { parseStandaloneConfig } from '../../discovery/standalone/config.ts'
import { openStandalone } from '../../discovery/standalone/main.ts'
import { startAgent, startFramework, startMaster, startNode, until } from '../support/master.ts'

t.test("the state of Weft's own master", async (t) => {
  const master = await startMaster(openMemoryStore())
  const app = fastify()
  await app.register(masterRoutes({ context: master.context, version: '1', advertised: () => '127.0.0.1:5050' }))
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const node = startNode('node1', master.address)
  const agent = startAgent({ name: 'node1', address: master.address })
  const framework = startFramework(master, { name: 'Two.Dots' })
  const config = parseStandaloneConfig('{"refreshSeconds": 1}')
  const listen = [{ address: parseIp('127.0.0.1'), port: 0 }]
  t.teardown(async () => {
    await Promise.all([agent.stop(), node.stop()])
    await app.close()
    await master.crash()
  })
  await until(() => framework.offers().length > 0, 'an offer')
  const [offer] = framework.offers()
  if (offer === undefined) throw new Error('no offer')
  const info = {
    name: 'web',
    agentId: offer.agentId,
    resources: { ...noResources, cpuMillis: 100, memMb: 32 },
    command: { shell: true, value: 'x', arguments: [], env: {} },
    networks: [],
    killGraceMs: 1,
    labels: {},
  }
  const launches = [{ ...info, taskId: parseTaskId('web.1') }]
  framework.call({ kind: 'accept', offerIds: [offer.id], refuseMs: 5_000, launches })
  await until(() => node.snapshot().tasks.size === 1, 'the task')

  const place = { address: parseIp('127.0.0.1'), port: 0 }
  const server = await openStandalone({ config, masters: [url], listen, http: place, version: '1', log: silentLog })
  t.teardown(() => server.close())
  const get = async (path: string): Promise<unknown> =>
    (await fetch(`http://127.0.0.1:${server.httpPort}/v1/${path}`)).json()
  const isServed = async () => JSON.stringify(await get('hosts/web.two.dots.mesos')).includes('web.')
  for (const deadline = performance.now() + 10_000; !(await isServed()) && performance.now() < deadline; ) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const host = [...node.snapshot().nodes.values()].find(({ agentId }) => agentId === offer.agentId)?.underlay
  t.same(await get('hosts/web.two.dots.mesos'), [{ host: 'web.two.dots.mesos.', ip: host }])
  t.same(await get('hosts/slave.mesos'), [{ host: 'slave.mesos.', ip: host }])
  t.same(await get('hosts/leader.mesos'), [{ host: 'leader.mesos.', ip: '127.0.0.1' }])
  t.match(await get('enumerate'), { frameworks: [{ name: 'Two.Dots', tasks: [{ name: 'web', id: 'web.1' }] }] })
})
