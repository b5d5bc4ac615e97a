import { createConnection } from 'node:net'
import t from 'tap'
import { type Api, isRecord } from '../../core/cli/api.ts'
import { runAt } from '../../core/cli/up/checks.ts'
import { cniSocket } from '../../core/cli/up/processes.ts'
import { readClusterRecord } from '../../core/cli/up/record.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { digAt, eventually, startTestCluster } from '../support/local-cluster.ts'

const good = {
  id: '/good',
  cmd: 'sleep 1000',
  cpus: 0.1,
  mem: 32,
  instances: 0,
  networks: [{ mode: 'container', name: 'dcos' }],
}
const port = (label: string, protocol = 'tcp', containerPort = 80) => ({
  containerPort,
  protocol,
  labels: { VIP_0: label },
})

const refused = [
  { name: 'unknown network', change: { networks: [{ mode: 'container', name: 'nowhere' }] }, says: /nowhere/ },
  { name: 'VIP without port', change: { container: { portMappings: [port('/web')] } }, says: /portMappings.*port/ },
  { name: 'VIP port too large', change: { container: { portMappings: [port('/web:65536')] } }, says: /65536/ },
  {
    name: 'one VIP name and port with two protocols',
    change: { container: { portMappings: [port('/web:80'), port('/web:80', 'udp', 81)] } },
    says: /VIP/,
  },
  { name: 'invalid id', change: { id: '/Not An Id' }, says: /id/ },
  { name: 'unknown field', change: { instnaces: 3 }, says: /instnaces/ },
]

async function appCount(api: Api): Promise<number> {
  const body = await api.get('/v2/apps')
  return isRecord(body) && Array.isArray(body['apps']) ? body['apps'].length : Number.NaN
}

/** Octets that are no message of anything here, the same each time. */
function garbage(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * 7919 + (i >> 3)) & 0xff))
}

t.test('bad input gets a precise error and changes nothing', { skip: canMakeHosts }, async (t) => {
  const cluster = await startTestCluster(1, 'bad')
  t.teardown(() => cluster.stop())
  const { layout, api } = cluster

  await t.test('apps', async (t) => {
    for (const { name, change, says } of refused) {
      const { status, body } = await api.request('POST', '/v2/apps', { ...good, ...change })
      t.equal(status, 422, name)
      t.match(JSON.stringify(body), says, name)
      t.ok(isRecord(body) && Array.isArray(body['details']), `${name}: details`)
    }
    t.equal(await appCount(api), 0)
  })

  await t.test('more cpus than any agent has: it waits, and says why', async (t) => {
    await api.send('POST', '/v2/apps', { ...good, id: '/huge', cpus: 10_000, instances: 1 })
    const reasons = await eventually('a reason', async () => {
      const queue = JSON.stringify(await api.get('/v2/queue'))
      return queue.includes('InsufficientCpus') ? queue : undefined
    })
    t.match(reasons, /huge/)
    await api.send('DELETE', '/v2/apps/huge?force=true')
  })

  await t.test('garbage to every port', async (t) => {
    const pids = () => readClusterRecord(layout.name)?.processes.map(({ pid }) => pid)
    const before = pids()
    const targets = [
      ['198.18.0.1', '5060', 'tcp'],
      ['198.51.100.1', '53', 'tcp'],
      ['198.51.100.1', '53', 'udp'],
    ]
    const program = `use IO::Socket::INET; my ($h, $p, $proto, $hex) = @ARGV;
      my $s = IO::Socket::INET->new(PeerAddr => $h, PeerPort => $p, Proto => $proto) or die $@; print $s pack('H*', $hex); close $s`
    for (const length of [1, 12, 600]) {
      for (const target of targets)
        await runAt(layout, 'agent1', ['perl', '-e', program, ...target, garbage(length).toString('hex')])
      const agent = layout.hosts.find(({ name }) => name === 'agent1')
      if (agent !== undefined) await sendTo(cniSocket(agent), garbage(length))
    }
    t.same(await digAt(cluster, 'agent1', 'ready.spartan'), ['127.0.0.1'])
    t.match(await api.get('/weft/v1/converge?timeoutMs=5000'), { converged: true })
    t.same(pids(), before, 'no daemon ended')
  })

  await t.test('a range that overlaps a route of a machine is refused there, naming both', async (t) => {
    await runAt(layout, 'agent1', ['ip', 'route', 'add', '10.90.0.0/17', 'dev', 'eth0'])
    await api.send('POST', '/weft/v1/networks', { name: 'clash', subnets: ['10.90.0.0/16'] })
    const missing = await eventually('the node tells its problem', async () => {
      const text = JSON.stringify(await api.get('/weft/v1/converge?timeoutMs=100'))
      return text.includes('overlaps') ? text : undefined
    })
    t.match(missing, /10\.90\.0\.0\/16.*10\.90\.0\.0\/17/)
    t.match(missing, /agent1/)
    await runAt(layout, 'agent1', ['ip', 'route', 'del', '10.90.0.0/17', 'dev', 'eth0'])
    await eventually('repaired once the route is gone', async () => {
      const answer = await api.get('/weft/v1/converge?timeoutMs=1000')
      return isRecord(answer) && answer['converged'] === true ? true : undefined
    })
  })
})

function sendTo(path: string, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path, () => socket.end(bytes))
    socket.on('data', () => undefined)
    socket.on('close', () => resolve())
    socket.on('error', reject)
  })
}
