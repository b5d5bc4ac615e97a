/** The faults of the other tests of VIPs, with IPVS: here where this kernel has it, else in the test guest (test/vm). */
import { fileURLToPath } from 'node:url'
import tap from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { hasInetTables, hasIpvs } from '../support/ipvs/kernel.ts'
import { startTestCluster } from '../support/local-cluster.ts'
import { repeatedly, repetitions } from '../support/repeat.ts'
import { damageSuite } from '../support/vips/damage.ts'
import { drainTimeSuite } from '../support/vips/drain-time.ts'
import { killSuite } from '../support/vips/kills.ts'
import { nodeLossSuite } from '../support/vips/node-loss.ts'
import { rollingSuite } from '../support/vips/rolling.ts'
import { dataPlaneOf, pressures } from '../support/vips/stage.ts'
import { guestMissing } from '../vm/run.ts'

const guest = fileURLToPath(new URL('../vm/main.ts', import.meta.url))
const missing = canMakeHosts || (hasIpvs() ? false : guestMissing())
const timeout = 280_000 * repetitions()
const pressure = pressures.guest

tap.setTimeout(timeout)
if (missing !== false) tap.test('IPVS', { skip: `this kernel has no IPVS, and ${missing}` }, async () => undefined)
else if (hasIpvs()) {
  const skip = hasInetTables() ? false : 'this kernel has IPVS, but not the families of nftables'
  await tap.test('VIPs of a cluster on IPVS', { skip, timeout }, async (t) => {
    const cluster = await startTestCluster(2, 'ipvs')
    t.teardown(() => cluster.stop())
    t.equal(await dataPlaneOf(cluster, 'agent1'), 'ipvs')
    const loss = { lost: 'agent2', watchers: ['agent1', 'master1'], perSecond: pressure.perSecond * 2 }
    await repeatedly(t, 'every backend is replaced under load', { suite: (t) => rollingSuite(t, cluster, pressure) })
    await repeatedly(t, 'node daemons are killed ten times under load', { suite: (t) => killSuite(t, cluster) })
    await t.test('a drain time of its own', (t) => drainTimeSuite(t, cluster, 10))
    await repeatedly(t, 'objects are deleted by hand under load', { suite: (t) => damageSuite(t, cluster, 20) })
    await repeatedly(t, 'a node is lost', { suite: (t) => nodeLossSuite(t, cluster, loss) })
  })
} else {
  const env = { ...process.env, WEFT_GUEST_TAP: '1', WEFT_GUEST_TIMEOUT_MS: String(timeout) }
  const command = [guest, process.execPath, fileURLToPath(import.meta.url)]
  tap.spawn(process.execPath, command, { timeout, env }, 'in the test guest')
}
