import t from 'tap'
import { ociSpec, findUser, commandArgv, type SpecInput } from '../../core/agent/containerizer/spec.ts'
import { containerHostname, hostsText, resolvConfText } from '../../core/agent/containerizer/files.ts'
import { type ContainerFinding } from '../../core/agent/containerizer/containerizer.ts'
import { initialHealth, stepHealth } from '../../core/agent/health/step.ts'
import { parseAgentFlags, parseAttributes } from '../../core/agent/options.ts'
import { parseOwnResources } from '../../core/agent/resource-flags.ts'
import { foldRecord, isForgettable, latestStatus, type TaskEvent } from '../../core/agent/record.ts'
import { recoverTask } from '../../core/agent/recovery.ts'
import { endOfContainer, endOfLaunch } from '../../core/agent/end-status.ts'
import { expiredSandboxes } from '../../core/agent/sandboxes.ts'
import { retryDelayMs } from '../../core/agent/updates.ts'
import { parseIp } from '../../core/base/ip.ts'
import { parseFrameworkId } from '../../core/model/ids.ts'
import { type HealthCheck, type TaskState, type TaskStatus } from '../../core/model/task.ts'
import { shellTask } from '../support/agent-process.ts'

const frameworkId = parseFrameworkId('f-0000')
const host = {
  directories: ['/usr', '/etc', '/var'],
  scratch: ['/tmp', '/run'],
  hidden: [],
  passwd: 'root:x:0:0::/root:\nnobody:x:65534:65534::/:\n',
}
const input: SpecInput = {
  containerId: 'web-1234',
  frameworkId,
  info: shellTask('web', 'serve', {
    command: { shell: true, value: 'serve', arguments: [], env: { A: '1', MESOS_TASK_ID: 'forged' } },
  }),
  host: { ...host, hidden: ['/var/lib/weft', '/tmp/elsewhere'] },
  user: { uid: 0, gid: 0 },
  rootfs: '/state/rootfs',
  sandbox: '/state/sandboxes/web-1234',
  hostname: 'web-1234',
  netns: '/state/netns/web-1234',
  address: parseIp('10.80.0.5'),
  files: [{ source: '/state/hosts', destination: '/etc/hosts' }],
  cgroupPath: '/weft-n-1/web-1234',
  limits: 'cgroup',
}

t.test('OCI configuration', async (t) => {
  const { process, mounts, linux, root } = ociSpec(input)
  t.same(process.args.slice(3), ['weft-init', '/bin/sh', '-c', 'serve'])
  t.ok(process.env.includes('A=1') && process.env.includes('MESOS_TASK_ID=web'), 'our variables win')
  t.ok(process.env.includes('MESOS_CONTAINER_IP=10.80.0.5'))
  t.same(root, { path: '/state/rootfs', readonly: true })
  const at = (path: string) => mounts.findIndex(({ destination }) => destination === path)
  t.match(mounts[at('/usr')], { source: '/usr', options: ['bind', 'ro', 'nosuid', 'nodev', 'private'] })
  t.match(mounts[at('/mnt/mesos/sandbox')], {
    source: input.sandbox,
    options: ['bind', 'rw', 'nosuid', 'nodev', 'private'],
  })
  t.ok(at('/etc/hosts') > at('/etc') && at('/var/lib/weft') > at('/var'), 'a mount point is there before its mount')
  t.equal(at('/tmp/elsewhere'), -1, 'what is not seen needs no cover')
  t.match(linux, {
    cgroupsPath: '/weft-n-1/web-1234',
    resources: { memory: { limit: 64 * 1024 * 1024 }, cpu: { shares: 512 } },
    namespaces: [
      { type: 'pid' },
      { type: 'ipc' },
      { type: 'uts' },
      { type: 'mount' },
      { type: 'cgroup' },
      { type: 'network', path: input.netns },
    ],
  })
  t.notOk('resources' in ociSpec({ ...input, limits: 'none' }).linux)
  t.same(findUser('nobody', host.passwd), { uid: 65534, gid: 65534 })
  t.same(findUser('65534', host.passwd), { uid: 65534, gid: 65534 })
  t.same(findUser(undefined, ''), { uid: 0, gid: 0 })
  t.throws(() => findUser('ghost', host.passwd), { code: 'ERR_AGENT_USER' })
  const argv = (value: string, ...args: string[]) => commandArgv({ shell: false, value, arguments: args, env: {} })
  t.same(argv('/bin/x', 'x', '-a'), ['/bin/x', '-a'])
  t.same(argv('', '/bin/x', '-a'), ['/bin/x', '-a'])
  t.throws(() => argv(''), { code: 'ERR_AGENT_COMMAND' })
})

t.test('files of a container', async (t) => {
  t.equal(
    hostsText('web', [parseIp('10.0.0.1')]),
    '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n10.0.0.1 web\n',
  )
  const dns = { nameservers: ['198.51.100.1'], domain: 'd', search: ['a', 'b'], options: ['ndots:1'] }
  t.equal(resolvConfText(dns), 'domain d\nsearch a b\nnameserver 198.51.100.1\noptions ndots:1\n')
  t.equal(containerHostname('app_web.Instance-1.ab12'), 'app-web-instance-1-ab12')
  t.ok(containerHostname(`${'x'.repeat(60)}_${'y'.repeat(10)}`).length <= 63)
})

const check = {
  probe: { kind: 'tcp', port: 1 },
  gracePeriodMs: 1000,
  intervalMs: 400,
  timeoutMs: 100,
  maxConsecutiveFailures: 2,
  firstRetryMs: 10,
} as const satisfies HealthCheck & { firstRetryMs: number }

/** Each probe: time, passed or failed; what it must lead to: report, wait in ms or kill. */
const healthCases: readonly {
  readonly name: string
  readonly healthy?: boolean
  readonly change?: Partial<HealthCheck>
  readonly probes: readonly (readonly [number, 'passed' | 'failed', string])[]
}[] = [
  {
    name: 'quick tries double up to the interval',
    probes: [
      [0, 'failed', '10'],
      [10, 'failed', '20'],
      [30, 'failed', '40'],
      [70, 'failed', '80'],
      [150, 'failed', '160'],
      [310, 'failed', '320'],
      [630, 'failed', '400'],
      [700, 'passed', 'healthy 400'],
      [1100, 'passed', '400'],
    ],
  },
  {
    name: 'failures count after the grace, once an interval',
    probes: [
      [999, 'failed', '10'],
      [1000, 'failed', 'unhealthy 20'],
      [1020, 'failed', '40'],
      [1399, 'failed', '80'],
      [1400, 'failed', 'kill'],
    ],
  },
  {
    name: 'no grace: quick tries do not use up the failures',
    change: { gracePeriodMs: 0 },
    probes: [
      [0, 'failed', '10'],
      [10, 'failed', '20'],
      [30, 'failed', '40'],
      [400, 'failed', 'unhealthy 80'],
      [480, 'failed', '160'],
      [800, 'failed', 'kill'],
    ],
  },
  {
    name: 'after a success the grace is over',
    probes: [
      [0, 'passed', 'healthy 400'],
      [400, 'failed', 'unhealthy 400'],
      [800, 'passed', 'healthy 400'],
      [1200, 'failed', 'unhealthy 400'],
      [1600, 'failed', 'kill'],
    ],
  },
  {
    name: '0: reported, never killed',
    change: { maxConsecutiveFailures: 0 },
    probes: [
      [0, 'passed', 'healthy 400'],
      [400, 'failed', 'unhealthy 400'],
      [800, 'failed', '400'],
      [1200, 'failed', '400'],
    ],
  },
  {
    name: 'goes on where an earlier agent stopped',
    healthy: true,
    probes: [
      [0, 'failed', 'unhealthy 400'],
      [400, 'failed', 'kill'],
    ],
  },
]

t.test('health', async (t) => {
  for (const { name, change, healthy, probes } of healthCases) {
    let state = initialHealth(0, healthy)
    const results = probes.map(([atMs, kind]) => {
      const step = stepHealth({ ...check, ...change }, state, { kind, atMs })
      state = step.state
      const next = step.next.kind === 'kill' ? 'kill' : `${step.next.inMs}`
      return step.next.kind === 'kill' || step.report === undefined ? next : `${step.report} ${next}`
    })
    t.same(
      results,
      probes.map(([, , want]) => want),
      name,
    )
  }
})

const accepted: TaskEvent = {
  kind: 'accepted',
  frameworkId,
  info: shellTask('t', 'x'),
  containerId: 't-1',
  bootId: 'boot',
  atMs: 1,
}
const status = (state: TaskState, uuid: string): TaskEvent => ({
  kind: 'status',
  status: {
    taskId: shellTask('t', '').taskId,
    state,
    source: 'AGENT',
    timestampMs: 2,
    uuid,
    networks: [],
  } satisfies TaskStatus,
})
const attached: TaskEvent = { kind: 'attached', results: [], networks: [] }
const attaching: TaskEvent = {
  kind: 'attaching',
  attachments: [{ network: 'n', ifName: 'eth0', config: '{}', portMappings: [] }],
}
const exit = (code?: number): ContainerFinding => ({
  kind: 'exited',
  exit: { containerId: 't-1', outOfMemory: false, ...(code === undefined ? {} : { status: code }) },
})
const running: ContainerFinding = { kind: 'running', pid: 9 }
const absent: ContainerFinding = { kind: 'absent' }

t.test('records and recovery', async (t) => {
  const cases = [
    {
      name: 'runs',
      events: [accepted, attached, status('TASK_RUNNING', 'a')],
      finding: running,
      want: { kind: 'adopt', announce: false },
    },
    {
      name: 'runs, nobody told',
      events: [accepted, attached],
      finding: running,
      want: { kind: 'adopt', announce: true },
    },
    {
      name: 'runs, addresses lost',
      events: [accepted, attaching],
      finding: running,
      want: { kind: 'abandon', end: { state: 'TASK_LOST' } },
    },
    {
      name: 'ended meanwhile',
      events: [accepted, attached, status('TASK_RUNNING', 'a')],
      finding: exit(3),
      want: { kind: 'finish', exit: { status: 3 } },
    },
    {
      name: 'launch interrupted',
      events: [accepted],
      finding: absent,
      want: { kind: 'abandon', end: { state: 'TASK_LOST', reason: 'REASON_AGENT_RESTARTED' } },
    },
    {
      name: 'vanished',
      events: [accepted, attached, status('TASK_RUNNING', 'a')],
      finding: absent,
      want: { kind: 'abandon', end: { state: 'TASK_FAILED' } },
    },
    {
      name: 'rebooted',
      boot: 'other',
      events: [accepted, attached, status('TASK_RUNNING', 'a')],
      finding: exit(),
      want: { kind: 'abandon', end: { state: 'TASK_FAILED', message: 'the machine was restarted' } },
    },
    {
      name: 'a pid of another boot',
      boot: 'other',
      events: [accepted, attached],
      finding: running,
      want: { kind: 'abandon' },
    },
    {
      name: 'ended, then rebooted',
      boot: 'other',
      events: [accepted, attached],
      finding: exit(0),
      want: { kind: 'finish', exit: { status: 0 } },
    },
    {
      name: 'ended, not cleaned',
      events: [accepted, status('TASK_FAILED', 'a'), { kind: 'acknowledged', uuid: 'a' }],
      finding: absent,
      want: { kind: 'clean' },
    },
    {
      name: 'cleaned, not acknowledged',
      events: [accepted, status('TASK_FAILED', 'a'), { kind: 'cleaned' }],
      finding: absent,
      want: { kind: 'clean' },
    },
    {
      name: 'done',
      events: [accepted, status('TASK_FAILED', 'a'), { kind: 'acknowledged', uuid: 'a' }, { kind: 'cleaned' }],
      finding: absent,
      want: { kind: 'forget' },
    },
  ] as const satisfies readonly {
    name: string
    boot?: string
    events: readonly TaskEvent[]
    finding: ContainerFinding
    want: unknown
  }[]
  for (const each of cases) {
    const record = foldRecord(each.events)
    t.match(record && recoverTask(record, each.finding, 'boot' in each ? each.boot : 'boot'), each.want, each.name)
  }
  t.equal(foldRecord([status('TASK_RUNNING', 'a')]), undefined, 'a journal without acceptance is nothing')
  const two = foldRecord([
    accepted,
    status('TASK_RUNNING', 'a'),
    status('TASK_FAILED', 'b'),
    { kind: 'acknowledged', uuid: 'a' },
    { kind: 'health', healthy: false },
  ])
  t.same(
    two?.unacknowledged.map(({ uuid }) => uuid),
    ['b'],
  )
  t.equal(two && latestStatus(two).healthy, false)
  t.equal(two && isForgettable(two), false)
  const staged = foldRecord([accepted])
  t.equal(staged && latestStatus(staged).state, 'TASK_STAGING')
  const killed = foldRecord([accepted, { kind: 'killing', cause: { kind: 'asked' }, graceMs: 1 }, accepted])
  t.equal(
    killed && endOfLaunch(killed, '').reason,
    'REASON_TASK_KILLED_DURING_LAUNCH',
    'an acceptance takes no kill back',
  )
  t.equal(killed && endOfContainer(killed, { containerId: 't-1', status: 0, outOfMemory: false }).state, 'TASK_KILLED')
  const memory = staged && endOfContainer(staged, { containerId: 't-1', status: 137, outOfMemory: true })
  t.equal(memory?.reason, 'REASON_CONTAINER_LIMITATION_MEMORY')
  t.same([0, 1, 2, 5, 6, 7, 50].map(retryDelayMs), [10_000, 20_000, 40_000, 320_000, 600_000, 600_000, 600_000])
})

t.test('sandboxes', async (t) => {
  const day = 24 * 3_600_000
  const ages = [8 * day, 6 * day, 0]
  const sandboxes = ages.map((age, index) => ({ name: `s${index}`, changedAtMs: 100 * day - age }))
  t.same(expiredSandboxes(sandboxes, 100 * day), ['s0'])
  const many = Array.from({ length: 502 }, (_, index) => ({ name: `s${index}`, changedAtMs: index }))
  t.same(expiredSandboxes(many, 502), ['s1', 's0'], 'the oldest go')
})

t.test('options', async (t) => {
  t.same(parseOwnResources('cpus:2.5;mem:1024;disk:4096;ports:[31000-31999,32001-32002]').resources, {
    ...{ cpuMillis: 2500, memMb: 1024, diskMb: 4096 },
    ports: [
      { begin: 31000, end: 31999 },
      { begin: 32001, end: 32002 },
    ],
  })
  const web = { kind: 'static', role: 'web/a', resources: { cpuMillis: 1000, memMb: 0, diskMb: 7, ports: [] } }
  const some = 'cpus(web/a):1;cpus:2;disk(web/a):7;mem:64'
  t.match(parseOwnResources(some), { resources: { cpuMillis: 3000, diskMb: 7 }, reserved: [web] })
  t.match(parseOwnResources(some, 'slave_public').reserved, [
    web,
    { role: 'slave_public', resources: { cpuMillis: 2000, memMb: 64 } },
  ])
  t.same(parseOwnResources('cpus:1', '*').reserved, [])
  t.same(parseAttributes('rack:a;zone:b:c'), { rack: 'a', zone: 'b:c' })
  const good = {
    ...{ 'state-dir': '/s/', 'node-name': 'n1', underlay: '192.0.2.1', master: '192.0.2.9:5050,192.0.2.8:5050' },
    ...{ resources: 'cpus:1', 'cni-bin-dir': '/a:/b', 'cni-conf-dir': '/c' },
  }
  const flags = (change: Readonly<Record<string, string | undefined>>) =>
    parseAgentFlags(
      Object.entries({ ...good, ...change }).flatMap(([key, value]) =>
        value === undefined ? [] : [`--${key}`, value],
      ),
    )
  t.match(flags({}), {
    stateDir: '/s',
    masters: ['192.0.2.9:5050', '192.0.2.8:5050'],
    cniBinDirs: ['/a', '/b'],
    logLevel: 'info',
  })
  const bad: readonly Readonly<Record<string, string | undefined>>[] = [
    ...Object.keys(good).map((key) => ({ [key]: undefined })),
    ...[
      { 'state-dir': 'relative' },
      { 'node-name': 'UPPER' },
      { underlay: 'host' },
      { master: 'host' },
      { master: 'a:1,b' },
    ],
    ...[{ resources: 'cpus(a b):1' }, { 'default-role': '../x' }, { resources: 'cpus(:1' }],
    ...[{ resources: 'gpus:1' }, { resources: 'cpus:many' }, { resources: 'ports:1-2' }, { resources: 'ports:[9-1]' }],
    ...[
      { resources: 'ports:[0-70000]' },
      { attributes: 'novalue' },
      { 'log-level': 'loud' },
      { dns: 'x' },
      { nonsense: 'x' },
    ],
  ]
  for (const change of bad) t.throws(() => flags(change), { code: 'ERR_AGENT_OPTION' }, JSON.stringify(change))
})
