import t, { type Test } from 'tap'
import { diffSnapshots } from '../../core/model/delta.ts'
import { parseNetworkName } from '../../core/model/ids.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { type RouteOp } from '../../networking/netlink/ops.ts'
import { canMakeHosts, type TestHost } from '../support/hosts.ts'
import { makeOverlayHosts, openStageOn, overlayDump, type OverlayHost, ping } from '../support/overlay-hosts.ts'
import { overlaySnapshot, twoNetworks } from '../support/overlay-snapshots.ts'

const { signal } = new AbortController()
const names = twoNetworks.map(({ name }) => name)
const dcos = parseNetworkName('dcos')

function makeHosts(t: Test, options: { count: number; underlay: 4 | 6 }): readonly OverlayHost[] {
  const removals: (() => void)[] = []
  t.teardown(() => {
    const errors: unknown[] = []
    for (const remove of removals.toReversed()) {
      try {
        remove()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, 'a test host stayed')
  })
  return makeOverlayHosts(options, (remove) => removals.push(remove))
}

async function auditAll(hosts: readonly OverlayHost[], snapshot: ClusterSnapshot): Promise<void> {
  for (const { stage } of hosts) await stage.audit(snapshot, { signal })
}

async function changeAll(
  hosts: readonly OverlayHost[],
  previous: ClusterSnapshot,
  next: ClusterSnapshot,
): Promise<void> {
  const change = { previous, next, delta: diffSnapshots(previous, next) }
  const steps = hosts.map(({ stage }) => stage.plan(change))
  for (const { add } of steps) await add({ signal })
  for (const { remove } of steps) await remove({ signal })
}

/** What of the overlay speaks of a node: its addresses, its MAC, its subnets. */
function traces(host: TestHost, number: number): readonly string[] {
  const pattern = new RegExp(
    `61:00:0${number}|100\\.97\\.0\\.${number}\\b|192\\.0\\.2\\.${number}\\b|10\\.8\\d\\.${number}\\.|a::${number}\\b|:80:0:${number}:`,
  )
  return overlayDump(host).filter((line) => pattern.test(line))
}

t.test('three hosts, two networks, both IP versions', { skip: canMakeHosts }, async (t) => {
  const hosts = makeHosts(t, { count: 3, underlay: 4 })
  const snapshot = overlaySnapshot(
    1,
    hosts.map(({ node }) => node),
  )
  await auditAll(hosts, snapshot)
  const containers = hosts.flatMap((each) => names.map((name, index) => each.addContainer(name, 10 + index)))
  await t.test('each container reaches each, within and across networks', async (t) => {
    for (const from of containers) {
      for (const to of containers) {
        for (const address of to.addresses) {
          const possible = from.addresses.some((own) => own.includes(':') === address.includes(':'))
          if (from !== to && possible) t.ok(ping(from.host, address), `${from.addresses[0]} -> ${address}`)
        }
      }
    }
  })
  await t.test('a host reaches containers elsewhere, from its VTEP address', async (t) => {
    for (const { host, node } of hosts) {
      for (const address of containers.flatMap(({ addresses }) => addresses))
        t.ok(ping(host, address), `${node.name} -> ${address}`)
    }
    t.match(hosts[0]?.host.run('ip', 'route', 'get', '10.84.2.11'), /dev wfv1025 src 100\.97\.0\.1/)
    t.match(hosts[0]?.host.run('ip', '-6', 'route', 'get', 'fd00:80:0:2::a'), /dev wfv1024 .*src fd01:a::1/)
  })
  await t.test('the exact MTU passes unfragmented, one octet more does not', async (t) => {
    const [from] = containers
    const addresses = containers.at(2)?.addresses ?? []
    t.equal(addresses.length, 2)
    for (const address of addresses) {
      t.ok(from && ping(from.host, address, { octets: 1450 }), `1450 to ${address}`)
      t.notOk(from && ping(from.host, address, { octets: 1451, attempts: 2 }), `1451 to ${address}`)
    }
  })
  await t.test('an address that nobody has is refused at once, on its own node and elsewhere', async (t) => {
    for (const address of ['10.80.1.99', '10.80.77.1', 'fd00:80:0:1::99']) {
      t.throws(() => hosts[0]?.host.run('ip', 'route', 'get', address), /No route to host|unreachable/, address)
    }
  })
  await t.test('a restarted daemon does nothing', async (t) => {
    for (const { host, node, routes } of hosts) {
      const performed: RouteOp[] = []
      const perform = async (ops: readonly RouteOp[]) => {
        performed.push(...ops)
        return routes.perform(ops)
      }
      t.same(await openStageOn(host, node, { routes: { ...routes, perform } }).audit(snapshot, { signal }), [])
      t.same(performed, [])
    }
  })
  await t.test('a departed node leaves nothing, and comes back', async (t) => {
    const [first, second, third] = hosts
    if (!first || !second || !third) return
    const before = overlayDump(first.host)
    t.ok(traces(first.host, 3).length > 10)
    const without = overlaySnapshot(2, [first.node, second.node])
    await changeAll(hosts, snapshot, without)
    t.same(traces(first.host, 3), [])
    t.same(traces(second.host, 3), [])
    t.same(third.host.run('ip', 'nexthop'), '')
    t.same(await first.routes.link('wfv1024').then((link) => link?.name), 'wfv1024')
    t.equal(await third.routes.link('wfv1024'), undefined)
    await changeAll(hosts, without, snapshot)
    t.same(overlayDump(first.host), before)
    const address = containers.at(-1)?.addresses[0]
    t.ok(address && containers[0] && ping(containers[0].host, address))
  })
})

t.test('over IPv6: 70 octets less', { skip: canMakeHosts }, async (t) => {
  const hosts = makeHosts(t, { count: 2, underlay: 6 })
  await auditAll(
    hosts,
    overlaySnapshot(
      1,
      hosts.map(({ node }) => node),
    ),
  )
  const [from, to] = hosts.map((each) => each.addContainer(dcos, 10))
  t.equal(to?.addresses.length, 2)
  for (const address of to?.addresses ?? []) {
    t.ok(from && ping(from.host, address, { octets: 1430 }), `1430 to ${address}`)
    t.notOk(from && ping(from.host, address, { octets: 1431, attempts: 2 }), `1431 to ${address}`)
  }
})
