import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { openSqliteStore } from '../../core/store/sqlite.ts'
import { makeAgentBench } from '../support/agent-process.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { startMaster } from '../support/master.ts'
import { openMasterServices } from '../support/services-master.ts'

const resources = { cpus: 0.1, mem: 32 }
const volumeMounts = [{ name: 'both', mountPath: 'both' }]
const pod = {
  id: '/pair',
  networks: [{ mode: 'container', name: 'dcos' }],
  volumes: [{ name: 'both' }],
  containers: [
    {
      ...{ name: 'web', resources, volumeMounts },
      exec: { command: { shell: 'echo written > both/file; exec sleep 1000' } },
      endpoints: [{ name: 'http', containerPort: 80, protocol: ['tcp'], labels: { VIP_0: '/pair:80' } }],
      lifecycle: { killGracePeriodSeconds: 0.2 },
    },
    {
      ...{ name: 'log', resources, volumeMounts },
      exec: { command: { shell: 'until cat both/file; do sleep 0.1; done; exec sleep 1000' } },
      lifecycle: { killGracePeriodSeconds: 0.2 },
    },
  ],
}

t.test('a pod: one address, one volume, one VIP, over a change of the leader', { skip: canMakeHosts }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-pod-'))
  const bench = makeAgentBench()
  let store = openSqliteStore(join(folder, 'master.db'))
  let master = await startMaster(store)
  const { port } = master.grpc
  let services = await openMasterServices(master, store)
  t.teardown(async () => {
    await services.close()
    await bench.remove()
    await master.crash()
    rmSync(folder, { recursive: true, force: true })
  })
  bench.start(master.address, { underlay: '127.0.0.7' })
  t.match(await services.send('POST', '/v2/pods', pod), { status: 201 })
  const stable = () =>
    services.ask('a stable pod', '/v2/pods/pair::status', (body) => {
      return Reflect.get(Object(body), 'status') === 'STABLE' ? body : undefined
    })
  const status = await stable()
  t.match(status, {
    instances: [
      {
        networks: [{ name: 'dcos', addresses: ['192.0.2.7'] }],
        containers: [
          { name: 'web', status: 'TASK_RUNNING' },
          { name: 'log', status: 'TASK_RUNNING' },
        ],
      },
    ],
  })
  t.equal(bench.cniCalls().filter((call) => call.startsWith('ADD')).length, 1, 'attached once')
  const [instance] = Object(status).instances
  const logId = String(instance.containers[1].containerId)
  for (let i = 0; i < 500 && bench.output(logId) === ''; i++) await new Promise((resolve) => setTimeout(resolve, 20))
  t.match(bench.output(logId), /^written$/m, 'what one writes the other reads')
  const vips = [...master.context.registrar.state.vips.values()]
  t.match(JSON.stringify(vips), 'pair', 'it has its VIP')

  await services.close()
  await master.crash()
  store = openSqliteStore(join(folder, 'master.db'))
  master = await startMaster(store, { port })
  services = await openMasterServices(master, store)
  const later = await stable()
  t.equal(Object(later).instances[0].id, instance.id, 'the next leader takes it on')
  t.equal(Object(later).instances.length, 1)
  t.match(await services.send('DELETE', '/v2/pods/pair'), { status: 202 })
  t.same(await bench.leftovers(), [], 'and it goes as a whole')
})

t.test('an app for public agents runs on those only', { skip: canMakeHosts }, async (t) => {
  const bench = makeAgentBench()
  const inner = makeAgentBench()
  const folder = mkdtempSync(join(tmpdir(), 'weft-public-'))
  const store = openSqliteStore(join(folder, 'master.db'))
  const master = await startMaster(store)
  const services = await openMasterServices(master, store)
  t.teardown(async () => {
    await services.close()
    await bench.remove()
    await inner.remove()
    await master.crash()
    rmSync(folder, { recursive: true, force: true })
  })
  inner.start(master.address, { underlay: '127.0.0.6' })
  const app = { cmd: 'sleep 1000', cpus: 0.2, mem: 32, taskKillGracePeriodSeconds: 0.2 }
  await services.send('POST', '/v2/apps', { id: '/inside', ...app })
  await services.deployed()
  const outside = { id: '/outside', ...app, instances: 2, acceptedResourceRoles: ['slave_public'] }
  t.match(await services.send('POST', '/v2/apps', outside), { status: 201 })
  await services.ask('the reason', '/v2/queue', (body) =>
    /"UnfulfilledRole","declined":1/.test(JSON.stringify(body)) ? true : undefined,
  )
  bench.start(master.address, {
    underlay: '127.0.0.5',
    flags: ['--default-role', 'slave_public', '--node-name', 'node2'],
  })
  await services.deployed()
  const hostsOf = async (id: string) => {
    const { body } = await services.send('GET', `/v2/apps/${id}/tasks`)
    return new Set(Object(body).tasks.map(({ slaveId }: { slaveId: string }) => slaveId))
  }
  const [outer, inside] = [await hostsOf('outside'), await hostsOf('inside')]
  t.equal(outer.size, 1)
  t.notSame([...outer], [...inside], 'not where others run')
  await services.send('PUT', '/v2/apps/inside', { instances: 3 })
  await services.deployed()
  t.same([...(await hostsOf('inside'))], [...inside], 'what accepts "*" does not use public agents')
})
