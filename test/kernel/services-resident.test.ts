import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { openSqliteStore } from '../../core/store/sqlite.ts'
import { makeAgentBench } from '../support/agent-process.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { startMaster, until } from '../support/master.ts'
import { type MasterServices, openMasterServices, tasksIn } from '../support/services-master.ts'

const app = {
  id: '/db/main',
  cmd: 'echo $MESOS_TASK_ID >> data/starts; exec sleep 1000',
  cpus: 0.2,
  mem: 32,
  container: { volumes: [{ containerPath: 'data', mode: 'RW', persistent: { type: 'root', size: 16 } }] },
  portDefinitions: [],
  taskKillGracePeriodSeconds: 1,
}

/** The one task that runs, another than `not`. */
function running(services: MasterServices, not: string | undefined) {
  return services.ask('a task that runs', '/v2/apps/db/main/tasks', (body) => {
    const [one, ...more] = tasksIn(body).filter(({ state }) => state === 'TASK_RUNNING')
    return one !== undefined && more.length === 0 && one['id'] !== not ? one : undefined
  })
}

t.test('an app finds its file again, whatever ended its task', { skip: canMakeHosts }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-resident-'))
  const bench = makeAgentBench()
  const open = () => openSqliteStore(join(folder, 'master.db'))
  let store = open()
  let master = await startMaster(store)
  const { port } = master.grpc
  let services = await openMasterServices(master, store)
  t.teardown(async () => {
    await services.close()
    await bench.remove()
    await master.crash()
    rmSync(folder, { recursive: true, force: true })
  })
  bench.start(master.address, { underlay: '127.0.0.8' })
  t.match(await services.send('POST', '/v2/apps', app), {
    status: 201,
    body: {
      residency: { taskLostBehavior: 'WAIT_FOREVER' },
      upgradeStrategy: { minimumHealthCapacity: 0.5, maximumOverCapacity: 0 },
      unreachableStrategy: 'disabled',
    },
  })
  const first = await running(services, undefined)
  const [volume] = Object(first['localVolumes'])
  t.match(volume, { runSpecId: '/db/main', containerPath: 'data', persistenceId: String })
  const path = join(bench.stateDir, 'volumes/roles/slave_public', String(volume.persistenceId))
  const starts = () => (existsSync(join(path, 'starts')) ? readFileSync(join(path, 'starts'), 'utf8').split('\n') : [])
  const wrote = (count: number) => until(() => starts().length === count + 1, `${count} starts: ${starts()}`)
  await wrote(1)
  await services.deployed()

  await services.send('DELETE', `/v2/apps/db/main/tasks/${String(first['id'])}`)
  const second = await running(services, String(first['id']))
  await wrote(2)
  t.equal(starts()[1], second['id'], 'after a kill: the same volume')

  t.match(await services.send('PUT', '/v2/apps/db/main', { env: { A: 'b' } }), { status: 200 })
  await services.deployed()
  const third = await running(services, String(second['id']))
  await wrote(3)
  t.match(await services.send('PUT', '/v2/apps/db/main', { mem: 64 }), {
    status: 422,
    body: { details: [{ path: '/container/volumes' }] },
  })

  await services.close()
  await master.crash()
  store = open()
  master = await startMaster(store, { port })
  services = await openMasterServices(master, store)
  t.equal((await running(services, undefined))['id'], third['id'], 'it runs on over a change of the master')
  await services.send('DELETE', `/v2/apps/db/main/tasks/${String(third['id'])}`)
  await running(services, String(third['id']))
  await wrote(4)
  t.ok(existsSync(path), 'the same volume, known from the store')

  await services.send('PUT', '/v2/apps/db/main', { instances: 0 })
  await services.deployed()
  t.ok(existsSync(path), 'scaled down: the volume waits')
  await services.send('PUT', '/v2/apps/db/main', { instances: 1 })
  const fifth = await running(services, undefined)
  await wrote(5)

  await services.send('DELETE', `/v2/apps/db/main/tasks/${String(fifth['id'])}?wipe=true`)
  const fresh = await running(services, String(fifth['id']))
  await until(() => !existsSync(path), 'the end of the wiped volume')
  t.not(Object(fresh['localVolumes'])[0].persistenceId, volume.persistenceId, 'another volume')
  await services.send('DELETE', '/v2/apps/db/main')
  const reserved = () =>
    [...master.context.allocator.agents()].flatMap((id) => master.context.allocator.total(id).reserved)
  await until(() => reserved().length === 0, 'nothing is reserved any more')
  t.same(await bench.leftovers(), [], 'and nothing is left behind')
})
