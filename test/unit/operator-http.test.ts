import { connect } from 'node:net'
import { fastify } from 'fastify'
import t from 'tap'
import { followDraining } from '../../core/master/agents/draining.ts'
import { parseIp } from '../../core/base/ip.ts'
import { systemHealthRoutes, withoutRouterPrefix } from '../../core/master/http/admin-router.ts'
import { openHttpApp, openHttpServer } from '../../core/master/http/server.ts'
import { whyNoOffers } from '../../core/master/offers/why-no-offers.ts'
import { noOffersText } from '../../core/services/no-offers.ts'
import { operatorRoutes } from '../../core/master/http/operator/routes.ts'
import { masterRoutes } from '../../core/master/http/routes.ts'
import { parseFrameworkId, parseTaskId } from '../../core/model/ids.ts'
import { noResources } from '../../core/model/resources.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { openOperatorWatch } from '../support/operator-watch.ts'
import { startAgent, startFramework, startMaster, until } from '../support/master.ts'

async function startWorld() {
  const store = openMemoryStore()
  const master = await startMaster(store)
  const about = { context: master.context, version: '1.2.3', advertised: () => '127.0.0.1:5050' }
  const app = fastify({ forceCloseConnections: true })
  await app.register(masterRoutes(about))
  await app.register(operatorRoutes({ ...about, maxQueuedBytes: 1_000_000, stallLimitMs: 60_000 }))
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const call = async (type: string, body?: object) => {
    const response = await fetch(`${url}/api/v1`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ type, ...(body === undefined ? {} : { [type.toLowerCase()]: body }) }),
    })
    const text = await response.text()
    return { status: response.status, text, json: () => JSON.parse(text) }
  }
  const get = async (path: string) => JSON.parse(await (await fetch(`${url}${path}`)).text())
  const stop = async () => {
    await app.close()
    await master.crash()
  }
  return { store, master, url, call, get, stop }
}

type World = Awaited<ReturnType<typeof startWorld>>

/** One agent, one framework, one task that runs. */
async function launch({ master }: World, name = 'web.1', killGraceMs = 9_000) {
  const agent = startAgent({ name: 'node1', address: master.address, manner: 'silent' })
  const framework = startFramework(master, { name: 'fw', roles: ['dev'] })
  await until(() => framework.offers().length > 0, 'an offer')
  const [offer] = framework.offers()
  if (offer === undefined) throw new Error('no offer')
  const taskId = parseTaskId(name)
  const info = {
    taskId,
    name: 'wéb',
    agentId: offer.agentId,
    resources: { ...noResources, cpuMillis: 500, memMb: 64, ports: [{ begin: 31_002, end: 31_002 }] },
    command: { shell: true, value: 'x', arguments: [], env: {} },
    networks: [],
    killGraceMs,
    labels: { a: 'b' },
  }
  framework.call({ kind: 'accept', offerIds: [offer.id], refuseMs: 0, launches: [info] })
  await until(() => agent.launched.length === 1, 'the launch')
  agent.update(taskId, 'TASK_RUNNING')
  await until(() => master.context.tasks.get(taskId)?.status.state === 'TASK_RUNNING', 'the task')
  return { agent, framework, taskId, agentId: offer.agentId }
}

t.test('what an operator asks, changes, and is refused', async (t) => {
  const world = await startWorld()
  const { agent, agentId, framework } = await launch(world)
  t.teardown(async () => {
    await agent.stop()
    await world.stop()
  })
  const { call, get } = world

  const answers: readonly (readonly [string, object])[] = [
    ['GET_HEALTH', { healthy: true }],
    ['GET_VERSION', { version_info: { version: '1.2.3' } }],
    ['GET_FLAGS', { flags: [{ name: 'ip', value: '127.0.0.1' }] }],
    ['GET_MASTER', { master_info: { pid: 'master@127.0.0.1:5050', port: 5050 } }],
    ['GET_AGENTS', { agents: [{ agent_info: { id: { value: agentId } }, active: true, pid: /^slave\(1\)@/ }] }],
    ['GET_FRAMEWORKS', { frameworks: [{ framework_info: { name: 'fw', roles: ['dev'] }, active: true }] }],
    [
      'GET_TASKS',
      { tasks: [{ task_id: { value: 'web.1' }, state: 'TASK_RUNNING', name: 'wéb' }], unreachable_tasks: [] },
    ],
    ['GET_STATE', { get_tasks: { tasks: [{}] }, get_agents: { agents: [{}] }, get_frameworks: { frameworks: [{}] } }],
    ['GET_ROLES', { roles: [{ name: 'dev', weight: 1, frameworks: [{ value: framework.id() }] }] }],
    ['GET_METRICS', { metrics: [{ name: String, value: Number }] }],
    ['GET_OPERATIONS', { operations: [] }],
  ]
  for (const [type, body] of answers) {
    const answer = await call(type)
    t.equal(answer.status, 200, type)
    t.match(answer.json(), { type, [type.toLowerCase()]: body }, type)
  }

  t.equal((await call('UPDATE_WEIGHTS', { weight_infos: [{ role: 'dev', weight: 2.5 }] })).status, 200)
  t.same((await call('GET_WEIGHTS')).json().get_weights, { weight_infos: [{ role: 'dev', weight: 2.5 }] })
  const limits = { cpus: { value: 4 }, mem: { value: 2_048 } }
  t.equal((await call('UPDATE_QUOTA', { quota_configs: [{ role: 'dev', limits }] })).status, 200)
  t.match((await call('GET_QUOTA')).json(), { get_quota: { status: { configs: [{ role: 'dev', limits }] } } })
  t.match(await get('/roles'), { roles: [{ name: 'dev', weight: 2.5, quota: { limit: { cpus: 4, mem: 2_048 } } }] })

  const reserved = [
    { name: 'cpus', type: 'SCALAR', scalar: { value: 0.5 }, reservations: [{ type: 'DYNAMIC', role: 'ops' }] },
  ]
  const where = { agent_id: { value: agentId } }
  t.equal((await call('RESERVE_RESOURCES', { ...where, resources: reserved })).status, 202)
  t.match(await get('/slaves'), {
    slaves: [
      {
        resources: { cpus: 2 },
        reserved_resources: { ops: { cpus: 0.5 } },
        unreserved_resources: { cpus: 1.5 },
        used_resources: { cpus: 0.5, ports: '[31002-31002]' },
      },
    ],
  })
  t.equal((await call('UNRESERVE_RESOURCES', { ...where, resources: reserved })).status, 202)

  const refusals: readonly (readonly [string, object | undefined, number, RegExp])[] = [
    ['NO_SUCH', undefined, 400, /not a call/],
    ['LIST_FILES', undefined, 501, /not supported/],
    ['DRAIN_AGENT', undefined, 400, /drain_agent: is missing/],
    ['DRAIN_AGENT', { agent_id: { value: 'x-S9' } }, 404, /there is no agent/],
    ['MARK_AGENT_GONE', { agent_id: { value: '' } }, 400, /agent_id/],
    ['TEARDOWN', { framework_id: { value: 'x-0000' } }, 400, /No framework found/],
    ['UPDATE_WEIGHTS', { weight_infos: [{ role: 'dev', weight: 0 }] }, 400, /above 0/],
    ['UPDATE_QUOTA', { quota_configs: [{ role: 'dev', limits: { cpus: { value: 0.1 } } }] }, 409, /force/],
    ['UPDATE_QUOTA', { quota_configs: [{ role: 'a/b', limits: {} }] }, 400, /top one/],
    ['RESERVE_RESOURCES', { ...where, resources: [{ ...reserved[0], scalar: { value: 99 } }] }, 409, /not free/],
    ['UNRESERVE_RESOURCES', { ...where, resources: reserved }, 409, /not reserved like that/],
  ]
  for (const [type, body, status, text] of refusals) {
    const answer = await call(type, body)
    t.equal(answer.status, status, `${type} ${answer.text}`)
    t.match(answer.text, text, type)
  }
  const raw = (init: RequestInit) => fetch(`${world.url}/api/v1`, init).then(({ status }) => status)
  const json = { 'content-type': 'application/json' }
  t.equal(await raw({}), 405)
  t.equal(await raw({ method: 'POST', body: '{}', headers: { 'content-type': 'application/x-protobuf' } }), 415)
  t.equal(await raw({ method: 'POST', body: '{"type":"GET_HEALTH"}', headers: { ...json, accept: 'text/html' } }), 406)
  t.equal(await raw({ method: 'POST', body: '{', headers: json }), 400)
  t.equal((await call('TEARDOWN', { framework_id: { value: framework.id() } })).status, 200)
  await until(() => agent.killed.length === 1, 'the kill of its task')
})

t.test('draining, deactivating and giving up agents', async (t) => {
  const world = await startWorld()
  const { call, get, master } = world
  const { agent, agentId, framework, taskId } = await launch(world)
  const others: { stop(): Promise<void> }[] = []
  t.teardown(async () => {
    await Promise.all([agent, ...others].map((one) => one.stop()))
    await world.stop()
  })
  const where = { agent_id: { value: agentId } }
  const life = async () => (await get('/slaves')).slaves.map((slave: { weft: { life: string } }) => slave.weft.life)[0]
  const offers = () => [...master.context.offers.outstanding()].length

  await until(() => offers() > 0, 'an offer of the rest')
  t.equal((await call('DEACTIVATE_AGENT', where)).status, 200)
  t.equal(await life(), 'deactivated')
  await until(() => offers() === 0, 'the offer is rescinded')
  t.equal(agent.killed.length, 0, 'its task goes on')
  t.equal((await call('REACTIVATE_AGENT', where)).status, 200)
  await until(() => offers() > 0, 'an offer again')

  const grace = { max_grace_period: { nanoseconds: 2_000_000_000 } }
  t.equal((await call('DRAIN_AGENT', { ...where, ...grace })).status, 200)
  await until(() => agent.killed.length === 1 && offers() === 0, 'its task is killed')
  t.equal(master.context.tasks.get(taskId)?.killing?.graceMs, 2_000)
  t.equal(await life(), 'draining')
  const early = await call('REACTIVATE_AGENT', where)
  t.match([early.status, early.text], [409, /still draining/])
  agent.update(taskId, 'TASK_KILLED')
  const drained = () => master.context.registrar.state.agents.get(agentId)?.drain?.drained === true
  await until(drained, 'it is drained')
  t.match(framework.updates(taskId).at(-1), { state: 'TASK_KILLED', reason: 'REASON_AGENT_DRAINING' })
  t.match(await get('/slaves'), { slaves: [{ active: false, deactivated: true, drain_info: { state: 'DRAINED' } }] })

  t.equal((await call('MARK_AGENT_GONE', where)).status, 200)
  t.equal((await call('MARK_AGENT_GONE', where)).status, 200, 'once more')
  t.equal((await call('DRAIN_AGENT', where)).status, 409)
  await until(() => agent.refused.includes('ERR_MASTER_AGENT_GONE'), 'it is refused')
  t.same((await get('/slaves')).slaves, [])
  framework.call({
    kind: 'reconcile',
    taskIds: [parseTaskId('old.1')],
    agentOf: new Map([[parseTaskId('old.1'), agentId]]),
  })
  await until(() => framework.updates(parseTaskId('old.1')).length > 0, 'an answer')
  t.equal(framework.updates(parseTaskId('old.1'))[0]?.state, 'TASK_GONE_BY_OPERATOR')
  const fresh = startAgent({ name: 'node1', address: master.address, manner: 'silent' })
  others.push(fresh)
  await until(() => fresh.id() !== undefined && fresh.id() !== agentId, 'the machine with a new id')
})

t.test("paths of DC/OS's Admin Router", async (t) => {
  const paths = [
    ['/mesos/state?jsonp=x', '/state?jsonp=x'],
    ['/marathon/v2/apps', '/v2/apps'],
    ['/service/marathon/v2/apps/a', '/v2/apps/a'],
    ['/service/metronome/v1/jobs', '/service/metronome/v1/jobs'],
    ['/mesosphere', '/mesosphere'],
    ['/state', '/state'],
  ] as const
  for (const [url, expected] of paths) t.equal(withoutRouterPrefix(url), expected)
  const master = await startMaster(openMemoryStore())
  const app = await openHttpApp([systemHealthRoutes(master.context)])
  const server = await openHttpServer(app.handler, [{ kind: 'address', host: '127.0.0.1', port: 0 }], {
    underlay: parseIp('127.0.0.1'),
  })
  const agent = startAgent({ name: 'node1', address: master.address, manner: 'silent' })
  t.teardown(async () => {
    await agent.stop()
    await server.close()
    await app.close()
    await master.crash()
  })
  await until(() => agent.id() !== undefined, 'the agent')
  const get = async (path: string) => JSON.parse(await (await fetch(`http://${server.advertised}${path}`)).text())
  const unit = (await get('/system/health/v1')).units.find(({ id }: { id: string }) => id === 'weft-agent')
  t.match(unit, { health: 0 })
  const nodes = await get('/mesos/system/health/v1/nodes')
  t.match(nodes.nodes.at(-1), { host_ip: '127.0.0.11', role: 'agent', health: 3 }, 'its daemon is not there')
})

t.test('why a framework gets no offers', async (t) => {
  const world = await startWorld()
  const { call, master } = world
  const { agent, framework } = await launch(world)
  t.teardown(async () => {
    await agent.stop()
    await world.stop()
  })
  const why = () => whyNoOffers(master.context, framework.id() ?? parseFrameworkId('none')).map((one) => one.why)
  const quota = { force: true, quota_configs: [{ role: 'dev', limits: { cpus: { value: 0.5 }, mem: { value: 64 } } }] }
  t.equal((await call('UPDATE_QUOTA', quota)).status, 200)
  const held = framework.offers().map(({ id }) => id)
  framework.call({ kind: 'decline', offerIds: held, refuseMs: 0 })
  await until(() => why().includes('quota'), 'the quota is named')
  t.same(why(), ['quota'])
  t.match(noOffersText({ role: 'dev', why: 'quota', forSeconds: 0 }), /quota of role "dev"/)
  framework.call({ kind: 'suppress' })
  t.same(why(), ['suppressed'])
  t.equal(noOffersText({ role: 'dev', why: 'suppressed', forSeconds: 0 }), undefined)
})

t.test('tasks of a framework that moves them are left to it for a while', async (t) => {
  const world = await startWorld()
  const { call, master } = world
  const { agent, agentId, taskId } = await launch(world)
  t.teardown(async () => {
    await agent.stop()
    await world.stop()
  })
  const draining = followDraining(master.context)
  let told = 0
  draining.watch(() => told++)
  const mover = [...master.context.frameworks.values()][0]
  if (mover === undefined) throw new Error('no framework')
  mover.movesWithinMs = 600
  const where = { agent_id: { value: agentId } }
  t.equal((await call('DRAIN_AGENT', where)).status, 200)
  const askedMs = performance.now()
  t.same([[...draining.agents()], told], [[agentId], 1])
  t.equal(master.context.tasks.get(taskId)?.killing, undefined, 'not yet')
  await until(() => agent.killed.length === 1, 'killed all the same')
  t.ok(performance.now() - askedMs > 400)
  mover.movesWithinMs = 60_000
  t.equal((await call('DRAIN_AGENT', { ...where, max_grace_period: { nanoseconds: 0 } })).status, 200)
  await until(() => agent.killed.length === 2, 'at once when the operator gives no time')
  agent.update(taskId, 'TASK_KILLED')
  await until(() => draining.agents().size === 0, 'it is empty')
  t.equal(told, 2)
})

t.test('an agent that is given up with its tasks', async (t) => {
  const world = await startWorld()
  const { agent, agentId, framework, taskId } = await launch(world)
  t.teardown(async () => {
    await agent.stop()
    await world.stop()
  })
  t.equal((await world.call('MARK_AGENT_GONE', { agent_id: { value: agentId } })).status, 200)
  await until(() => agent.killed.includes(taskId), 'it is told to end the task')
  t.equal(framework.updates(taskId).at(-1)?.state, 'TASK_GONE_BY_OPERATOR')
  t.equal(world.master.context.tasks.size, 0)
})

t.test('the event stream', async (t) => {
  const world = await startWorld()
  const watch = await openOperatorWatch(world.url)
  t.match(await watch.next(), { type: 'SUBSCRIBED', subscribed: { heartbeat_interval_seconds: 15, get_state: {} } })
  const { agent, agentId, taskId } = await launch(world)
  const seen = async (type: string): Promise<unknown> => {
    for (;;) {
      const event = await watch.next()
      if (event.type === type) return event
    }
  }
  t.teardown(async () => {
    watch.close()
    await agent.stop()
    await world.stop()
  })
  await Promise.resolve()
  t.match(await seen('TASK_ADDED'), { task_added: { task: { task_id: { value: 'web.1' }, state: 'TASK_STAGING' } } })
  t.match(watch.types(), ['SUBSCRIBED', /^(AGENT|FRAMEWORK)_ADDED$/, /^(AGENT|FRAMEWORK)_ADDED$/, 'TASK_ADDED'])
  t.match(await seen('TASK_UPDATED'), {
    task_updated: { state: 'TASK_RUNNING', status: { task_id: { value: 'web.1' } } },
  })

  const late = await openOperatorWatch(world.url)
  t.match(await late.next(), {
    subscribed: {
      get_state: { get_tasks: { tasks: [{ name: 'wéb' }] }, get_agents: { agents: [{ agent_info: {} }] } },
    },
  })
  late.close()

  await t.test('one that does not read is cut off, the others are not', async (t) => {
    const { port } = new URL(world.url)
    const stalled = connect({ host: '127.0.0.1', port: Number(port) })
    const body = '{"type":"SUBSCRIBE"}'
    const head = [
      'POST /api/v1 HTTP/1.1',
      'host: x',
      'content-type: application/json',
      `content-length: ${body.length}`,
    ]
    stalled.pause()
    stalled.on('error', () => undefined)
    stalled.write(`${head.join('\r\n')}\r\n\r\n${body}`)
    const before = watch.types().length
    const padded = (n: number) => ({ message: `${n}`.padEnd(50_000, 'x') })
    let sent = 0
    const { context } = world.master
    const told = () => {
      const task = context.tasks.get(taskId)
      if (task === undefined) throw new Error('no task')
      context.changes.tell({
        kind: 'task',
        before: task,
        after: { ...task, status: { ...task.status, ...padded(sent++) } },
      })
    }
    let isClosed = false
    stalled.on('close', () => {
      isClosed = true
    })
    // More than the kernel takes for it, and the megabyte that the master keeps.
    while (sent < 400) {
      for (let i = 0; i < 10; i++) told()
      await until(() => watch.types().length >= before + sent, 'the reader that reads gets each')
    }
    stalled.resume()
    await until(() => isClosed, 'the stalled one is closed')
    t.equal(watch.types().length, before + sent)
  })

  await world.call('MARK_AGENT_GONE', { agent_id: { value: agentId } })
  t.match(await seen('AGENT_REMOVED'), { agent_removed: { agent_id: { value: agentId } } })
  t.match(watch.all().at(-2), { type: 'TASK_UPDATED', task_updated: { state: 'TASK_GONE_BY_OPERATOR' } })
})
