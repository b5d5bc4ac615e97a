import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { Agent } from '../../core/agent/agent.ts'
import { recoverExecutor } from '../../core/agent/executors/custom-end.ts'
import { type ExecutorRecord } from '../../core/agent/executors/record.ts'
import { openIdentity } from '../../core/agent/identity.ts'
import { agentPaths } from '../../core/agent/paths.ts'
import { type AgentReport } from '../../core/api/messages.ts'
import { AppError } from '../../core/base/errors.ts'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { type ExecutorInfo } from '../../core/model/executor.ts'
import { parseExecutorId, parseFrameworkId, parseNodeName, parseTaskId } from '../../core/model/ids.ts'
import { noResources } from '../../core/model/resources.ts'
import { openManualClock } from '../support/agent-clock.ts'
import { type FakeContainerizer, openFakeContainerizer } from '../support/agent-containerizer.ts'
import { shellTask } from '../support/agent-process.ts'

const frameworkId = parseFrameworkId('f-0000')

const info: ExecutorInfo = {
  id: parseExecutorId('exec'),
  kind: 'custom',
  name: '',
  resources: noResources,
  command: { shell: true, value: 'sleep', arguments: [], env: {} },
  networks: [],
  shutdownGraceMs: 5000,
  labels: {},
}

const record: ExecutorRecord = {
  ...{ frameworkId, info, framework: { name: '', user: '' }, containerId: 'exec-1', token: 'x', bootId: 'boot' },
  ...{ acceptedAtMs: 0, attachments: [], results: [] },
}

const running = { kind: 'running', pid: 7 } as const
const exited = { kind: 'exited', exit: { containerId: 'exec-1', status: 3, outOfMemory: false } } as const
const absent = { kind: 'absent' } as const
const started = { ...record, networks: [], pid: 7 }
const recoveries = [
  {
    name: 'subscribed',
    record: { ...started, subscribed: true as const },
    finding: running,
    is: { kind: 'await', when: 'again' },
  },
  { name: 'never subscribed', record: started, finding: running, is: { kind: 'await', when: 'first' } },
  { name: 'networks unknown', record, finding: running, is: { kind: 'kill', end: { state: 'TASK_LOST' } } },
  {
    name: 'exited',
    record: started,
    finding: exited,
    is: { kind: 'finish', status: 3, report: 'yes', end: { message: /status 3/ } },
  },
  {
    name: 'vanished',
    record: started,
    finding: absent,
    is: { kind: 'finish', end: { reason: 'REASON_EXECUTOR_TERMINATED' } },
  },
  { name: 'never started', record, finding: absent, is: { kind: 'finish', end: { reason: 'REASON_AGENT_RESTARTED' } } },
  {
    name: 'told before',
    record: { ...started, ended: true as const },
    finding: absent,
    is: { kind: 'finish', report: 'no' },
  },
  {
    name: 'reboot',
    record: { ...started, bootId: 'old' },
    finding: absent,
    is: { kind: 'finish', end: { message: /machine/ } },
  },
]

for (const { name, record: found, finding, is } of recoveries) {
  t.test(`recovery: ${name}`, async (t) => t.match(recoverExecutor(found, finding, 'boot'), is))
}

t.test('one that never subscribes; a kill before it does', async (t) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'weft-executor-'))
  const paths = agentPaths(stateDir)
  const clock = openManualClock()
  const sent: AgentReport[] = []
  const unused = () => Promise.reject(new AppError('ERR_TEST', 'no networks here'))
  let containers: FakeContainerizer | undefined
  const agent = new Agent({
    ...{ paths, clock, bootId: 'boot', log: silentLog, underlay: parseIp('192.0.2.1') },
    network: { prepare: unused, attach: unused, detach: unused },
    identity: openIdentity(paths.identity),
    node: { nodeName: parseNodeName('n1'), resources: noResources, attributes: {} },
    session: { send: (report) => sent.push(report) > 0 },
    openContainerizer: (onExit) => {
      containers = openFakeContainerizer(onExit)
      return containers
    },
  })
  t.teardown(async () => {
    await agent.close()
    rmSync(stateDir, { recursive: true, force: true })
  })
  await agent.recover()
  const ends = () => sent.flatMap((each) => (each.kind === 'update' ? [each.status] : []))
  const until = async (look: () => boolean) => {
    for (let i = 0; i < 4000 && !look(); i++) {
      await clock.advance(0)
      await pause(1)
    }
    return look()
  }
  const task = (id: string, executor = info) => shellTask(id, '', { executor })
  agent.command({ kind: 'launch', frameworkId, tasks: [task('a'), task('b')], term: 1 })
  agent.command({ kind: 'kill', taskId: parseTaskId('a'), graceMs: 1, term: 1 })
  t.ok(await until(() => ends().length === 1))
  t.match(ends(), [{ taskId: 'a', state: 'TASK_KILLED', reason: 'REASON_TASK_KILLED_DURING_LAUNCH' }])
  t.ok(await until(() => containers?.running.size === 1), 'its container runs')
  await clock.advance(60_000)
  t.ok(await until(() => sent.some(({ kind }) => kind === 'executor-ended')))
  t.match(ends().at(-1), { taskId: 'b', state: 'TASK_FAILED', reason: 'REASON_EXECUTOR_REGISTRATION_TIMEOUT' })
  const other = { ...info, id: parseExecutorId('other') }
  agent.command({ kind: 'launch', frameworkId, tasks: [task('c', other)], term: 1 })
  agent.command({ kind: 'kill', taskId: parseTaskId('c'), graceMs: 1, term: 1 })
  t.ok(await until(() => sent.filter(({ kind }) => kind === 'executor-ended').length === 2), 'without tasks it ends')
})
