import t, { type Test } from 'tap'
import { AppError } from '../../core/base/errors.ts'
import { type Ip, parseIp } from '../../core/base/ip.ts'
import { parseAgentId, parseNetworkName, parseTaskId } from '../../core/model/ids.ts'
import { type ClusterSnapshot, type RunningTask } from '../../core/model/snapshot.ts'
import { openNftablesPlane } from '../../lb/nftables/plane.ts'
import { openLbStage } from '../../lb/stage.ts'
import { explain } from '../../networking/explain/explain.ts'
import { formatExplanation } from '../../networking/explain/format.ts'
import { openLocalReader } from '../../networking/explain/local-reader.ts'
import { type Finding } from '../../networking/explain/model.ts'
import { recordsOf } from '../../networking/explain/names.ts'
import { openIsolationStage } from '../../networking/isolation/stage.ts'
import { openNft } from '../../networking/nft/open.ts'
import { type Stage } from '../../networking/node/stage.ts'
import { nftTable } from '../../networking/protocol.ts'
import { canMakeHosts, type TestHost } from '../support/hosts.ts'
import { nftNamespace } from '../support/nft-namespace.ts'
import { makeOverlayHosts, type OverlayContainer, type OverlayHost } from '../support/overlay-hosts.ts'
import { overlaySnapshot } from '../support/overlay-snapshots.ts'

const { signal } = new AbortController()
const dcos = parseNetworkName('dcos')
const blue = parseNetworkName('blue')
const vip = { 4: parseIp('100.96.0.9'), 6: parseIp('fd57:4546:54fe::9') } as const
const vipName = 'web.marathon.l4lb.thisdcos.directory'

function task(id: string, host: OverlayHost, network: typeof dcos, { addresses }: OverlayContainer): RunningTask {
  const labels = { VIP_0: '/web:80' }
  const ports = [{ number: 8080, protocols: ['tcp' as const], labels }]
  return {
    id: parseTaskId(id),
    name: id.split('.')[0] ?? '',
    framework: 'marathon',
    node: host.node.name,
    agentId: parseAgentId(`a-${host.node.name}`),
    state: 'TASK_RUNNING',
    health: 'unchecked',
    networks: [{ name: network, addresses }],
    portMappings: [],
    ports: [],
    ...(id.startsWith('web') ? { discovery: { name: 'web', visibility: 'CLUSTER', ports } } : {}),
  }
}

/** Two nodes with overlay, isolation and VIPs: a client on n1, a web server on n2, one more on the other network. */
async function makeWorld(t: Test) {
  const removals: (() => void)[] = []
  t.teardown(() => {
    for (const remove of removals.toReversed()) remove()
  })
  const hosts = makeOverlayHosts({ count: 2, underlay: 4 }, (remove) => removals.push(remove))
  const [n1, n2] = hosts
  if (n1 === undefined || n2 === undefined) throw new Error('two hosts were asked for')
  const places = { client: n1.addContainer(dcos, 10), web: n2.addContainer(dcos, 10), other: n2.addContainer(blue, 10) }
  const tasks = [
    task('client.1', n1, dcos, places.client),
    task('web.1', n2, dcos, places.web),
    task('other.1', n2, blue, places.other),
  ]
  const empty = overlaySnapshot(
    1,
    hosts.map(({ node }) => node),
  )
  const named = { name: 'web', framework: 'marathon', addresses: [vip[4], vip[6]] }
  const snapshot: ClusterSnapshot = {
    ...empty,
    tasks: new Map(tasks.map((one) => [one.id, one])),
    vips: new Map([['web.marathon', named]]),
  }
  const stages: Stage[] = []
  for (const { host, node, routes, stage } of hosts) {
    const nft = await openNft({ namespace: nftNamespace(host) })
    removals.push(() => nft.close())
    const plane = openNftablesPlane({ nft, table: nftTable })
    stages.push(stage, openIsolationStage({ nft, table: nftTable }), openLbStage({ self: node.name, plane, routes }))
  }
  const audit = async () => {
    for (const stage of stages) await stage.audit(snapshot, { signal })
  }
  await audit()
  return { hosts: { n1: n1.host, n2: n2.host }, n1, n2, places, snapshot, audit }
}

type World = Awaited<ReturnType<typeof makeWorld>>
type Served = (name: string, type: 'A' | 'AAAA') => readonly Ip[]

/** Explains on the kernels of the test's hosts; names are as the snapshot says, unless `served` says otherwise. */
function ask(world: World, [from, to]: readonly [string, string], snapshot = world.snapshot, served?: Served) {
  const resolve: Served = (name, type) =>
    recordsOf(snapshot, world.n1.node.name, name).flatMap(({ address }) =>
      address.includes(':') === (type === 'AAAA') ? [address] : [],
    )
  const open = async (node: typeof world.n1.node.name) => {
    const { path } = node === 'n1' ? world.hosts.n1 : world.hosts.n2
    return openLocalReader({ node, netns: path, resolve: async (name, type) => (served ?? resolve)(name, type) })
  }
  return explain({ from, to }, { snapshot, open }, { signal })
}

interface Break {
  readonly name: string
  readonly on: 'n1' | 'n2'
  /** The command that breaks it; from there on explain is right only when it names this. */
  readonly run: string
  /** Put right by it instead of by the audit. */
  readonly undo?: string
  readonly at?: 'client' | 'web'
  readonly query?: readonly [string, string]
  readonly problem: Pick<Finding, 'area'> & {
    readonly node?: 'n1' | 'n2'
    readonly text: RegExp
    readonly fix?: RegExp
  }
}

const mac2 = '70:b3:d5:61:00:02'
const breaks: readonly Break[] = [
  {
    name: 'route to the other subnet',
    on: 'n1',
    run: 'ip route del 10.80.2.0/24 metric 87',
    problem: { area: 'route', node: 'n1', text: /no route to 10\.80\.2\.10: EHOSTUNREACH/ },
  },
  {
    name: 'neighbour of the VTEP',
    on: 'n1',
    run: 'ip neighbour del 100.97.0.2 dev wfv1024',
    problem: { area: 'overlay', text: /neighbour.*100\.97\.0\.2.*missing/, fix: /ip neighbour replace 100\.97\.0\.2/ },
  },
  {
    name: 'FDB entry',
    on: 'n1',
    run: `bridge fdb del ${mac2} dev wfv1024 dst 192.0.2.2`,
    problem: { area: 'overlay', text: /FDB entry.*missing/, fix: /bridge fdb replace .* dst 192\.0\.2\.2/ },
  },
  {
    name: 'FDB entry that leads elsewhere',
    on: 'n1',
    run: `bridge fdb replace ${mac2} dev wfv1024 dst 192.0.2.77 self permanent`,
    problem: { area: 'overlay', text: /leads to 192\.0\.2\.77, not to 192\.0\.2\.2/ },
  },
  {
    name: 'receiving device down',
    on: 'n2',
    run: 'ip link set wfv1024 down',
    problem: {
      area: 'overlay',
      node: 'n2',
      text: /VXLAN device wfv1024 is down/,
      fix: /ip link set dev wfv1024 up/,
    },
  },
  {
    name: 'receiving device gone',
    on: 'n2',
    run: 'ip link del wfv1024',
    problem: { area: 'overlay', node: 'n2', text: /no VXLAN device with VNI 1024/ },
  },
  {
    name: 'Ethernet address of the receiving device',
    on: 'n2',
    run: 'ip link set wfv1024 address 02:00:00:00:00:99',
    problem: { area: 'overlay', node: 'n2', text: /it drops frames/ },
  },
  {
    name: 'the way back: neighbour on the other node',
    on: 'n2',
    run: 'ip neighbour del 100.97.0.1 dev wfv1024',
    problem: { area: 'overlay', node: 'n2', text: /neighbour.*100\.97\.0\.1.*missing/ },
  },
  {
    name: 'neighbour of IPv6',
    on: 'n1',
    run: 'ip -6 neighbour del fe80::72b3:d5ff:fe61:2 dev wfv1024',
    query: ['client.1', '[fd00:80:0:2::a]:8080'],
    problem: { area: 'overlay', node: 'n1', text: /neighbour.*fe80::72b3.*missing/ },
  },
  {
    name: 'route to the container',
    on: 'n2',
    run: 'ip route del 10.80.2.10 dev wfc0',
    undo: 'ip route add 10.80.2.10 dev wfc0 protocol 87',
    problem: { area: 'delivery', node: 'n2', text: /no route to the container of task web\.1/ },
  },
  {
    name: "container's link down",
    on: 'n2',
    at: 'web',
    run: 'ip link set eth0 down',
    undo: 'ip link set eth0 up',
    problem: { area: 'delivery', node: 'n2', text: /wfc0 of task web\.1.*no carrier/ },
  },
  {
    name: "sender's link down",
    on: 'n1',
    at: 'client',
    run: 'ip link set eth0 down',
    undo: 'ip link set eth0 up',
    problem: { area: 'sender', node: 'n1', text: /wfc0 of task client\.1.*no carrier/ },
  },
  {
    name: 'forwarding off',
    on: 'n2',
    run: 'sysctl -qw net.ipv4.ip_forward=0',
    problem: { area: 'delivery', node: 'n2', text: /EHOSTUNREACH/ },
  },
  {
    name: 'underlay MTU too small',
    on: 'n1',
    run: 'ip link set eth0 mtu 1400',
    undo: 'ip link set eth0 mtu 1500',
    problem: { area: 'overlay', node: 'n1', text: /MTU 1450 and 50 octets of VXLAN do not fit.*MTU 1400/ },
  },
  {
    name: 'nft table',
    on: 'n2',
    run: 'nft delete table inet weft',
    problem: { area: 'isolation', node: 'n2', text: /table inet weft is missing/ },
  },
  {
    name: 'nft element of the virtual server',
    on: 'n1',
    run: `nft delete element inet weft lb-service4 { ${vip[4]} . tcp . 80 }`,
    query: ['client.1', `${vip[4]}:80`],
    problem: { area: 'vip', node: 'n1', text: /virtual server tcp 100\.96\.0\.9:80 is not programmed/ },
  },
  {
    name: 'route of the VIP',
    on: 'n1',
    run: `ip route del local ${vip[4]} dev lo table local`,
    query: ['client.1', vipName],
    problem: { area: 'vip', node: 'n1', text: /not local/, fix: /ip route replace local 100\.96\.0\.9/ },
  },
]

function run(host: TestHost, command: string): void {
  host.run('sh', '-c', command)
}

t.test('each object that is broken by hand is named', { skip: canMakeHosts }, async (t) => {
  const world = await makeWorld(t)
  const usual = ['client.1', '10.80.2.10:8080'] as const
  const whole = await ask(world, ['client', `${vipName}:80/tcp`])
  t.equal(whole.problem, undefined, whole.problem === undefined ? 'nothing is wrong' : formatExplanation(whole))
  t.match(whole.name?.records, [{ from: ['vip web.marathon'] }, { from: ['vip web.marathon'] }])
  t.match(whole.vips, [{ backends: [{ weight: 1, task: 'task web.1' }] }, { backends: [{ weight: 1 }] }])
  t.equal(whole.paths.length, 2, 'one way for each IP version')
  t.match(formatExplanation(whole), /FDB entry 70:b3:d5:61:00:02 on wfv1024: to 192\.0\.2\.2/)

  for (const { name, on, at, run: command, undo, query = usual, problem } of breaks) {
    const host = at === undefined ? world.hosts[on] : world.places[at].host
    run(host, command)
    const broken = await ask(world, query)
    t.match(broken.problem, problem, `${name}: named`)
    if (undo !== undefined) run(host, undo)
    await world.audit()
    const healed = await ask(world, query)
    t.equal(healed.problem, undefined, `${name}: ${healed.problem?.text ?? 'healed'}`)
  }
})

t.test('what no kernel says', { skip: canMakeHosts }, async (t) => {
  const world = await makeWorld(t)
  const denied = await ask(world, ['other.1', 'client.1:22'])
  t.match(denied, { problem: { area: 'policy', text: /drop: networks are isolated/ }, paths: [{ verdict: 'drop' }] })
  const fails: Served = () => {
    throw new AppError('ERR_DNS_TIMEOUT', 'no reply from 198.51.100.1')
  }
  const silent = await ask(world, ['client.1', vipName], world.snapshot, fails)
  t.match(silent.problem, { area: 'names', text: /does not answer: no reply/ })
  t.equal(silent.paths.length, 2, 'the way is followed all the same')
  const stale = await ask(world, ['client.1', vipName], world.snapshot, (_, type) => (type === 'A' ? [vip[4]] : []))
  t.match(stale.problem, { area: 'names', text: /does not tell fd57/ })
  const sick = new Map([...world.snapshot.tasks].map(([id, one]) => [id, { ...one, health: 'unhealthy' as const }]))
  const unhealthy = await ask(world, ['client.1', `${vip[4]}:80`], { ...world.snapshot, tasks: sick })
  t.match(unhealthy.problem, { area: 'vip' })
  t.match(await ask(world, ['client.1', `${vip[4]}:81`]), { problem: { area: 'vip', text: /no task is behind/ } })
  t.match(await ask(world, ['n1', 'web.1:8080']), { paths: [{ source: { address: '100.97.0.1' } }, {}] })
  t.match(await ask(world, ['10.80.1.10', 'n2']), { paths: [{ destination: { kind: 'host', address: '192.0.2.2' } }] })
  t.match(await ask(world, ['client.1', '203.0.113.9']), { problem: { area: 'route', text: /no route leads there/ } })
  await t.rejects(ask(world, ['nobody', 'web.1']), { code: 'ERR_EXPLAIN_SOURCE' })
  for (const to of ['', 'a:b', 'web:0', 'web:99999', '[::1', 'web:80/sctp']) {
    await t.rejects(ask(world, ['client.1', to]), { code: 'ERR_EXPLAIN_TARGET' }, to)
  }
})
