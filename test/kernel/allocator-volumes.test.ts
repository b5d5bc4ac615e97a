import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { volumePath } from '../../core/agent/reservations.ts'
import { type Reservation } from '../../core/model/reservation.ts'
import { noResources, type Resources } from '../../core/model/resources.ts'
import { type Offer, type OfferOperation } from '../../core/model/scheduler.ts'
import { openSqliteStore } from '../../core/store/sqlite.ts'
import { makeAgentBench, shellTask, stopProcess } from '../support/agent-process.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { startFramework, startMaster, type TestFramework, type TestMaster } from '../support/master.ts'

const role = 'db/main'
const amount: Resources = { ...noResources, cpuMillis: 500, memMb: 128, diskMb: 60 }
const reservation: Reservation = {
  ...{ role, kind: 'dynamic', principal: 'dba', labels: { app: 'pg' } },
  ...{ resources: amount, volumes: [] },
}
const volume = { id: 'data-1', sizeMb: 40, containerPath: 'data' }
const withVolume: Reservation = { ...reservation, volumes: [volume] }
const info = { name: 'db', roles: [role], principal: 'dba' }

/** A loaded machine takes its time: an agent registers, a container starts. */
async function eventually(look: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 250 && !look(); i++) await pause(20)
  if (!look()) throw new Error(`${what} did not come`)
}

/** The latest offer, as soon as there is one that is not in `used`. */
async function nextOffer(framework: TestFramework, used: Set<string>): Promise<Offer> {
  const fresh = () => framework.offers().filter(({ id }) => !used.has(id))
  await eventually(() => fresh().length > 0, 'an offer')
  const offer = fresh().at(-1)
  if (offer === undefined) throw new Error('no offer')
  used.add(offer.id)
  return offer
}

function accept(framework: TestFramework, offer: Offer, ...operations: readonly OfferOperation[]): void {
  framework.call({ kind: 'accept', offerIds: [offer.id], launches: [], operations, refuseMs: 0 })
}

function writer(offer: Offer, id: string, command: string) {
  const task = { agentId: offer.agentId, resources: amount, reserved: [withVolume] }
  return shellTask(id, command, task)
}

t.test('a volume outlives task, agent and master', { skip: canMakeHosts }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-volumes-'))
  const bench = makeAgentBench()
  let master: TestMaster = await startMaster(openSqliteStore(join(folder, 'master.db')))
  const port = master.grpc.port
  t.teardown(async () => {
    await bench.remove()
    await master.crash()
    rmSync(folder, { recursive: true, force: true })
  })
  const agent = bench.start(master.address, { underlay: '127.0.0.9' })
  const path = volumePath(join(bench.stateDir, 'volumes'), role, volume.id)
  const used = new Set<string>()
  let framework = startFramework(master, info)
  const first = await nextOffer(framework, used)
  t.same(first.reserved, undefined, 'nothing is reserved at first')
  const task = writer(first, 'writes', 'echo kept > data/file; sleep 1000')
  const make = { kind: 'create', reservation, volumes: [volume] } as const
  accept(framework, first, { kind: 'reserve', reservations: [reservation] }, make, { kind: 'launch', tasks: [task] })
  await eventually(() => framework.updates(task.taskId).some(({ state }) => state === 'TASK_RUNNING'), 'the task')
  await eventually(() => existsSync(join(path, 'file')), 'what the task writes')
  const rest = await nextOffer(framework, used)
  t.same(rest.reserved ?? [], [], 'the task has all that is reserved')
  accept(framework, rest, { kind: 'destroy', reservation, volumes: [volume] })
  framework.call({ kind: 'kill', taskId: task.taskId, graceMs: 1 })
  await eventually(() => framework.updates(task.taskId).some(({ state }) => state === 'TASK_KILLED'), 'its end')
  t.ok(existsSync(join(path, 'file')), 'a volume in use was not destroyed, and outlives its task')

  await stopProcess(agent, 'SIGKILL')
  await master.crash()
  master = await startMaster(openSqliteStore(join(folder, 'master.db')), { port })
  bench.start(master.address, { underlay: '127.0.0.9' })
  framework = startFramework(master, info)
  const again = await nextOffer(framework, used)
  t.match(again, { role, reserved: [{ role, principal: 'dba', labels: { app: 'pg' }, volumes: [volume] }] })
  t.same(again.reserved?.[0]?.resources, amount)
  const reader = writer(again, 'reads', 'cat data/file')
  const early = { kind: 'unreserve', reservations: [reservation] } as const
  accept(framework, again, early, { kind: 'launch', tasks: [reader] })
  await eventually(() => framework.updates(reader.taskId).some(({ state }) => state === 'TASK_FINISHED'), 'the reader')
  t.match(bench.output('reads'), /^kept$/m, 'the next task finds what the first wrote')
  t.ok(existsSync(path), 'a reservation with volumes was not unreserved')

  await eventually(
    () => framework.offers().some(({ reserved = [], id }) => !used.has(id) && reserved.length > 0),
    'free',
  )
  const last = await nextOffer(framework, used)
  accept(framework, last, { kind: 'destroy', reservation, volumes: [volume] }, early)
  await eventually(() => !existsSync(path), 'the end of the directory')
  const { allocator } = master.context
  const { unreserved, reserved } = allocator.total(last.agentId)
  t.same(reserved, [])
  t.equal(unreserved.diskMb, 100, 'all is unreserved again')
})

t.test('an agent whose registry is lost brings its reservations', { skip: canMakeHosts }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-volumes-'))
  const bench = makeAgentBench()
  let master = await startMaster(openSqliteStore(join(folder, 'one.db')))
  const port = master.grpc.port
  t.teardown(async () => {
    await bench.remove()
    await master.crash()
    rmSync(folder, { recursive: true, force: true })
  })
  bench.start(master.address, { underlay: '127.0.0.9' })
  const framework = startFramework(master, info)
  const used = new Set<string>()
  const offer = await nextOffer(framework, used)
  const make = { kind: 'create', reservation, volumes: [volume] } as const
  accept(framework, offer, { kind: 'reserve', reservations: [reservation] }, make)
  const path = volumePath(join(bench.stateDir, 'volumes'), role, volume.id)
  await eventually(() => existsSync(path), 'the directory')
  writeFileSync(join(path, 'file'), 'x')
  mkdirSync(join(bench.stateDir, 'volumes', 'roles', 'other'), { recursive: true })
  await eventually(() => existsSync(join(bench.stateDir, 'reservations')), 'the list')
  await master.crash()
  master = await startMaster(openSqliteStore(join(folder, 'two.db')), { port })
  const back = await nextOffer(startFramework(master, info), used)
  t.match(back.reserved, [{ role, volumes: [volume], resources: amount }])
  t.ok(existsSync(join(path, 'file')))
  t.ok(existsSync(join(bench.stateDir, 'volumes', 'roles', 'other')), 'what no list names is left alone')
})
