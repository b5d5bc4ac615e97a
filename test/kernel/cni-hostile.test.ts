import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseNetworkList } from '../../cni-plugins/cni/config.ts'
import { addNetwork, checkNetwork, delNetwork } from '../../cni-plugins/cni/invoke.ts'
import { pluginRunner } from '../../cni-plugins/cni/runner.ts'
import { silentLog } from '../../core/base/log.ts'
import { cniHandler } from '../../networking/node/cni-handler.ts'
import { type PortMapper } from '../../networking/node/cni-view.ts'
import { buildClients, makeCniNode, testView } from '../support/cni-node.ts'
import { canMakeHosts } from '../support/hosts.ts'

const { signal } = new AbortController()

t.test('hostile ADDs change nothing', { skip: canMakeHosts }, async (t) => {
  const node = makeCniNode('hostile')
  t.teardown(() => node.remove())
  await node.start()
  const handler = cniHandler({ leases: node.leases(), kernel: node.kernel, view: () => testView, log: silentLog })
  const box = node.container('box')
  const path = (name: string) => join(node.directory, name)
  writeFileSync(path('file'), '')
  mkdirSync(path('folder'))
  symlinkSync(path('file'), path('link'))
  symlinkSync(path('loop'), path('loop'))
  symlinkSync(box.path, path('good-link'))
  execFileSync('mkfifo', [path('fifo')])
  const netns: readonly (readonly [string, number])[] = [
    [path('missing'), 3],
    [path('file/under'), 3],
    [path('file'), 4],
    [path('folder'), 4],
    [path('link'), 4],
    [path('loop'), 4],
    [path('fifo'), 4],
    ['/dev/null', 4],
    ['relative/path', 4],
    ['/proc/self/ns/net', 4],
    [`/proc/${process.pid}/ns/net`, 4],
    ['/proc/1/ns/net', 4],
    ['/proc/self/ns/mnt', 4],
    ['/proc/self/ns/pid', 4],
    ['/proc/self/status', 4],
    [node.host.path, 4],
    [`/${'x'.repeat(5000)}`, 4],
  ]
  const configs: readonly (readonly [object, number])[] = [
    [{ name: 'host' }, 7],
    [{ name: 'UPPER' }, 7],
    [{ name: 'a-name-that-is-too-long' }, 7],
    [{ ipam: { type: 'host-local' } }, 2],
    [{ ipam: 'x' }, 6],
    [{ runtimeConfig: { ips: ['10.80.1.1'] } }, 7],
    [{ runtimeConfig: { ips: ['10.80.1.255'] } }, 7],
    [{ runtimeConfig: { ips: ['192.0.2.7'] } }, 7],
    [{ runtimeConfig: { ips: ['10.80.1.7', '10.80.1.8'] } }, 7],
    [{ runtimeConfig: { portMappings: [{ hostPort: 70000 }] } }, 2],
    [{ runtimeConfig: { portMappings: ['80'] } }, 6],
  ]
  const links = () => [
    node.host.run('ip', '-o', 'link'),
    box.run('ip', '-o', 'link'),
    /wfc\w+/.exec(readFileSync('/proc/net/dev', 'utf8')),
  ]
  const before = links()
  const call = (CNI_NETNS: string, more: object) =>
    handler(
      {
        env: { CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS },
        stdin: JSON.stringify({ cniVersion: '1.0.0', name: 'dcos', ...more }),
      },
      { signal },
    )
  const cases = [
    ...netns.map(([file, code]) => ({ file, code, more: {} })),
    ...configs.map(([more, code]) => ({ file: box.path, code, more })),
  ]
  for (const { file, code, more } of cases) {
    const { exitCode, stdout } = await call(file, more)
    t.match(
      { exitCode, answer: JSON.parse(stdout) },
      { exitCode: 1, answer: { code, cniVersion: '1.0.0' } },
      {
        name: `${file} ${JSON.stringify(more)}`.slice(0, 120),
      },
    )
    if (node.leases().list().length > 0) t.fail('a lease was left')
  }
  t.same(links(), before)

  box.run('ip', 'link', 'add', 'eth0', 'type', 'bridge')
  t.match(JSON.parse((await call(box.path, {})).stdout), { code: 100 }, 'an interface of somebody else')
  t.same(node.leases().list(), [])
  box.run('ip', 'link', 'del', 'eth0')
  t.equal((await call(path('good-link'), {})).exitCode, 0, 'a link to a namespace will do')
})

t.test('one id from many sides at once', { skip: canMakeHosts }, async (t) => {
  const node = makeCniNode('same')
  t.teardown(() => node.remove())
  await node.start()
  const log: string[] = []
  const portMapper: PortMapper = {
    add: async ({ container }, addresses, mappings) => {
      log.push(`add ${container} ${addresses[0]} ${JSON.stringify(mappings)}`)
      if (mappings.length > 1) throw new Error('no such port')
    },
    remove: async ({ container }) => void log.push(`remove ${container}`),
  }
  const handler = cniHandler({
    leases: node.leases(),
    kernel: node.kernel,
    view: () => testView,
    log: silentLog,
    portMapper,
  })
  const box = node.container('box')
  const call = (CNI_COMMAND: string, ...portMappings: readonly object[]) =>
    handler(
      {
        env: { CNI_COMMAND, CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS: box.path },
        stdin: JSON.stringify({ cniVersion: '1.0.0', name: 'dcos', runtimeConfig: { portMappings } }),
      },
      { signal },
    )
  const outcomes = await Promise.all(Array.from({ length: 20 }, () => call('ADD')))
  t.equal(outcomes.filter(({ exitCode }) => exitCode === 0).length, 1)
  t.ok(outcomes.filter(({ exitCode }) => exitCode !== 0).every(({ stdout }) => JSON.parse(stdout).code === 100))
  await Promise.all(Array.from({ length: 30 }, (_, i) => call(i % 2 === 0 ? 'DEL' : 'ADD')))
  await call('DEL')
  t.same([node.leases().list(), node.hostLinks()], [[], []])

  log.length = 0
  const mapping = { hostPort: 8080, containerPort: 80, protocol: 'udp', hostIP: '127.0.0.1' }
  t.equal((await call('ADD', { containerPort: 80 }, { hostPort: 0, containerPort: 81 }, mapping)).exitCode, 0)
  await call('DEL')
  t.match(
    log[0],
    /^add c1 10\.80\.1\.\d+ \[{"hostPort":8080,"containerPort":80,"protocol":"udp","hostIp":"127.0.0.1"}\]$/,
  )
  t.same(log.slice(1), ['remove c1'])
  t.match(JSON.parse((await call('ADD', mapping, { ...mapping, hostPort: 8081 })).stdout), {
    code: 999,
    msg: 'no such port',
  })
  t.same([node.leases().list(), node.hostLinks()], [[], []], 'a failed mapping undoes all')
})

t.test('a runtime invokes the plugin', { skip: canMakeHosts }, async (t) => {
  const node = makeCniNode('runtime')
  t.teardown(() => node.remove())
  await node.start()
  for (const [type] of [...buildClients(node.directory)].map(([name]) => [`weft-${name}`] as const)) {
    const runner = pluginRunner({ directories: ['/nonexistent', node.directory], env: { PATH: process.env['PATH'] } })
    const list = parseNetworkList(
      JSON.stringify({ cniVersion: '1.0.0', name: 'dcos', plugins: [{ type, socket: node.socketPath }] }),
    )
    const box = node.container('box')
    const attachment = { containerId: box.name, ifname: 'eth0', netns: box.path }
    const result = await addNetwork(runner, { list, attachment }, { signal })
    t.match(result, {
      ips: [{ address: /^10\.80\.1\./ }, { address: /^fd00:/ }],
      dns: { nameservers: ['198.51.100.1'] },
    })
    await checkNetwork(runner, { list, attachment, prevResult: result }, { signal })
    await t.rejects(addNetwork(runner, { list, attachment }, { signal }), {
      code: 'ERR_CNI_PLUGIN',
      details: { cniCode: 100 },
    })
    await delNetwork(runner, { list, attachment, prevResult: result }, { signal })
    const missing = parseNetworkList('{"cniVersion":"1.0.0","name":"x","type":"no-such-plugin"}')
    await t.rejects(addNetwork(runner, { list: missing, attachment }, { signal }), { code: 'ERR_CNI_PLUGIN_MISSING' })
    await t.rejects(addNetwork(runner, { list, attachment }, { signal: AbortSignal.abort() }), { name: 'AbortError' })
  }
  t.same(node.leases().list(), [])
})
