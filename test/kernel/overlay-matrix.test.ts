import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { diffSnapshots } from '../../core/model/delta.ts'
import { parseNetworkName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, type Network } from '../../core/model/snapshot.ts'
import { openIsolationStage } from '../../networking/isolation/stage.ts'
import { openNft } from '../../networking/nft/open.ts'
import { Pipeline } from '../../networking/node/pipeline.ts'
import { type DirectRouting } from '../../networking/overlay/direct.ts'
import { nftTable } from '../../networking/protocol.ts'
import { canMakeHosts, type TestHost } from '../support/hosts.ts'
import { nftNamespace } from '../support/nft-namespace.ts'
import {
  makeOverlayHosts,
  openStageOn,
  type OverlayContainer,
  type OverlayHost,
  ping,
} from '../support/overlay-hosts.ts'
import { allocatedNode, overlaySnapshot } from '../support/overlay-snapshots.ts'

const { signal } = new AbortController()
const run = promisify(execFile)
const network = (name: string, vni: number, four: string, six: string): Network => ({
  name: parseNetworkName(name),
  vni,
  subnets: [parseCidr(four), parseCidr(six)],
})
const red = network('red', 1024, '10.80.0.0/16', 'fd00:80::/48')
const blue = network('blue', 1025, '10.84.0.0/16', 'fd00:84::/48')
const green = network('green', 1026, '10.85.0.0/16', 'fd00:85::/48')
const all = [red, blue, green]

interface Member extends OverlayContainer {
  readonly network: Network
  readonly on: number
}

/** Addresses that answer within two attempts; all are asked at once. */
async function answering(from: TestHost, addresses: readonly string[]): Promise<ReadonlySet<string>> {
  const script = 'for a in "$@"; do (ping -n -c 2 -i 0.4 -W 2 "$a" >/dev/null 2>&1 && echo "$a") & done; wait'
  const { stdout } = await run('nsenter', [`--net=${from.path}`, 'sh', '-c', script, 'sh', ...addresses])
  return new Set(stdout.split('\n').filter((line) => line !== ''))
}

/** Each pair, both IP versions: reached exactly when both are of one network. */
async function checkMatrix(t: Test, members: readonly Member[]): Promise<void> {
  await Promise.all(
    members.map(async (from) => {
      const targets = members.filter((to) => to !== from)
      const reached = await answering(
        from.host,
        targets.flatMap(({ addresses }) => addresses),
      )
      for (const to of targets) {
        const where = to.on === from.on ? 'same host' : 'other host'
        for (const address of to.addresses) {
          const name = `${from.network.name} ${from.addresses[0]} -> ${to.network.name} ${address}, ${where}`
          t.equal(reached.has(address), from.network === to.network, name)
        }
      }
    }),
  )
}

function pipelines(hosts: readonly OverlayHost[], directRouting: DirectRouting) {
  return Promise.all(
    hosts.map(async ({ host, node, routes }) => {
      const nft = await openNft({ namespace: nftNamespace(host) })
      const isolation = openIsolationStage({ nft, table: nftTable })
      return new Pipeline([openStageOn(host, node, { routes, directRouting }), isolation])
    }),
  )
}

async function applyAll(each: readonly Pipeline[], next: ClusterSnapshot): Promise<void> {
  for (const pipeline of each) {
    const previous = pipeline.current
    await pipeline.apply({ previous, next, delta: diffSnapshots(previous, next) }, { signal })
  }
}

/** Pings 100 times a second while something is done, and on until the pings are over. @returns lost packets */
async function lostDuring(from: TestHost, to: string, work: () => Promise<void>): Promise<number> {
  const pinging = run('nsenter', [`--net=${from.path}`, 'ping', '-n', '-q', '-i', '0.01', '-c', '200', '-W', '2', to])
  await work()
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec((await pinging).stdout) ?? []
  return Number(sent) - Number(received)
}

t.setTimeout(120_000) // each silent address takes its time, and there are hundreds

t.test('three hosts, their networks and both IP versions', { skip: canMakeHosts, timeout: 120_000 }, async (t) => {
  const removals: (() => void)[] = []
  t.teardown(() => {
    for (const remove of removals.toReversed()) remove()
  })
  const node = (number: number, underlay: OverlayHost['node']['underlay']) => allocatedNode(number, all, underlay)
  const hosts = makeOverlayHosts({ count: 3, underlay: 4, allocate: node }, (remove) => removals.push(remove))
  const nodes = hosts.map((host) => host.node)
  const two = overlaySnapshot(1, nodes, [red, blue])
  const vxlan = await pipelines(hosts, 'never')
  await applyAll(vxlan, two)
  const place = (on: number, of: Network, number: number): Member => {
    const made = hosts[on]?.addContainer(of.name, number)
    if (made === undefined) throw new Error('no host')
    return { ...made, network: of, on }
  }
  const members = hosts.flatMap((_, on) => [
    place(on, red, 10),
    place(on, red, 11),
    place(on, blue, 10),
    place(on, blue, 11),
  ])
  const [first, , , , far] = members
  if (first === undefined || far === undefined) throw new Error('no container')
  await t.test('through VXLAN', (t) => checkMatrix(t, members))
  await t.test('the exact MTU', async (t) => {
    for (const address of far.addresses) {
      t.ok(ping(first.host, address, { octets: 1450 }), `1450 to ${address}`)
      t.notOk(ping(first.host, address, { octets: 1451, attempts: 1 }), `1451 to ${address}`)
    }
  })
  const direct = await pipelines(hosts, 'auto')
  await t.test('switched to direct routes and back while packets flow', async (t) => {
    const [four = ''] = far.addresses
    const auditAll = async () => {
      for (const each of vxlan) await each.audit({ signal })
    }
    const wayOf = () => hosts[0]?.host.run('ip', 'route', 'get', four) ?? ''
    t.match(wayOf(), / dev wfv1024 /)
    t.equal(await lostDuring(first.host, four, () => applyAll(direct, two)), 0, 'none lost')
    t.match(wayOf(), / via 192.0.2.2 dev eth0 /)
    await checkMatrix(t, members)
    for (const address of far.addresses) t.ok(ping(first.host, address, { octets: 1450 }), `1450 to ${address}`)
    t.equal(await lostDuring(first.host, four, auditAll), 0)
    t.match(wayOf(), / dev wfv1024 /)
  })
  await t.test('a network is made and removed at run time', async (t) => {
    await applyAll(vxlan, overlaySnapshot(2, nodes, all))
    const late = [place(0, green, 10), place(1, green, 10)]
    await checkMatrix(t, [...late, ...members.slice(0, 5)])
    await applyAll(vxlan, overlaySnapshot(3, nodes, [red, blue]))
    for (const { host } of hosts) t.notMatch(host.run('ip', '-d', 'link'), /wfv1026/)
  })
  await t.test('each kind of object deleted by hand comes back', async (t) => {
    const host = hosts[0]?.host
    for (const command of [
      'ip link del wfv1024',
      'ip address flush dev wfv1024 scope global',
      'ip neighbour flush dev wfv1024 nud permanent',
      'ip nexthop flush proto 87',
      'ip route del 10.80.2.0/24; ip -6 route del fd00:80:0:2::/64',
      'bridge fdb del 70:b3:d5:61:00:02 dev wfv1024 dst 192.0.2.2',
      'nft delete table inet weft',
    ]) {
      host?.run('sh', '-c', command)
      t.ok(((await vxlan[0]?.audit({ signal })) ?? []).length > 0, command)
      const reached = await answering(first.host, [...far.addresses, ...(members[2]?.addresses ?? [])])
      t.same([...reached].toSorted(), far.addresses.toSorted(), 'reached, and isolated, again')
    }
  })
  await t.test('a departed node is refused at once, the others stay', async (t) => {
    await applyAll(vxlan.slice(0, 2), overlaySnapshot(4, nodes.slice(0, 2), [red, blue]))
    await checkMatrix(
      t,
      members.filter(({ on }) => on < 2),
    )
    const gone = members.filter(({ on }) => on === 2).flatMap(({ addresses }) => addresses)
    for (const address of gone) {
      t.throws(() => hosts[0]?.host.run('ip', 'route', 'get', address), /unreachable|No route/, address)
    }
  })
})
