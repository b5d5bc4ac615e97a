import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseNetworkList } from '../../cni-plugins/cni/config.ts'
import { addNetwork, checkNetwork, delNetwork, type PluginRunner } from '../../cni-plugins/cni/invoke.ts'
import { pluginRunner } from '../../cni-plugins/cni/runner.ts'
import { type CniNode, makeCniNode } from '../support/cni-node.ts'
import { makeRuntimeFolders, missingProgram } from '../support/cni-runtime.ts'
import { canMakeHosts, type TestHost } from '../support/hosts.ts'

const { signal } = new AbortController()
const reference = '/usr/lib/cni'
const skip =
  canMakeHosts ||
  missingProgram({
    [`${reference}/bridge`]: 'containernetworking-plugins',
    busybox: 'busybox-static',
    iptables: 'iptables',
  })

/** Starts plugins as a runtime on the node would: in the node's namespace. */
function runnerIn(node: CniNode, bin: string): PluginRunner {
  const found = pluginRunner({ directories: [bin, reference], env: {} })
  const run: PluginRunner['run'] = ({ path, env, stdin }) =>
    new Promise((resolve, reject) => {
      const child = spawn('nsenter', [`--net=${node.host.path}`, path], { env: { PATH: process.env['PATH'], ...env } })
      const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []]
      child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
      child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
      child.once('error', reject)
      child.once('close', (code) => {
        resolve({
          exitCode: code ?? 128,
          stdout: Buffer.concat(stdout).toString(),
          stderr: Buffer.concat(stderr).toString(),
        })
      })
      child.stdin.on('error', () => undefined) // EPIPE: it may end without reading
      child.stdin.end(stdin)
    })
  return { ...found, run }
}

const pings = (from: TestHost, to: string) => {
  try {
    from.run('ping', '-n', '-c', '1', '-W', '2', to)
    return true
  } catch {
    return false
  }
}

interface Case {
  readonly name: string
  readonly plugins: (node: CniNode) => readonly object[]
  readonly capabilityArgs?: Readonly<Record<string, unknown>>
  readonly address: RegExp
  /** What the container reaches. */
  readonly reaches: string
  /** Plugins whose CHECK is wrong are not asked: reference/cni.md, portmap on a host with one IP version. */
  readonly checks?: 'disabled'
}

const weft = (node: CniNode, more: object = {}) => ({ type: 'weft', socket: node.socketPath, ...more })
const weftIpam = (node: CniNode) => ({ type: 'weft-ipam', socket: node.socketPath, routes: [{ dst: '0.0.0.0/0' }] })
const hostLocal = (node: CniNode) => ({
  type: 'host-local',
  dataDir: join(node.directory, 'host-local'),
  ranges: [[{ subnet: '10.80.1.0/24', rangeStart: '10.80.1.100', rangeEnd: '10.80.1.120' }]],
})
const mappings = { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] }

const cases: readonly Case[] = [
  {
    name: 'tuning, firewall and portmap after ours',
    plugins: (node) => [
      weft(node),
      { type: 'tuning', sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1' } },
      { type: 'firewall', backend: 'iptables' },
      { type: 'portmap', capabilities: { portMappings: true }, snat: true },
    ],
    capabilityArgs: mappings,
    address: /^10\.80\.1\.\d+$/,
    reaches: '192.0.2.1',
    checks: 'disabled',
  },
  {
    name: 'ours after loopback',
    plugins: (node) => [{ type: 'loopback' }, weft(node)],
    address: /^127\.0\.0\.1$/,
    reaches: '192.0.2.1',
  },
  {
    name: 'bridge with our IPAM',
    plugins: (node) => [{ type: 'bridge', bridge: 'br7', isGateway: true, ipam: weftIpam(node) }],
    address: /^10\.80\.1\.\d+$/,
    reaches: '10.80.1.1',
  },
  {
    name: 'ptp with our IPAM',
    plugins: (node) => [{ type: 'ptp', ipam: weftIpam(node) }],
    address: /^10\.80\.1\.\d+$/,
    reaches: '192.0.2.1',
  },
  {
    name: 'ours with host-local',
    plugins: (node) => [weft(node, { ipam: hostLocal(node) })],
    address: /^10\.80\.1\.1[012]\d$/,
    reaches: '192.0.2.1',
  },
  {
    name: 'ours with static',
    plugins: (node) => [weft(node, { ipam: { type: 'static', addresses: [{ address: '10.80.1.99/24' }] } })],
    address: /^10\.80\.1\.99$/,
    reaches: '192.0.2.1',
  },
]

t.test('with the reference plugins', { skip }, async (t) => {
  const node = makeCniNode('chain')
  t.teardown(() => node.remove())
  await node.start()
  node.host.run('sysctl', '-qw', 'net.ipv4.ip_forward=1')
  const runner = runnerIn(node, makeRuntimeFolders(node).bin)
  for (const { name, plugins, capabilityArgs = {}, address, reaches, checks } of cases) {
    await t.test(name, async (t) => {
      const list = parseNetworkList(JSON.stringify({ cniVersion: '1.0.0', name: 'dcos', plugins: plugins(node) }))
      const box = node.container('box')
      const attachment = { containerId: box.name, ifname: 'eth0', netns: box.path, capabilityArgs }
      const result = await addNetwork(runner, { list, attachment }, { signal })
      t.match(result.ips[0]?.address, address)
      t.ok(pings(box, reaches), `the container reaches ${reaches}`)
      t.equal(node.leases().list().length, 1)
      if (checks !== 'disabled') await checkNetwork(runner, { list, attachment, prevResult: result }, { signal })
      for (let i = 0; i < 2; i++) await delNetwork(runner, { list, attachment, prevResult: result }, { signal })
      t.same([node.leases().list(), node.hostLinks()], [[], []])
      t.throws(() => box.run('ip', 'link', 'show', 'eth0'), 'the interface is gone')
    })
  }
  const kept = join(node.directory, 'host-local', 'dcos')
  t.same(
    existsSync(kept) ? readdirSync(kept).filter((file) => file.startsWith('10.')) : [],
    [],
    'host-local has nothing left',
  )
})

t.test('an IPAM plugin that fails leaves nothing', { skip }, async (t) => {
  const node = makeCniNode('ipam')
  t.teardown(() => node.remove())
  await node.start()
  const runner = runnerIn(node, makeRuntimeFolders(node).bin)
  const box = node.container('box')
  const attachment = { containerId: box.name, ifname: 'eth0', netns: box.path }
  const listOf = (ipam: object) =>
    parseNetworkList(JSON.stringify({ cniVersion: '1.0.0', name: 'dcos', plugins: [weft(node, { ipam })] }))
  for (const [ipam, cniCode] of [
    [{ type: 'static', addresses: [{ address: 'nonsense' }] }, 999],
    [{ type: 'no-such-ipam' }, 7],
    [{ type: '../static' }, 2],
    [{ ...hostLocal(node), ranges: 'x' }, 999],
    [{ type: 'host-local', dataDir: '/proc/none', subnet: '10.80.1.0/24' }, 999],
  ] as const) {
    await t.rejects(
      addNetwork(runner, { list: listOf(ipam), attachment }, { signal }),
      {
        code: 'ERR_CNI_PLUGIN',
        details: { cniCode },
      },
      `${JSON.stringify(ipam)} ${cniCode}`,
    )
    t.same(node.hostLinks(), [])
  }
  // The address is given, then the interface cannot be made: both must go.
  box.run('ip', 'link', 'add', 'eth0', 'type', 'bridge')
  await t.rejects(addNetwork(runner, { list: listOf(hostLocal(node)), attachment }, { signal }), {
    code: 'ERR_CNI_PLUGIN',
    details: { cniCode: 100 },
  })
  box.run('ip', 'link', 'del', 'eth0')
  t.same(node.leases().list(), [])
  const files = readdirSync(join(node.directory, 'host-local', 'dcos')).filter((file) => file.startsWith('10.'))
  t.same(files, [], "host-local's address came back")
  const list = listOf(hostLocal(node))
  const result = await addNetwork(runner, { list, attachment }, { signal })
  await delNetwork(runner, { list, attachment, prevResult: result }, { signal })
  t.same([node.leases().list(), node.hostLinks()], [[], []])
})
