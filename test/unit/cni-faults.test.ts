import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { pluginRunner } from '../../cni-plugins/cni/runner.ts'
import { silentLog } from '../../core/base/log.ts'
import { type AttachKernel } from '../../networking/attach/kernel.ts'
import { openLeases } from '../../networking/ipam/leases.ts'
import { cniHandler } from '../../networking/node/cni-handler.ts'
import { openFakeRouteSocket } from '../support/fake-route-socket.ts'
import { testView } from '../support/cni-node.ts'

type Case = readonly [code: number, more: object, env?: Readonly<Record<string, string>>, command?: string]

const runtime = (runtimeConfig: object, code = 2): Case => [code, { runtimeConfig }]
const mapped = (entry: object, code = 2) => runtime({ portMappings: [entry] }, code)
const ranged = (range: unknown, code = 2) => runtime({ ipRanges: [[range]] }, code)
const mesos = (info: unknown, code = 2): Case => [code, { args: { 'org.apache.mesos': { network_info: info } } }]
const argued = (CNI_ARGS: string, code = 4): Case => [code, {}, { CNI_ARGS }]
const gc = (more: object, code = 6): Case => [code, { cniVersion: '1.1.0', ...more }, {}, 'GC']
const ok = { hostPort: 80, containerPort: 80 }
const deep = JSON.parse(`${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`)

const cases: readonly Case[] = [
  mapped({ hostPort: -1, containerPort: 80 }),
  mapped({ hostPort: 65536, containerPort: 80 }),
  mapped({ hostPort: 80, containerPort: 65536 }),
  mapped({ hostPort: 80, containerPort: 1e300 }, 6),
  mapped({ hostPort: 80.5, containerPort: 80 }, 6),
  mapped({ hostPort: '80', containerPort: 80 }, 6),
  mapped({ hostPort: 80 }),
  mapped({ hostPort: 80, containerPort: 0 }),
  mapped({ ...ok, protocol: 'icmp' }),
  mapped({ ...ok, protocol: 'tcp,udp' }),
  mapped({ ...ok, protocol: 7 }, 6),
  mapped({ ...ok, hostIP: 'localhost' }),
  mapped({ ...ok, hostIP: '10.0.0.0/8' }),
  mapped({ ...ok, hostIP: 'fe80::1%eth0' }),
  mapped({ ...ok, hostIP: '1.2.3.4; reboot' }),
  runtime({ portMappings: [ok, ok] }),
  runtime({ portMappings: [ok, { ...ok, hostIP: '0.0.0.0' }] }),
  runtime({ portMappings: {} }, 6),
  runtime({ portMappings: [null] }, 6),
  runtime({ bandwidth: [] }, 6),
  runtime({ bandwidth: { ingressRate: '1' } }, 6),
  runtime({ bandwidth: { ingressRate: -1, ingressBurst: 1 } }),
  runtime({ bandwidth: { ingressRate: 1 } }),
  runtime({ bandwidth: { ingressBurst: 1 } }),
  runtime({ bandwidth: { egressRate: 8, egressBurst: 2 ** 40 } }),
  runtime({ bandwidth: { egressRate: 1.5, egressBurst: 1 } }, 6),
  runtime({ bandwidth: { egressRate: 2 ** 60, egressBurst: 1 } }, 6),
  runtime({ dns: 'x' }, 6),
  runtime({ dns: { servers: ['resolver'] } }),
  runtime({ dns: { servers: '1.1.1.1' } }, 6),
  runtime({ dns: { servers: ['192.0.2.1\nnameserver 192.0.2.2'] } }),
  runtime({ dns: { searches: ['a b'] } }),
  runtime({ dns: { searches: ['a\noptions x'] } }),
  runtime({ dns: { searches: ['x'.repeat(300)] } }),
  runtime({ dns: { options: ['ndots: 1'] } }),
  runtime({ aliases: 'db' }, 6),
  runtime({ aliases: [7] }, 6),
  runtime({ aliases: ['a b'] }),
  runtime({ aliases: ['-a'] }),
  runtime({ aliases: ['x'.repeat(64)] }),
  runtime({ aliases: ['a/../b'] }),
  runtime({ aliases: { dcos: 'db' } }, 6),
  runtime({ ipRanges: {} }, 6),
  runtime({ ipRanges: ['x'] }, 6),
  ranged('10.80.1.0/24', 6),
  ranged({}),
  ranged({ subnet: '10.80.1.0' }),
  ranged({ subnet: '10.80.1.0/33' }),
  ranged({ subnet: '10.80.1.0/24', rangeStart: '10.80.2.1' }),
  ranged({ subnet: '10.80.1.0/24', rangeStart: 'fd00::1' }),
  ranged({ subnet: '10.80.1.0/24', rangeStart: '10.80.1.9', rangeEnd: '10.80.1.8' }),
  ranged({ subnet: '10.80.1.0/24', rangeEnd: 'last' }),
  runtime({ ips: ['10.80.1.7/abc'] }),
  runtime({ ips: ['10.80.1.7/1234'] }),
  runtime({ ips: { 0: '10.80.1.7' } }, 6),
  runtime({ mac: '02:00:00:00:00' }),
  runtime({ mac: 'ff:ff:ff:ff:ff:ff' }),
  runtime({ mac: 2 }, 6),
  mesos('x', 6),
  mesos({ ip_addresses: [{ ip_address: 'dhcp' }] }),
  mesos({ ip_addresses: 'x' }, 6),
  mesos({ port_mappings: [{ host_port: 70000, container_port: 1 }] }),
  mesos({ port_mappings: [{ host_port: 70 }] }),
  [6, { args: { 'org.apache.mesos': [] } }],
  [6, { args: { cni: 'IP=1' } }],
  argued('IP=10.80.1.7,'),
  argued('IP=10.80.1.7;MAC=zz'),
  argued('IgnoreUnknown=1;K8S'),
  argued('K8S_POD_NAME=x;IgnoreUnknown=yes'),
  argued(';;=;'),
  [2, { ipam: { type: '../evil' } }],
  [2, { ipam: { type: 'host-local' } }, { CNI_PATH: '' }],
  [2, { ipam: { type: 'host-local' } }, { CNI_PATH: 'relative:.' }],
  [7, { ipam: { type: 'no-such-plugin' } }, { CNI_PATH: '/nonexistent' }],
  [6, { ipam: { type: 7 } }],
  [6, { ipam: [] }],
  [6, { dns: { nameservers: 'x' } }],
  [11, { name: 'nowhere' }],
  [11, { name: 'bare' }],
  [1, { cniVersion: '1.2.0' }],
  [1, { cniVersion: ['1.0.0'] }],
  [6, { prevResult: { interfaces: 'x' } }],
  [6, { prevResult: { interfaces: [{ name: 7 }] } }],
  [6, { prevResult: { ips: [{ address: '300.1.1.1/8' }] } }],
  [6, { prevResult: { dns: { search: 'x' } } }],
  [3, { deep }],
  [3, { padding: 'x'.repeat(500_000) }],
  [4, {}, { CNI_IFNAME: '$(reboot)xxxxxxxxx' }],
  [4, {}, { CNI_CONTAINERID: 'a;b' }],
  [4, {}, { CNI_NETNS: 'file:///run/netns/x' }],
  [3, { prevResult: { ips: [] } }, {}, 'CHECK'],
  [4, {}, {}, 'REMOVE'],
  gc({ 'cni.dev/valid-attachments': 'all' }),
  gc({ 'cni.dev/valid-attachments': [null] }),
  gc({ 'cni.dev/valid-attachments': [{ containerID: 7, ifname: 'eth0' }] }),
  gc({ 'cni.dev/attachments': [{ ifname: 'eth0' }] }),
  [50, { cniVersion: '1.1.0', name: 'nowhere' }, {}, 'STATUS'],
  [7, { cniVersion: '1.1.0', name: 'NOT A NAME' }, {}, 'STATUS'],
]

t.test('every fault has its code, and changes nothing', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'wft-faults-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const leases = await openLeases({ path: join(directory, 'leases'), bootId: 'b', log: silentLog })
  t.teardown(() => leases.close())
  await leases.allocate({
    ...{ network: 'dcos', container: 'other', ifname: 'eth0', mac: '02:00:00:00:00:01', hostLink: 'wfcaaaaaaaaaaaa' },
    subnets: [...(testView.networks.values().next().value?.subnets ?? [])],
  })
  const before = leases.list()
  const touched: string[] = []
  const kernel: AttachKernel = {
    host: openFakeRouteSocket(),
    forbidden: [],
    openInside: () => {
      throw new Error('entered')
    },
    removeLinks: async (names) => void touched.push(...names),
    writeSettings: () => void touched.push('setting'),
    close: () => undefined,
  }
  const plugins = (directories: readonly string[]) => pluginRunner({ directories, env: {} })
  const handler = cniHandler({ leases, kernel, view: () => testView, log: silentLog, plugins })
  const { signal } = new AbortController()
  t.ok(cases.length >= 60, `${cases.length} faults`)
  for (const [code, more, env = {}, command = 'ADD'] of cases) {
    const variables = { CNI_COMMAND: command, CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS: '/nonexistent/ns' }
    const stdin = JSON.stringify({ cniVersion: '1.0.0', name: 'dcos', type: 'weft', ...more })
    const { exitCode, stdout } = await handler({ env: { ...variables, ...env }, stdin }, { signal })
    const name = `${command} ${JSON.stringify(env)} ${JSON.stringify(more)}`.slice(0, 130)
    t.match([exitCode, JSON.parse(stdout)], [1, { code, msg: /./, cniVersion: /./ }], name)
  }
  t.same([leases.list(), touched], [before, []])
})
