import t from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { parseAgentId, parseNetworkName, parseTaskId } from '../../core/model/ids.ts'
import { noResources } from '../../core/model/resources.ts'
import { roomByNetwork } from '../../core/master/networks/usage.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { matchOffer } from '../../core/services/match.ts'
import { startAgent, startFramework, startMaster, startNode, until } from '../support/master.ts'
import { record } from '../support/services-instances.ts'

const dcos = parseNetworkName('dcos')
const backend = parseNetworkName('backend')
const share = { network: dcos, subnets: [parseCidr('10.80.1.0/24')] }
const usage = (free: number) => ({
  network: dcos,
  subnet: parseCidr('10.80.1.0/24'),
  used: 253 - free,
  resting: 0,
  free,
})
const usage6 = { network: dcos, subnet: parseCidr('fd00:80::/80'), used: 1, resting: 0, free: 2 ** 48 }

t.test('room on a node', async (t) => {
  const base = { networks: [dcos], shares: [share], tasks: [] }
  t.same(roomByNetwork({ ...base, usage: [] }), new Map(), 'nothing heard, nothing held back')
  t.same(roomByNetwork({ ...base, usage: [usage(7), usage6] }), new Map([[dcos, 7]]), 'the scarcer IP version counts')
  t.same(roomByNetwork({ ...base, networks: [dcos, backend], usage: [] }), new Map([[backend, 0]]), 'no part, no room')
})

t.test('an app and an offer without an address', async (t) => {
  const app = record({ networks: [{ mode: 'container', name: 'dcos' }] }).definition
  const resources = { cpuMillis: 4_000, memMb: 4_096, diskMb: 1_000, ports: [{ begin: 31_000, end: 31_009 }] }
  const place = { hostname: 'a', attributes: {} }
  const pool = { agentId: parseAgentId('a'), role: '*', place, offerIds: [], resources }
  const reasonOf = (freeAddresses: Readonly<Record<string, number>>) => {
    const result = matchOffer(app, { ...pool, freeAddresses }, { running: [], seed: 1 })
    return result.kind === 'match' ? 'match' : result.reason
  }
  t.equal(reasonOf({}), 'match')
  t.equal(reasonOf({ dcos: 1, backend: 0 }), 'match')
  t.equal(reasonOf({ dcos: 0 }), 'InsufficientAddresses')
})

t.test('an exhausted agent is refused, and offered again when an address is free', async (t) => {
  const master = await startMaster(openMemoryStore())
  const node = startNode('node1', master.address)
  const agent = startAgent({ name: 'node1', address: master.address })
  const framework = startFramework(master)
  t.teardown(async () => {
    await Promise.all([agent.stop(), node.stop()])
    await master.crash()
  })
  await until(() => framework.offers().length === 1, 'an offer')
  node.reportUsage([usage(0), usage6])
  const { usage: table, agents } = master.context
  await until(
    () => [...agents.values()].some(({ record: { nodeName } }) => table.of(nodeName).length > 0),
    'the report',
  )
  const [offer] = framework.offers()
  if (offer === undefined) throw new Error('no offer')
  const task = {
    taskId: parseTaskId('web.1'),
    name: 'web',
    agentId: offer.agentId,
    resources: { ...noResources, cpuMillis: 100, memMb: 32 },
    command: { shell: true, value: 'serve', arguments: [], env: {} },
    networks: [{ name: dcos, labels: {}, portMappings: [] }],
    killGraceMs: 3_000,
    labels: {},
  }
  framework.call({ kind: 'accept', offerIds: [offer.id], launches: [task], refuseMs: 3_600_000 })
  await until(() => framework.updates(task.taskId).length === 1, 'the verdict')
  t.match(framework.updates(task.taskId), [{ state: 'TASK_ERROR', message: /no free address of network "dcos"/ }])
  t.same(agent.launched, [])
  const before = framework.events.length
  node.reportUsage([usage(1), usage6])
  await until(() => framework.events.length > before, 'an offer in spite of the refusal')
  t.match(framework.offers().at(-1), { freeAddresses: { dcos: 1 } })
})
