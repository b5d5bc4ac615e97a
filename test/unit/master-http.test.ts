import { fastify } from 'fastify'
import t from 'tap'
import { masterRoutes } from '../../core/master/http/routes.ts'
import { parseNetworkName, parseTaskId } from '../../core/model/ids.ts'
import { noResources } from '../../core/model/resources.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { startAgent, startFramework, startMaster, startNode, until } from '../support/master.ts'

t.test('the HTTP interface of a master', async (t) => {
  const store = openMemoryStore()
  const master = await startMaster(store)
  const app = fastify()
  await app.register(masterRoutes({ context: master.context, version: '1.2.3', advertised: () => '127.0.0.1:5050' }))
  const node = startNode('node1', master.address)
  const agent = startAgent({ name: 'node1', address: master.address })
  const framework = startFramework(master)
  t.teardown(async () => {
    await Promise.all([agent.stop(), node.stop()])
    await app.close()
    await master.crash()
  })
  await until(() => framework.offers().length > 0 && node.snapshot().nodes.size === 2, 'everyone')
  const [offer] = framework.offers()
  if (offer === undefined) throw new Error('no offer')
  const taskId = parseTaskId('web.1')
  framework.call({
    kind: 'accept',
    offerIds: [offer.id],
    refuseMs: 5_000,
    launches: [
      {
        taskId,
        name: 'web',
        agentId: offer.agentId,
        resources: { ...noResources, cpuMillis: 100, memMb: 32, ports: [{ begin: 31_005, end: 31_005 }] },
        command: { shell: true, value: 'x', arguments: [], env: {} },
        networks: [{ name: parseNetworkName('backend'), labels: {}, portMappings: [] }],
        discovery: {
          name: 'web',
          visibility: 'CLUSTER',
          ports: [{ number: 80, protocols: ['tcp', 'udp'], labels: { VIP_0: '/web:80' } }],
        },
        killGraceMs: 1,
        labels: { a: 'b' },
      },
    ],
  })
  await until(() => node.snapshot().vips.size === 1, 'the task and its VIP')

  t.test('what there is', async (t) => {
    const cases: readonly { readonly url: string; readonly body: object }[] = [
      {
        url: '/weft/v1/nodes',
        body: {
          nodes: [
            { name: 'master1', master: 'leader' },
            { name: 'node1', agentId: agent.id(), agentState: 'connected', daemon: { connected: true } },
          ],
        },
      },
      {
        url: '/weft/v1/agents',
        body: { agents: [{ node: 'node1', state: 'connected', available: { cpuMillis: 1_900 }, tasks: ['web.1'] }] },
      },
      {
        url: '/weft/v1/tasks',
        body: {
          tasks: [
            {
              id: 'web.1',
              state: 'TASK_RUNNING',
              node: 'node1',
              framework: 'marathon',
              networks: [{ name: 'backend' }],
            },
          ],
        },
      },
      {
        url: '/weft/v1/networks',
        body: {
          networks: [
            { name: 'dcos', tasks: 0 },
            { name: 'backend', tasks: 1, nodes: [{}, { node: 'node1' }] },
          ],
        },
      },
      { url: '/weft/v1/vips', body: { vips: [{ name: 'web', framework: 'marathon', addresses: [/^100\.96\./] }] } },
      { url: '/weft/v1/snapshot', body: { version: Number, nodes: [{}, {}], tasks: [{ id: 'web.1' }], vips: [{}] } },
      { url: '/weft/v1/converge?timeoutMs=5000', body: { converged: true, missing: [] } },
      { url: '/weft/v1/converge?version=999999', body: { converged: false, version: 999_999 } },
      { url: '/health', body: { healthy: true } },
      { url: '/version', body: { version: '1.2.3' } },
      { url: '/leader', body: { leader: 'master1', term: 1 } },
    ]
    for (const { url, body } of cases) {
      const answer = await app.inject(url)
      t.equal(answer.statusCode, 200, url)
      t.match(answer.json(), body, url)
    }
    const metrics = await app.inject('/metrics')
    t.match(metrics.headers['content-type'], /^text\/plain/)
    for (const line of ['master_agents_connected 1', 'master_tasks_running 1', 'master_launches_total 1']) {
      t.match(metrics.body, line)
    }
  })

  t.test('what an unmodified Mesos-DNS reads', async (t) => {
    for (const url of ['/state', '/master/state']) {
      const state = (await app.inject(url)).json()
      t.match(state, {
        leader: 'master@127.0.0.1:5050',
        slaves: [{ id: agent.id(), pid: 'slave(1)@127.0.0.11:5051', hostname: '127.0.0.11' }],
        frameworks: [
          {
            name: 'marathon',
            tasks: [
              {
                id: 'web.1',
                slave_id: agent.id(),
                state: 'TASK_RUNNING',
                resources: { cpus: 0.1, ports: '[31005-31005]' },
                statuses: [{ container_status: { network_infos: [{ ip_addresses: [{ ip_address: '10.80.1.5' }] }] } }],
                discovery: { name: 'web', ports: { ports: [{ number: 80, protocol: 'tcp' }, { protocol: 'udp' }] } },
              },
            ],
          },
        ],
      })
      t.notOk('pid' in state.frameworks[0], 'an HTTP framework has none')
    }
  })

  t.test('networks are made and removed', async (t) => {
    const cases: readonly {
      readonly method: 'POST' | 'DELETE'
      readonly url: string
      readonly payload?: string | object
      readonly status: number
      readonly message?: RegExp
    }[] = [
      { method: 'POST', url: '/weft/v1/networks', payload: { name: 'front' }, status: 201 },
      { method: 'POST', url: '/weft/v1/networks', payload: { name: 'front' }, status: 409, message: /there already/ },
      {
        method: 'POST',
        url: '/weft/v1/networks',
        payload: { name: 'x', subnets: ['10.80.0.0/16'] },
        status: 409,
        message: /"dcos"/,
      },
      {
        method: 'POST',
        url: '/weft/v1/networks',
        payload: { name: 'x', subnets: ['10.200.0.0/28'] },
        status: 422,
        message: /too small/,
      },
      {
        method: 'POST',
        url: '/weft/v1/networks',
        payload: { name: 'x', subnets: ['10.200.0.1/16'] },
        status: 422,
        message: /subnets\/0.*host bits/,
      },
      {
        method: 'POST',
        url: '/weft/v1/networks',
        payload: { name: 'x', subnets: [] },
        status: 422,
        message: /subnets/,
      },
      { method: 'POST', url: '/weft/v1/networks', payload: { name: 'Too_Long_A_Name' }, status: 422, message: /name/ },
      { method: 'POST', url: '/weft/v1/networks', payload: { name: 'host' }, status: 422, message: /reserved/ },
      { method: 'POST', url: '/weft/v1/networks', payload: { name: 'x', color: 1 }, status: 422, message: /color/ },
      { method: 'POST', url: '/weft/v1/networks', payload: '{"name"', status: 400, message: /JSON/ },
      { method: 'POST', url: '/weft/v1/networks', payload: 'null', status: 422 },
      { method: 'DELETE', url: '/weft/v1/networks/backend', status: 409, message: /web\.1/ },
      { method: 'DELETE', url: '/weft/v1/networks/nope', status: 404, message: /"nope"/ },
      { method: 'DELETE', url: '/weft/v1/networks/front', status: 200 },
      { method: 'DELETE', url: '/weft/v1/networks/front', status: 404 },
      { method: 'DELETE', url: '/weft/v1/nodes/node1', status: 409, message: /connected/ },
      { method: 'DELETE', url: '/weft/v1/nodes/nope', status: 404 },
      { method: 'DELETE', url: '/weft/v1/nodes/No_Name', status: 422 },
    ]
    const json = { 'content-type': 'application/json' }
    for (const { method, url, payload, status, message } of cases) {
      const answer = await app.inject({ method, url, ...(payload === undefined ? {} : { payload, headers: json }) })
      t.equal(answer.statusCode, status, `${method} ${url} ${JSON.stringify(payload)}: ${answer.body}`)
      if (status >= 400) t.match(answer.json(), { message: message ?? String })
    }
    await until(() => node.snapshot().version === master.context.keeper.version(), 'the last version')
    t.same([...node.snapshot().networks.keys()], ['dcos', 'backend'], 'nothing is left of the refused ones')
    store.full = true
    const full = await app.inject({ method: 'POST', url: '/weft/v1/networks', payload: { name: 'late' } })
    store.full = false
    t.equal(full.statusCode, 503)
    t.match((await app.inject('/weft/v1/networks')).json(), { networks: [{}, {}] })
  })

  t.test('wrong questions', async (t) => {
    for (const query of ['version=x', 'version=-1', 'timeoutMs=-1', 'timeoutMs=9999999999']) {
      t.equal((await app.inject(`/weft/v1/converge?${query}`)).statusCode, 422, query)
    }
  })

  t.test('a node that has left is removed, with what it was given', async (t) => {
    await Promise.all([agent.stop(), node.stop()])
    await until(() => [...master.context.agents.values()].every(({ link }) => link === undefined), 'it to be gone')
    await until(() => master.context.keeper.subscribers() === 0, 'its daemon to be gone')
    t.equal((await app.inject({ method: 'DELETE', url: '/weft/v1/nodes/node1' })).statusCode, 200)
    t.match((await app.inject('/weft/v1/snapshot')).json(), { tasks: [], vips: [] })
    t.equal((await app.inject('/weft/v1/nodes')).json().nodes.length, 1)
    t.match(framework.updates(taskId).at(-1), { state: 'TASK_GONE' })
    t.match(framework.events.at(-1), { kind: 'failure' })
    t.equal((await app.inject({ method: 'DELETE', url: '/weft/v1/nodes/master1' })).statusCode, 409)
  })
})
