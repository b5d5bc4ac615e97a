import t from 'tap'
import { systemClock } from '../../core/base/clock.ts'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { diffSnapshots } from '../../core/model/delta.ts'
import { type Repair } from '../../networking/node/stage.ts'
import { watchRoutes } from '../../networking/netlink/watch.ts'
import { followDrift } from '../../networking/overlay/drift.ts'
import { openOwnChanges } from '../../networking/overlay/own-changes.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { makeOverlayHosts, openStageOn } from '../support/overlay-hosts.ts'
import { allocatedNode, overlaySnapshot } from '../support/overlay-snapshots.ts'

/** Twice what the issue allows between a foreign change and its repair: the machine may be busy. */
const limitMs = 4000

/** Changes by hand, and a pattern that some repair of each fits. */
const damages: readonly (readonly [string, RegExp])[] = [
  ['ip link del wfv1025', /^ip link add wfv1025 /],
  ['ip link set wfv1024 down', /^ip link set dev wfv1024 up/],
  ['ip address del 100.97.0.1/32 dev wfv1025', /^ip address replace 100.97.0.1\/32 dev wfv1025/],
  ['ip neighbour del 100.97.0.2 dev wfv1024', /^ip neighbour replace 100.97.0.2 dev wfv1024/],
  ['bridge fdb del 70:b3:d5:61:00:02 dev wfv1024 dst 192.0.2.2', /^bridge fdb replace 70:b3:d5:61:00:02 dev wfv1024/],
  ['ip nexthop del id 2164260866', /^ip nexthop replace id 2164260866/],
  ['ip route del 10.80.3.0/24', /^ip route replace 10.80.3.0\/24/],
  ['ip route replace 10.80.3.0/24 dev lo proto static metric 87', /^ip route replace 10.80.3.0\/24/],
  ['ip -6 route del fd00:80:0:2::/64', /^ip route replace fd00:80:0:2::\/64/],
  ['ip route del unreachable 10.80.0.0/14 metric 65535', /^ip route replace unreachable 10.80.0.0\/14/],
  ['ip link set eth0 mtu 1400', /^ip link set dev wfv1024 mtu 1350/],
  ['ip address add 192.0.2.99/24 dev eth0', /^$/],
]

t.test('changes by others are noticed when they happen', { skip: canMakeHosts }, async (t) => {
  const removals: (() => void)[] = []
  const abort = new AbortController()
  const { signal } = abort
  let following: Promise<void> = Promise.resolve()
  t.teardown(async () => {
    abort.abort()
    await following
    for (const remove of removals.toReversed()) remove()
  })
  const [first] = makeOverlayHosts({ count: 1, underlay: 4 }, (remove) => removals.push(remove))
  if (first === undefined) throw new Error('no host')
  const { host, node } = first
  const others = [2, 3].map((number) => ({ ...allocatedNode(number), underlay: parseIp(`192.0.2.${number}`) }))
  const snapshot = overlaySnapshot(1, [node, ...others])
  const own = openOwnChanges(systemClock)
  const routes = own.observe(first.routes)
  const stage = openStageOn(host, node, { routes })
  let audits = 0
  let wake: (repairs: readonly Repair[]) => void = () => undefined
  const onDrift = () => {
    audits++
    void stage.audit(snapshot, { signal }).then((repairs) => wake(repairs))
  }
  const watch = (options: { signal: AbortSignal }) => watchRoutes({ netns: host.path }, options)
  /** The next audit that found something, or nothing when none came in time. */
  const nextAudit = () =>
    new Promise<readonly Repair[]>((resolve) => {
      const cancel = systemClock.after(limitMs, () => resolve([]))
      wake = (repairs) => {
        cancel()
        resolve(repairs)
      }
    })
  const options = { routes, own, underlayDevice: 'eth0', watch, onDrift, clock: systemClock, log: silentLog }
  following = followDrift(options, { signal })
  await stage.audit(snapshot, { signal })
  const change = { previous: snapshot, next: overlaySnapshot(2, [node]) }
  for (const { previous, next } of [change, { previous: change.next, next: snapshot }]) {
    const steps = stage.plan({ previous, next, delta: diffSnapshots(previous, next) })
    await steps.add({ signal })
    await steps.remove({ signal })
  }
  host.run('sh', '-c', 'ip link add other type bridge; ip addr add 203.0.113.1/24 dev other; ip link set other up')
  host.run('sh', '-c', 'ip route add 203.0.113.128/25 dev other; ip route add 10.80.1.9/32 dev other proto 87')
  await systemClock.sleep(400, { signal }) // nothing is to come, so there is nothing to wait for
  t.equal(audits, 0, 'neither our own changes nor the things of others are drift')
  for (const [command, repair] of damages) {
    const audited = nextAudit()
    const start = performance.now()
    host.run('sh', '-c', command)
    const repairs = await audited
    const tookMs = performance.now() - start
    const lines = repairs.map(({ operation }) => operation)
    if (repair.source !== '^$') {
      t.ok(
        lines.some((line) => repair.test(line)),
        `${command}: ${lines.join('; ')}`,
      )
    }
    t.ok(tookMs < limitMs, `${command}: ${tookMs.toFixed(0)} ms`)
    t.same(await stage.audit(snapshot, { signal }), [], 'and then all is as it was')
    await systemClock.sleep(300, { signal }) // past the time in which echoes of the repair are expected
  }
})
