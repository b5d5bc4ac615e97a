import t from 'tap'
import { silentLog } from '../../core/base/log.ts'
import { type RouteOp, type RouteSocket } from '../../networking/netlink/ops.ts'
import { type AttachKernel } from '../../networking/attach/kernel.ts'
import { sweepAttachments } from '../../networking/node/cni-sweep.ts'
import { buildClients, callPlugin, type CniNode, makeCniNode, testView } from '../support/cni-node.ts'
import { canMakeHosts, type TestHost } from '../support/hosts.ts'

type Env = Readonly<Record<string, string>>

const config = (node: CniNode, name = 'dcos', more: object = {}) => ({
  cniVersion: '1.1.0',
  name,
  type: 'weft',
  socket: node.socketPath,
  ...more,
})

const envOf = (command: string, container: TestHost, more: Env = {}): Env => ({
  CNI_COMMAND: command,
  CNI_CONTAINERID: container.name,
  CNI_NETNS: container.path,
  CNI_IFNAME: 'eth0',
  ...more,
})

const setup = async (t: { teardown(fn: () => unknown): void }, label: string) => {
  const node = makeCniNode(label)
  t.teardown(() => node.remove())
  const [client = ''] = buildClients(node.directory).values()
  return { node, call: (env: Env, input: object | string) => callPlugin(client, env, input) }
}

const pings = (from: TestHost, to: string) => {
  try {
    from.run('ping', '-n', '-c', '1', '-W', '2', to)
    return true
  } catch {
    return false
  }
}

t.test('ADD, CHECK and DEL make, see and take away', { skip: canMakeHosts }, async (t) => {
  const { node, call } = await setup(t, 'basic')
  await node.start()
  const [a, b] = [node.container('a'), node.container('b')]
  const added = await call(envOf('ADD', a), config(node))
  t.match(added, {
    exitCode: 0,
    answer: {
      cniVersion: '1.1.0',
      interfaces: [
        { name: /^wfc[a-z2-7]{12}$/, mac: /^.[26ae]:/, mtu: 1450 },
        { name: 'eth0', mac: /^.[26ae]:/, mtu: 1450, sandbox: a.path },
      ],
      ips: [
        { address: '10.80.1.2/32', gateway: '169.254.1.1', interface: 1 },
        { address: 'fd00:77:0:1::2/128', gateway: 'fe80::1', interface: 1 },
      ],
      routes: [
        { dst: '0.0.0.0/0', gw: '169.254.1.1' },
        { dst: '::/0', gw: 'fe80::1' },
      ],
      dns: { nameservers: ['198.51.100.1'], options: ['ndots:1'] },
    },
  })
  t.equal((await call(envOf('ADD', b), config(node))).exitCode, 0)
  for (const [from, to] of [
    [node.host, '10.80.1.2'],
    [node.host, 'fd00:77:0:1::2'],
    [a, '192.0.2.1'],
    [a, '2001:db8::1'],
    [a, '10.80.1.3'],
    [b, 'fd00:77:0:1::2'],
  ] as const) {
    t.ok(pings(from, to), `${from.name} reaches ${to}`)
  }
  t.notMatch(node.host.run('ip', 'addr'), /10\.80/, 'the node needs no address of the network')

  const check = envOf('CHECK', a)
  const previous = { prevResult: added.answer }
  t.same(await call(check, config(node, 'dcos', previous)), { exitCode: 0, stdout: '', answer: undefined })
  t.match(await call(check, config(node)), { exitCode: 1, answer: { code: 7 } }, 'CHECK needs prevResult')
  a.run('ip', 'route', 'del', 'default')
  node.host.run('ip', 'route', 'del', '10.80.1.2')
  a.run('ip', 'addr', 'del', '10.80.1.2/32', 'dev', 'eth0')
  const broken = await call(check, config(node, 'dcos', previous))
  t.match(broken, { exitCode: 1, answer: { code: 101, msg: /no route to 10.80.1.2\/32.*lacks 10.80.1.2.*0.0.0.0/ } })

  t.match(await call(envOf('ADD', a), config(node)), { exitCode: 1, answer: { code: 100 } }, 'ADD twice')
  t.equal(node.leases().list().length, 2, 'the refused ADD took no lease away')
  for (let i = 0; i < 2; i++) t.equal((await call(envOf('DEL', a), config(node))).exitCode, 0)
  t.throws(() => a.run('ip', 'link', 'show', 'eth0'))
  t.same(
    node
      .leases()
      .list()
      .map(({ container }) => container),
    [b.name],
  )
  t.match(await call(check, config(node, 'dcos', previous)), { exitCode: 1, answer: { code: 3 } })

  const gone = node.container('gone')
  t.equal((await call(envOf('ADD', gone), config(node))).exitCode, 0)
  const withoutNetns = { ...envOf('DEL', gone), CNI_NETNS: '/nonexistent/netns' }
  t.equal((await call(withoutNetns, config(node))).exitCode, 0)
  t.equal((await call({ ...envOf('DEL', b), CNI_NETNS: '' }, config(node))).exitCode, 0)
  t.same([node.leases().list(), node.hostLinks()], [[], []])
})

t.test('static addresses, second interfaces, every version', { skip: canMakeHosts }, async (t) => {
  const { node, call } = await setup(t, 'more')
  await node.start()
  const a = node.container('a')
  const first = { CNI_ARGS: 'IgnoreUnknown=1;IP=10.80.1.77;MAC=02:11:22:33:44:55;K8S_POD_NAME=x' }
  t.match((await call(envOf('ADD', a, first), config(node))).answer, {
    ips: [{ address: '10.80.1.77/32' }, { address: 'fd00:77:0:1::2/128' }],
    interfaces: [{}, { mac: '02:11:22:33:44:55' }],
  })
  const second = await call(envOf('ADD', a, { CNI_IFNAME: 'eth1' }), config(node, 'small'))
  t.match(second.answer, { routes: [{ dst: '10.84.0.0/16', gw: '169.254.1.1' }], interfaces: [{}, { mtu: 1400 }] })
  t.match(a.run('ip', 'route', 'get', '192.0.2.1'), /dev eth0 src 10\.80\.1\.77/)
  t.match(a.run('ip', 'route', 'get', '10.84.9.9'), /dev eth1 src 10\.84\.1\.2/)
  const check = envOf('CHECK', a, { CNI_IFNAME: 'eth1' })
  t.equal((await call(check, config(node, 'small', { prevResult: second.answer }))).exitCode, 0)
  t.equal((await call(envOf('DEL', a), config(node, 'small'))).exitCode, 0, 'DEL on a network it is not on')
  t.ok(pings(node.host, '10.80.1.77'), 'leaves the interface of the other network alone')
  t.equal((await call(envOf('DEL', a, { CNI_IFNAME: 'eth1' }), config(node, 'small'))).exitCode, 0)

  for (const cniVersion of ['0.2.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']) {
    const c = node.container(`v${cniVersion.replaceAll('.', '')}`)
    const outcome = await call(envOf('ADD', c), config(node, 'small', { cniVersion }))
    const address = '10.84.1.'
    if (cniVersion === '0.2.0')
      t.match(outcome.answer, { cniVersion, ip4: { ip: address, routes: [{ dst: '0.0.0.0/0' }] } })
    else t.match(outcome.answer, { cniVersion, ips: [{ address }] })
    t.same(await call(envOf('DEL', c), config(node, 'small', { cniVersion })), {
      exitCode: 0,
      stdout: '',
      answer: undefined,
    })
  }
  const previous = {
    cniVersion: '1.1.0',
    interfaces: [{ name: 'x0' }],
    ips: [{ address: '192.0.2.9/24', interface: 0 }],
  }
  const chained = await call(envOf('ADD', node.container('chain')), config(node, 'small', { prevResult: previous }))
  t.match(chained.answer, {
    interfaces: [{ name: 'x0' }, {}, { name: 'eth0' }],
    ips: [{ interface: 0 }, { interface: 2 }],
  })
})

t.test('GC and STATUS', { skip: canMakeHosts }, async (t) => {
  const { node, call } = await setup(t, 'gc')
  await node.start()
  const containers = ['a', 'b', 'c', 'd', 'e'].map((name) => node.container(name))
  const [a, b] = containers
  if (a === undefined || b === undefined) return
  t.equal((await call({ CNI_COMMAND: 'STATUS' }, config(node, 'small'))).exitCode, 0)
  for (const container of containers) t.equal((await call(envOf('ADD', container), config(node, 'small'))).exitCode, 0)
  const more = node.container('more')
  t.match(await call(envOf('ADD', more), config(node, 'small')), {
    exitCode: 1,
    answer: { code: 11, msg: /10.84.1.0/ },
  })
  t.match(await call({ CNI_COMMAND: 'STATUS' }, config(node, 'small')), { exitCode: 1, answer: { code: 51 } })
  t.match(await call({ CNI_COMMAND: 'STATUS' }, config(node, 'bare')), { exitCode: 1, answer: { code: 50 } })
  t.match(await call(envOf('ADD', more), config(node, 'bare')), { exitCode: 1, answer: { code: 11, msg: /no subnet/ } })
  t.match(await call(envOf('ADD', more), config(node, 'other')), {
    exitCode: 1,
    answer: { code: 11, msg: /no network/ },
  })

  t.equal((await call(envOf('ADD', more), config(node))).exitCode, 0)
  const gc = { CNI_COMMAND: 'GC', CNI_PATH: '/' }
  t.equal((await call(gc, config(node, 'small'))).exitCode, 0)
  t.equal(node.leases().list().length, 6, 'no list: nothing is stale')
  const valid = [
    { containerID: a.name, ifname: 'eth0' },
    { containerID: b.name, ifname: 'eth9' },
  ]
  t.equal((await call(gc, config(node, 'small', { 'cni.dev/valid-attachments': valid }))).exitCode, 0)
  t.same(
    node
      .leases()
      .list()
      .map(({ container }) => container),
    [a.name, more.name],
    'of this network only',
  )
  t.same(node.hostLinks().length, 2)
  t.equal((await call(gc, config(node, 'small', { 'cni.dev/valid-attachments': [] }))).exitCode, 0)
  t.same(
    node
      .leases()
      .list()
      .map(({ network }) => network),
    ['dcos'],
  )
})

t.test('a failure at any step leaves nothing, and a retry works', { skip: canMakeHosts }, async (t) => {
  const { node, call } = await setup(t, 'undo')
  const a = node.container('a')
  const state = () => [node.hostLinks(), a.run('ip', '-o', 'link').split('\n').length, node.leases().list()]
  let failAt = 0
  let step = 0
  const failing = failingKernel(node.kernel, () => ++step === failAt)
  await node.start({ kernel: failing })
  const clean = state()
  for (failAt = 1; failAt < 40; failAt++) {
    step = 0
    const outcome = await call(envOf('ADD', a), config(node))
    if (outcome.exitCode === 0) break
    t.match(outcome.answer, { code: Number, msg: /injected/ })
    t.same(state(), clean, `step ${failAt}`)
  }
  t.ok(failAt > 12, `there were ${failAt - 1} steps to fail`)
  failAt = -1
  t.equal((await call(envOf('DEL', a), config(node))).exitCode, 0)
  t.same(state(), clean)
})

/** Fails the op or settings write that `fails` picks, without performing it. */
function failingKernel(kernel: AttachKernel, fails: () => boolean): AttachKernel {
  const injected = () => new Error('injected')
  const wrap = (socket: RouteSocket): RouteSocket => ({
    ...socket,
    perform: async (ops: readonly RouteOp[]) => {
      const position = ops.findIndex((op) => op.kind !== 'link.del' && fails())
      if (position < 0) return socket.perform(ops)
      const done = await socket.perform(ops.slice(0, position))
      return [...done, { ok: false, error: injected() }]
    },
  })
  return {
    ...kernel,
    host: wrap(kernel.host),
    openInside: (fd) => wrap(kernel.openInside(fd)),
    writeSettings: (where, settings) => {
      if (fails()) throw injected()
      kernel.writeSettings(where, settings)
    },
  }
}

t.test('50 ADDs, then 50 DELs, at once', { skip: canMakeHosts }, async (t) => {
  const { node, call } = await setup(t, 'many')
  await node.start()
  const containers = Array.from({ length: 50 }, (_, i) => node.container(`m${i}`))
  const added = await Promise.all(containers.map((container) => call(envOf('ADD', container), config(node))))
  t.same(
    added.filter(({ exitCode }) => exitCode !== 0),
    [],
  )
  t.equal(new Set(added.map(({ answer }) => JSON.stringify(answer?.['ips']))).size, 50)
  const [first, last] = [containers[0], containers[49]]
  const target =
    node
      .leases()
      .list()
      .find(({ container }) => container === last?.name)?.addresses[0] ?? ''
  t.ok(first !== undefined && pings(first, target))
  const removed = await Promise.all(containers.map((container) => call(envOf('DEL', container), config(node))))
  t.same(
    removed.filter(({ exitCode }) => exitCode !== 0),
    [],
  )
  t.same([node.leases().list(), node.hostLinks()], [[], []])
})

t.test('after a restart', { skip: canMakeHosts }, async (t) => {
  const { node, call } = await setup(t, 'restart')
  await node.start()
  const [a, b] = [node.container('a'), node.container('b')]
  await call(envOf('ADD', a), config(node))
  await call(envOf('ADD', b), config(node))
  const kept = node.leases().list()
  await node.stop()
  t.ok(pings(a, '10.80.1.3'), 'containers need no daemon')
  await node.start()
  t.same(node.leases().list(), kept)
  const deps = { leases: node.leases(), kernel: node.kernel, view: () => testView, log: silentLog }
  const { signal } = new AbortController()
  t.same(await sweepAttachments(deps, { signal }), { leases: 0, links: 0 })
  node.host.run('ip', 'link', 'add', 'wfcaaaaaaaaaaaa', 'type', 'veth', 'peer', 'name', 'wfcother')
  await node.leases().release({ network: 'dcos', container: b.name, ifname: 'eth0' })
  t.same(await sweepAttachments(deps, { signal }), { leases: 0, links: 2 }, 'links without a lease')
  t.same(await sweepAttachments({ ...deps, leases: { ...deps.leases, bootId: 'next' } }, { signal }), {
    leases: 1,
    links: 0,
  })
  t.same([node.leases().list(), node.hostLinks()], [[], []])
})
