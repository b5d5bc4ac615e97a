import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { systemClock } from '../../core/base/clock.ts'
import { silentLog } from '../../core/base/log.ts'
import { parseNetworkName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, type NodeSubnet } from '../../core/model/snapshot.ts'
import { openSnapshotCache } from '../../networking/node/cache.ts'
import { containerGateway, dnsAddress, dnsAddress6, dnsAddresses } from '../../networking/protocol.ts'
import { fixtureSnapshot } from '../fixtures/dns/snapshot.ts'
import { buildClients, callPlugin } from '../support/cni-node.ts'
import { canMakeHosts, makeHost, type TestHost } from '../support/hosts.ts'

const six = parseNetworkName('six')
const rooms: readonly NodeSubnet[] = [
  { network: parseNetworkName('dcos'), subnets: ['10.80.9.0/24', 'fd00:80:0:9::/64'].map(parseCidr) },
  { network: six, subnets: [parseCidr('fd00:81:0:9::/64')] },
]

const main = fileURLToPath(new URL('../../networking/node/main.ts', import.meta.url))

/** What is meant on a quiet machine, where Node alone starts in 40 ms; a machine that tests is none, so both are compared. */
const quiet = { answerMs: 300, nodeMs: 40 }

/** How long an empty program takes now; the slowest of three, as the load comes and goes. */
async function nodeStartMs(): Promise<number> {
  let slowest = 0
  for (let i = 0; i < 3; i++) {
    const started = performance.now()
    await run(process.execPath, ['-e', '0'])
    slowest = Math.max(slowest, performance.now() - started)
  }
  return slowest
}

const run = promisify(execFile)

/** When the name first had its three addresses. */
async function answered(host: TestHost): Promise<number> {
  const dig = ['dig', `@${dnsAddress}`, '+short', '+time=1', '+tries=1', 'web.marathon.mesos', 'A']
  for (let attempt = 0; attempt < 1000; attempt++) {
    // It fails while nothing listens.
    const { stdout } = await run('nsenter', [`--net=${host.path}`, ...dig]).catch(() => ({ stdout: '' }))
    if (stdout.split('\n').filter((line) => /^\d+\./.test(line)).length === 3) return performance.now()
    await sleep(5)
  }
  throw new Error('no answer')
}

t.test('names are answered from the disk right after SIGKILL', { skip: canMakeHosts }, async (t) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'weft-dns-restart-'))
  const host = makeHost('restart')
  t.teardown(() => {
    host.remove()
    rmSync(stateDir, { recursive: true })
  })
  host.run('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth1')
  host.run('ip', 'address', 'add', '198.18.0.2/24', 'dev', 'eth0')
  host.run('ip', 'link', 'set', 'eth0', 'up')
  const cache = openSnapshotCache({ file: join(stateDir, 'snapshot'), clock: systemClock, log: silentLog })
  cache.save(snapshotWithRoom())
  cache.close()
  const flags = {
    'state-dir': stateDir,
    'node-name': 'host-a',
    underlay: '198.18.0.2',
    'underlay-device': 'eth0',
    master: '198.18.0.1:5060',
    socket: join(stateDir, 'cni.sock'),
    'cni-conf-dir': join(stateDir, 'cni'),
    upstreams: 'none',
    'log-level': 'silent',
  }
  const argv = [main, ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])]
  const first = host.start(process.execPath, ...argv)
  await answered(host)
  // The plugin's socket comes last: until then not all that it compiled is kept.
  for (let i = 0; i < 1000 && !existsSync(flags.socket); i++) await sleep(10)
  const ended = once(first, 'exit')
  first.kill('SIGKILL')
  await ended
  const started = performance.now()
  host.start(process.execPath, ...argv)
  const tookMs = (await answered(host)) - started
  const slowness = Math.max(1, (await nodeStartMs()) / quiet.nodeMs)
  t.comment(
    `${Math.round(tookMs)} ms to the first right answer, on a machine ${slowness.toFixed(1)} times slower than quiet`,
  )
  // Threefold: what is measured with is one more process for each attempt, and the load was not the same a moment ago.
  t.ok(tookMs <= Math.max(1500, 3 * slowness * quiet.answerMs), `${tookMs} ms`)
  for (let i = 0; i < 1000 && !existsSync(flags.socket); i++) await sleep(10)
  await t.test('an IPv6-only container is told a server that it reaches', async (t) => {
    const container = makeHost('six')
    t.teardown(() => container.remove())
    const { answer } = await attach(t, container, { directory: stateDir, socket: flags.socket, network: 'six' })
    t.match(answer, { dns: { nameservers: [dnsAddress6] } })
    const dig = ['dig', `@${dnsAddress6}`, '+short', '+time=3', '+tries=3', 'web.marathon.mesos', 'A']
    const { stdout } = await run('nsenter', [`--net=${container.path}`, ...dig]).catch(() => ({ stdout: '' }))
    t.match(stdout, /^\d+\./)
  })
  await t.test('from a container that CNI attached, at every address and over both IP versions', async (t) => {
    const container = makeHost('box')
    t.teardown(() => container.remove())
    const added = await attach(t, container, { directory: stateDir, socket: flags.socket, network: 'dcos' })
    const { nameservers = [] } = (added.answer?.['dns'] ?? {}) as { readonly nameservers?: readonly string[] } // CNI: dns
    t.ok(nameservers.length > 0, 'CNI names servers for resolv.conf')
    for (const server of [...nameservers, ...dnsAddresses, containerGateway[4], `${containerGateway[6]}%eth0`]) {
      for (const transport of ['+notcp', '+tcp']) {
        const dig = ['dig', `@${server}`, transport, '+short', '+time=3', '+tries=3', 'web.marathon.mesos', 'A']
        const { stdout } = await run('nsenter', [`--net=${container.path}`, ...dig]).catch(() => ({ stdout: '' }))
        t.equal(stdout.split('\n').filter((line) => /^\d+\./.test(line)).length, 3, `${server} ${transport}`)
      }
    }
  })
})

/** The fixture, a network without IPv4 and room for containers of this node. */
function snapshotWithRoom(): ClusterSnapshot {
  const snapshot = fixtureSnapshot()
  const nodes = [...snapshot.nodes].map(
    ([name, node]) => [name, name === 'host-a' ? { ...node, subnets: rooms } : node] as const,
  )
  const networks = new Map(snapshot.networks).set(six, { name: six, vni: 2, subnets: [parseCidr('fd00:81::/48')] })
  return { ...snapshot, networks, nodes: new Map(nodes) }
}

/** As a runtime does it; the daemon ends with the host, and so does what is attached. */
async function attach(t: Test, container: TestHost, daemon: { directory: string; socket: string; network: string }) {
  const { directory, socket, network } = daemon
  const [plugin = ''] = buildClients(directory).values()
  const env = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: container.name,
    CNI_NETNS: container.path,
    CNI_IFNAME: 'eth0',
    CNI_PATH: directory,
  }
  const added = await callPlugin(plugin, env, { cniVersion: '1.0.0', name: network, type: 'weft', socket })
  t.equal(added.exitCode, 0, added.stdout)
  return added
}
