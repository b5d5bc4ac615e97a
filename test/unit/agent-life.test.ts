import { mkdtempSync, rmSync, appendFileSync, readFileSync, writeFileSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Agent } from '../../core/agent/agent.ts'
import { openJournal, readJournal } from '../../core/agent/checkpoint.ts'
import { openIdentity } from '../../core/agent/identity.ts'
import { type ContainerNetwork } from '../../core/agent/network.ts'
import { agentPaths, containerPaths } from '../../core/agent/paths.ts'
import { type TaskEvent } from '../../core/agent/record.ts'
import { emptyCniResult } from '../../cni-plugins/cni/result.ts'
import { type AgentOrder, type AgentReport } from '../../core/api/messages.ts'
import { AppError } from '../../core/base/errors.ts'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { parseAgentId, parseFrameworkId, parseNetworkName, parseNodeName } from '../../core/model/ids.ts'
import { noResources } from '../../core/model/resources.ts'
import { type TaskInfo, type TaskState } from '../../core/model/task.ts'
import { type FakeContainerizer, openFakeContainerizer } from '../support/agent-containerizer.ts'
import { openManualClock } from '../support/agent-clock.ts'
import { shellTask } from '../support/agent-process.ts'

const frameworkId = parseFrameworkId('f-0000')
const dcos = [{ name: parseNetworkName('dcos'), labels: {}, portMappings: [] }]

interface WorldOptions {
  readonly stateDir?: string
  readonly bootId?: string
  readonly attached?: number
}

async function makeWorld(t: Test, { stateDir: given, bootId = 'boot', attached = 0 }: WorldOptions = {}) {
  const stateDir = given ?? mkdtempSync(join(tmpdir(), 'weft-life-'))
  t.teardown(() => rmSync(stateDir, { recursive: true, force: true }))
  const paths = agentPaths(stateDir)
  const clock = openManualClock()
  const sent: AgentReport[] = []
  const network = fakeNetwork()
  network.attached = attached
  let containerizer: FakeContainerizer | undefined
  const agent = new Agent({
    ...{ paths, clock, bootId, network, log: silentLog, underlay: parseIp('192.0.2.1') },
    identity: openIdentity(paths.identity),
    node: { nodeName: parseNodeName('n1'), resources: noResources, attributes: {} },
    session: { send: (report) => sent.push(report) > 0 },
    openContainerizer: (onExit) => {
      containerizer = openFakeContainerizer(onExit)
      return containerizer
    },
  })
  if (containerizer === undefined) throw new Error('the agent opened no containerizer')
  t.teardown(() => agent.close())
  await agent.recover()
  let term = 1
  const order = (what: AgentOrder) => agent.command({ ...what, term })
  const states = () => sent.flatMap((report) => (report.kind === 'update' ? [report.status.state] : []))
  /** Lets disk writes come through; the manual clock stands still. */
  const eventually = async (look: () => boolean) => {
    for (let i = 0; i < 4000 && !look(); i++) {
      await clock.advance(0)
      await pause(1)
    }
    return look()
  }
  const until = async (state: TaskState) => {
    t.ok(await eventually(() => states().at(-1) === state), `${state} is told`)
  }
  const acknowledge = () => {
    const last = sent.findLast((report) => report.kind === 'update')
    if (last?.kind !== 'update') throw new Error('no update to acknowledge')
    order({ kind: 'acknowledge', taskId: last.status.taskId, uuid: last.status.uuid ?? '' })
  }
  return {
    ...{ agent, clock, sent, network, containerizer, paths, stateDir, order, states, until, eventually, acknowledge },
    setTerm: (next: number) => {
      term = next
    },
    launch: (...tasks: readonly TaskInfo[]) => order({ kind: 'launch', frameworkId, tasks }),
  }
}

/** Counts attachments; `failDetach` makes that many detachments fail. */
function fakeNetwork(): ContainerNetwork & { attached: number; failDetach: number } {
  const network = {
    attached: 0,
    failDetach: 0,
    prepare: async () => [{ network: 'dcos', ifName: 'eth0', config: '{}', portMappings: [] }],
    attach: async () => {
      network.attached++
      return [{ ...emptyCniResult, ips: [{ address: parseIp('10.80.0.5'), prefixLength: 32 }] }]
    },
    detach: async () => {
      if (network.failDetach-- > 0) throw new AppError('ERR_CNI_PLUGIN', 'the plugin failed')
      network.attached--
    },
  }
  return network
}

t.test('a task from launch to forgetting', async (t) => {
  const world = await makeWorld(t)
  world.launch(shellTask('web', 'sleep', { networks: dcos }))
  await world.until('TASK_RUNNING')
  t.match(world.sent[0], {
    kind: 'update',
    frameworkId,
    status: { networks: [{ name: 'dcos', addresses: ['10.80.0.5'] }] },
  })
  t.match(world.agent.registration().tasks, [{ frameworkId, latest: { state: 'TASK_RUNNING' } }])
  await world.clock.advance(9_999)
  t.equal(world.states().length, 1)
  await world.clock.advance(1)
  t.equal(world.states().length, 2, 'again after 10 s')
  await world.clock.advance(20_000)
  t.equal(world.states().length, 3, 'and after 20 s more')
  world.order({ kind: 'registered', agentId: parseAgentId('m-S1'), pingIntervalMs: 1 })
  t.equal(world.states().length, 4, 'and at a registration')
  t.equal(
    new Set(world.sent.map((report) => report.kind === 'update' && report.status.uuid)).size,
    1,
    'it is one update',
  )
  const [id = ''] = world.containerizer.running
  world.containerizer.end(id, 4)
  await world.clock.advance(100)
  t.notOk(world.states().includes('TASK_FAILED'), 'one outstanding update')
  world.acknowledge()
  await world.until('TASK_FAILED')
  world.acknowledge()
  t.ok(await world.eventually(() => world.agent.registration().tasks.length === 0), 'forgotten')
  t.equal(world.network.attached, 0)
  t.equal(world.agent.registration().agentId, 'm-S1')
})

t.test('kill and grace', async (t) => {
  const world = await makeWorld(t)
  world.launch(shellTask('hard', 'stubborn', { killGraceMs: 3000 }))
  await world.until('TASK_RUNNING')
  world.acknowledge()
  const taskId = shellTask('hard', '').taskId
  world.order({ kind: 'kill', taskId, graceMs: 0 })
  await world.clock.advance(2999)
  t.equal(world.containerizer.running.size, 1, 'its own grace')
  await world.clock.advance(1)
  await world.until('TASK_KILLED')
})

t.test('an undo that fails is tried again', async (t) => {
  const world = await makeWorld(t)
  world.network.failDetach = 2
  world.launch(shellTask('bad', 'fail', { networks: dcos }))
  await world.until('TASK_FAILED')
  t.equal(world.network.attached, 1)
  await world.clock.advance(1000)
  t.equal(world.network.attached, 1)
  await world.clock.advance(2000)
  t.equal(world.network.attached, 0)
})

t.test('terms', async (t) => {
  const world = await makeWorld(t)
  world.setTerm(7)
  world.order({ kind: 'ping' })
  t.same(world.sent, [{ kind: 'pong' }])
  world.setTerm(6)
  world.launch(shellTask('late', 'sleep'))
  t.same(world.agent.registration().tasks, [], 'a deposed leader launches nothing')
  t.equal(openIdentity(world.paths.identity).current().highestTerm, 7, 'durable')
  writeFileSync(world.paths.identity, '{"highestTerm":"x"}')
  t.throws(() => openIdentity(world.paths.identity), { code: 'ERR_AGENT_IDENTITY' })
})

t.test('a reboot', async (t) => {
  const first = await makeWorld(t)
  first.launch(shellTask('gone', 'sleep', { networks: dcos }))
  await first.until('TASK_RUNNING')
  await first.agent.close()
  const second = await makeWorld(t, { stateDir: first.stateDir, bootId: 'another boot', attached: 1 })
  const uuids = () => second.sent.map((report) => (report.kind === 'update' ? report.status.uuid : ''))
  t.same(second.states(), ['TASK_RUNNING'], 'the unacknowledged update first')
  t.equal(uuids()[0], first.sent[0]?.kind === 'update' && first.sent[0].status.uuid)
  second.acknowledge()
  await second.until('TASK_FAILED')
  t.match(second.sent.at(-1), { status: { message: 'the machine was restarted' } })
  t.equal(second.network.attached, 0, 'detached with what the journal says')
})

t.test('journal', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-journal-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const { journal: path } = containerPaths(agentPaths(dir), 'c')
  const event = (uuid: string): TaskEvent => ({ kind: 'acknowledged', uuid })
  const journal = openJournal(path)
  await Promise.all([journal.append(event('a')), journal.append(event('b'), event('c'))])
  await journal.close()
  const whole = readFileSync(path)
  t.same((await readJournal(path)).events, [event('a'), event('b'), event('c')])
  t.same(await readJournal(join(dir, 'none')), { events: [], size: 0 })
  const damages = [
    { name: 'torn in its last line', damage: () => truncateSync(path, whole.length - 3), left: 2 },
    { name: 'garbage after it', damage: () => appendFileSync(path, 'garbage\n'), left: 3 },
    { name: 'one octet changed', damage: () => writeFileSync(path, whole.toString().replace('"b"', '"x"')), left: 1 },
  ]
  for (const { name, damage, left } of damages) {
    writeFileSync(path, whole)
    damage()
    const { events, size } = await readJournal(path)
    t.equal(events.length, left, name)
    const again = openJournal(path, size)
    await again.append(event('z'))
    await again.close()
    t.same((await readJournal(path)).events.slice(left), [event('z')], `${name}: writing goes on`)
  }
  const nowhere = openJournal(join(path, 'below', 'a-file'))
  await t.rejects(nowhere.append(event('a')), { code: 'ERR_AGENT_JOURNAL' })
  await nowhere.close()
})
