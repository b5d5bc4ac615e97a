import t from 'tap'
import { type AgentId, parseTaskId } from '../../core/model/ids.ts'
import { type Json, launch, subscribeMesos, wireTask } from '../support/mesos-framework-client.ts'
import { startMesosMaster } from '../support/mesos-master.ts'
import { startAgent, until } from '../support/master.ts'

/** The paragraphs of mesos-core.md about frameworks, each asserted from outside, with a client that knows only HTTP and JSON. */
t.test('offers, tasks, updates', async (t) => {
  const master = await startMesosMaster()
  const agent = startAgent({ name: 'node1', address: master.address, manner: 'silent' })
  t.teardown(async () => {
    await agent.stop()
    await master.stop()
  })
  const aware = { capabilities: [{ type: 'PARTITION_AWARE' }, { type: 'TASK_KILLING_STATE' }], name: 'aware' }
  const framework = await subscribeMesos(master.url, aware)
  const { offers } = await framework.wait('OFFERS')
  const [offer] = offers
  t.match(offer, {
    id: { value: /-O0$/ },
    agent_id: { value: /-S0$/ },
    framework_id: { value: framework.id() },
    allocation_info: { role: '*' },
    url: { address: { ip: '127.0.0.11' } },
    attributes: [{ name: 'rack', type: 'TEXT', text: { value: 'a' } }],
    resources: [
      { name: 'cpus', type: 'SCALAR', scalar: { value: 2 }, role: '*', allocation_info: { role: '*' } },
      { name: 'mem', type: 'SCALAR', scalar: { value: 1024 } },
      { name: 'disk', type: 'SCALAR', scalar: { value: 4096 } },
      { name: 'ports', type: 'RANGES', ranges: { range: [{ begin: 31_000, end: 31_099 }] } },
    ],
  })

  const task = wireTask(offer, 'web', {
    executor: null,
    resources: [
      { name: 'cpus', type: 'SCALAR', scalar: { value: 0.1 + 0.2 } },
      { name: 'mem', type: 'SCALAR', scalar: { value: 31.5 } },
      { name: 'ports', type: 'RANGES', ranges: { range: [{ begin: 31_001, end: 31_001 }] } },
    ],
    command: { value: 'serve', environment: { variables: [{ name: 'A', value: 'ü' }] } },
    container: {
      type: 'MESOS',
      network_infos: [{ name: 'backend', port_mappings: [{ host_port: 31_001, container_port: 80 }] }],
    },
    health_check: { type: 'HTTP', http: { port: 80 }, delay_seconds: 1, grace_period_seconds: 2 },
    discovery: { visibility: 'CLUSTER', ports: { ports: [{ number: 80, protocol: 'tcp,udp' }] } },
    kill_policy: { grace_period: { nanoseconds: '7000000000' } },
    labels: { labels: [{ key: 'a', value: 'b' }] },
  })
  const bad = (id: string, more: Json) => wireTask(offer, id, more)
  const refused: readonly (readonly [string, Json, RegExp])[] = [
    ['limits', { max_completion_time: { nanoseconds: 1 } }, /task_infos\[1\]\.max_completion_time/],
    ['check', { check: { type: 'TCP' } }, /task_infos\[2\]\.check/],
    ['gpus', { resources: [{ name: 'gpus', type: 'SCALAR', scalar: { value: 1 } }] }, /resources\[0\].*gpus/],
    ['both', { executor: { executor_id: { value: 'e' }, command: { value: 'x' } } }, /both/],
    ['rlimits', { container: { type: 'MESOS', rlimit_info: {} } }, /container\.rlimit_info/],
    ['bridge', { container: { type: 'DOCKER', docker: { image: 'x', network: 'BRIDGE' } } }, /docker\.network/],
    ['much', { resources: [{ name: 'cpus', type: 'SCALAR', scalar: { value: 64 } }] }, /more than the offers/],
  ]
  const tasks = [task, ...refused.map(([id, more]) => bad(id, more))]
  t.equal((await framework.call('ACCEPT', launch(offer, tasks))).status, 202)
  await until(() => agent.launched.length === 1, 'the launch')
  t.match(agent.launched[0], {
    taskId: 'web',
    resources: { cpuMillis: 300, memMb: 32, ports: [{ begin: 31_001, end: 31_001 }] },
    command: { shell: true, value: 'serve', env: { A: 'ü' } },
    networks: [{ name: 'backend', portMappings: [{ hostPort: 31_001, containerPort: 80, protocol: 'tcp' }] }],
    healthCheck: { probe: { kind: 'http', port: 80, path: '/' }, gracePeriodMs: 2_000 },
    discovery: { name: 'web', ports: [{ number: 80, protocols: ['tcp', 'udp'] }] },
    killGraceMs: 7_000,
    labels: { a: 'b' },
  })
  for (const [id, , text] of refused) {
    const { status } = await framework.wait('UPDATE', (update) => update.status.task_id.value === id)
    t.match(status, { state: 'TASK_ERROR', reason: 'REASON_TASK_INVALID', source: 'SOURCE_MASTER', message: text }, id)
  }

  t.test('an update carries what the agent told, and is acknowledged by uuid and agent', async (t) => {
    const web = parseTaskId('web')
    const uuid = agent.update(web, 'TASK_RUNNING', { healthy: true })
    const { status } = await framework.wait('UPDATE', (update) => update.status.state === 'TASK_RUNNING')
    t.match(status, { agent_id: offer.agent_id, healthy: true, source: 'SOURCE_AGENT', timestamp: 0.001 })
    t.equal(Buffer.from(status.uuid, 'base64').toString('hex'), uuid)
    const answer = { agent_id: offer.agent_id, task_id: status.task_id, uuid: status.uuid }
    await framework.call('ACKNOWLEDGE', { ...answer, agent_id: { value: 'other' } })
    await framework.call('ACKNOWLEDGE', answer)
    await until(() => agent.acknowledged.length > 0, 'the acknowledgement')
    t.same(agent.acknowledged, [{ taskId: 'web', uuid }], 'only the one that names its agent')
  })

  t.test('an ACCEPT that names an offer twice, or one that is gone, discards all', async (t) => {
    await framework.call('ACCEPT', launch(offer, [bad('late', {})]))
    const { status } = await framework.wait('UPDATE', (update) => update.status.task_id.value === 'late')
    t.match(status, { state: 'TASK_DROPPED', reason: 'REASON_INVALID_OFFERS', source: 'SOURCE_MASTER' })
    await framework.call('REVIVE')
    const again = await framework.wait('OFFERS', () => true, 1)
    t.equal(again.offers[0].resources[0].scalar.value, 1.7, 'what the task left')
    const mixed = { ...launch(again.offers[0], [bad('mixed', {})]), offer_ids: [again.offers[0].id, { value: 'x-O1' }] }
    await framework.call('ACCEPT', mixed)
    const other = await framework.wait('UPDATE', (update) => update.status.task_id.value === 'mixed')
    t.match(other.status, { state: 'TASK_DROPPED', reason: 'REASON_INVALID_OFFERS' })
    const back = await framework.wait('OFFERS', () => true, 2)
    t.equal(back.offers[0].resources[0].scalar.value, 1.7, 'the valid one is free again')
    await framework.call('SUPPRESS')
    await framework.call('DECLINE', { offer_ids: [back.offers[0].id], filters: { refuse_seconds: 0 } })
  })

  t.test('reconciliation, explicit and implicit', async (t) => {
    const agents = { value: agent.id() ?? '' }
    const ask = (id: string, where?: object) => ({ task_id: { value: id }, agent_id: where ?? null })
    await framework.call('RECONCILE', {
      tasks: [ask('web', agents), ask('never'), ask('not-there', agents), ask('elsewhere', { value: 'no-S1' })],
    })
    const expected = { web: 'TASK_RUNNING', never: 'TASK_UNKNOWN', 'not-there': 'TASK_GONE', elsewhere: 'TASK_UNKNOWN' }
    for (const [id, state] of Object.entries(expected)) {
      const told = (update: Json) =>
        update.status.task_id.value === id && update.status.reason === 'REASON_RECONCILIATION'
      const { status } = await framework.wait('UPDATE', told)
      t.match(status, { state, source: 'SOURCE_MASTER' }, id)
      t.notOk('uuid' in status, 'wants no acknowledgement')
    }
    const before = framework.statuses('web').length
    await framework.call('RECONCILE', { tasks: [] })
    await until(() => framework.statuses('web').length > before, 'the answer')
  })

  t.test('KILLING only for who knows it; an ended task is re-sent until acknowledged', async (t) => {
    await framework.call('KILL', { task_id: { value: 'web' }, kill_policy: null })
    await until(() => agent.killed.includes(parseTaskId('web')), 'the kill')
    agent.update(parseTaskId('web'), 'TASK_KILLING')
    await framework.wait('UPDATE', (update) => update.status.state === 'TASK_KILLING')
    agent.update(parseTaskId('web'), 'TASK_KILLED')
    const { status } = await framework.wait('UPDATE', (update) => update.status.state === 'TASK_KILLED')
    framework.cut()
    const id = { value: framework.id() }
    const next = await subscribeMesos(master.url, { ...aware, id })
    const again = await next.wait('UPDATE', (update) => update.status.state === 'TASK_KILLED')
    t.equal(again.status.uuid, status.uuid, 'after the failover the same update')
    await next.call('ACKNOWLEDGE', { agent_id: offer.agent_id, task_id: status.task_id, uuid: status.uuid })
    await until(() => master.context.tasks.get(parseTaskId('web')) === undefined, 'the task is forgotten')
    await next.call('KILL', { task_id: { value: 'web' }, agent_id: offer.agent_id })
    await next.wait('UPDATE', (update) => update.status.state === 'TASK_GONE')
    t.equal((await next.call('TEARDOWN')).status, 202)
  })
})

t.test('who is not partition-aware hears LOST; roles, suppression, failover timeout', async (t) => {
  const master = await startMesosMaster()
  const agent = startAgent({ name: 'node1', address: master.address, manner: 'runs' })
  t.teardown(async () => {
    await agent.stop()
    await master.stop()
  })
  const plain = await subscribeMesos(master.url, { failover_timeout: 0 })
  const { offers } = await plain.wait('OFFERS')
  await plain.call('ACCEPT', launch({ ...offers[0], id: { value: 'gone-O1' } }, [wireTask(offers[0], 'late')]))
  const { status } = await plain.wait('UPDATE')
  t.match(status, { state: 'TASK_LOST', reason: 'REASON_INVALID_OFFERS' })
  await plain.call('RECONCILE', { tasks: [{ task_id: { value: 'never' } }] })
  t.match(await plain.wait('UPDATE', (one) => one.status.task_id.value === 'never'), { status: { state: 'TASK_LOST' } })
  await plain.call('ACCEPT', launch(offers[0], [wireTask(offers[0], 'mine')]))
  await plain.wait('UPDATE', (one) => one.status.task_id.value === 'mine' && one.status.state === 'TASK_RUNNING')

  const roles = { capabilities: [{ type: 'MULTI_ROLE' }, { type: 'RESERVATION_REFINEMENT' }], roles: ['a', 'b'] }
  const multi = await subscribeMesos(master.url, roles, { suppressed_roles: ['a', 'b'] })
  await multi.wait('SUBSCRIBED')
  await multi.call('REVIVE', { role: 'b' })
  const inB = await multi.wait('OFFERS')
  t.match(inB.offers[0], { allocation_info: { role: 'b' } })
  t.notOk('role' in inB.offers[0].resources[0], 'with refinement, no role in resources')
  const framework_info = { user: 'root', name: 'wire', failover_timeout: 3600, ...roles, roles: ['a'] }
  const update = { framework_info: { ...framework_info, id: { value: multi.id() } } }
  t.equal((await multi.call('UPDATE_FRAMEWORK', update)).status, 200)
  t.match(await multi.wait('RESCIND'), { offer_id: inB.offers[0].id })
  t.match(await multi.wait('OFFERS', (one) => one.offers[0].allocation_info.role === 'a'), {})

  plain.cut()
  await until(() => agent.killed.length === 1, 'with a failover timeout of 0 its tasks are killed at once')
  const back = await subscribeMesos(master.url, { id: { value: plain.id() } })
  t.match(await back.wait('ERROR'), { message: 'Framework has been removed' })
})

t.test('an agent that does not answer', async (t) => {
  const master = await startMesosMaster({ pingIntervalMs: 40 })
  const agent = startAgent({ name: 'node1', address: master.address, manner: 'runs' })
  t.teardown(() => master.stop())
  const framework = await subscribeMesos(master.url, { capabilities: [{ type: 'PARTITION_AWARE' }] })
  const { offers } = await framework.wait('OFFERS')
  await framework.call('ACCEPT', launch(offers[0], [wireTask(offers[0], 'far')], 0))
  await framework.wait('UPDATE', (one) => one.status.state === 'TASK_RUNNING')
  const second = await framework.wait('OFFERS', () => true, 1)
  const known = { id: agent.id() as AgentId, tasks: [...agent.tasks.values()] }
  await agent.stop()
  t.match(await framework.wait('RESCIND'), { offer_id: second.offers[0].id })
  t.match(await framework.wait('FAILURE'), { agent_id: offers[0].agent_id })
  const { status } = await framework.wait('UPDATE', (one) => one.status.state === 'TASK_UNREACHABLE')
  t.match(status, { reason: 'REASON_AGENT_REMOVED', unreachable_time: { nanoseconds: Number } })
  await framework.call('RECONCILE', { tasks: [{ task_id: { value: 'other' }, agent_id: offers[0].agent_id }] })
  await framework.wait(
    'UPDATE',
    (one) => one.status.task_id.value === 'other' && one.status.state === 'TASK_UNREACHABLE',
  )
  const returned = startAgent({ name: 'node1', address: master.address, manner: 'runs', ...known })
  t.teardown(() => returned.stop())
  const back = (one: Json) => one.status.reason === 'REASON_AGENT_REREGISTERED'
  t.match(await framework.wait('UPDATE', back), { status: { state: 'TASK_RUNNING', task_id: { value: 'far' } } })
})

t.test('reservations and volumes, in both styles of Mesos', async (t) => {
  const master = await startMesosMaster()
  const agent = startAgent({ name: 'node1', address: master.address, manner: 'runs' })
  t.teardown(async () => {
    await agent.stop()
    await master.stop()
  })
  const refinement = { capabilities: [{ type: 'RESERVATION_REFINEMENT' }] }
  const owner = { reservations: [{ type: 'DYNAMIC', role: 'db', principal: 'me' }] }
  const scalar = (name: string, value: number) => ({ name, type: 'SCALAR', scalar: { value }, ...owner })
  const framework = await subscribeMesos(master.url, { ...refinement, role: 'db', principal: 'me' })
  const [offer] = (await framework.wait('OFFERS')).offers
  const persistence = { persistence: { id: 'v1', principal: 'me' }, volume: { container_path: 'data', mode: 'RW' } }
  const operations = [
    { type: 'RESERVE', reserve: { resources: [scalar('cpus', 0.5), scalar('disk', 100)] } },
    { type: 'CREATE', create: { volumes: [{ ...scalar('disk', 60), disk: persistence }] } },
  ]
  const answer = await framework.call('ACCEPT', { offer_ids: [offer.id], operations, filters: { refuse_seconds: 0 } })
  t.equal(answer.status, 202, answer.text)
  const reserved = (one: Json) => one.offers[0].resources.some((resource: Json) => resource.reservations !== undefined)
  const [next] = (await framework.wait('OFFERS', reserved)).offers
  const own = next.resources.filter((resource: Json) => resource.reservations !== undefined)
  t.match(own, [
    { name: 'cpus', scalar: { value: 0.5 }, ...owner },
    { name: 'disk', scalar: { value: 40 }, ...owner },
    { name: 'disk', scalar: { value: 60 }, ...owner, disk: persistence },
  ])

  // Before refinement a resource says `role` and `reservation`.
  framework.cut()
  const old = await subscribeMesos(master.url, { role: 'db', principal: 'me', id: { value: framework.id() } })
  const [told] = (await old.wait('OFFERS')).offers
  t.match(
    told.resources.filter((resource: Json) => resource.role === 'db'),
    [{ reservation: { principal: 'me' } }, { name: 'disk' }, { name: 'disk', disk: persistence }],
  )
})
