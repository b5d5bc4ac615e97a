import t from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { startTestCluster } from '../support/local-cluster.ts'
import { repeatedly } from '../support/repeat.ts'
import { damageSuite } from '../support/vips/damage.ts'
import { drainTimeSuite } from '../support/vips/drain-time.ts'
import { killSuite } from '../support/vips/kills.ts'

// On IPVS: vips-ipvs.test.ts.
await repeatedly(t, 'faults of daemons and tables', {
  skip: canMakeHosts,
  suite: async (t) => {
    const cluster = await startTestCluster(2, 'faults')
    t.teardown(() => cluster.stop())
    await t.test('node daemons are killed ten times under load', (t) => killSuite(t, cluster))
    await t.test('a drain time of its own', (t) => drainTimeSuite(t, cluster, 5))
    await t.test('objects are deleted by hand under load', (t) => damageSuite(t, cluster, 50))
  },
})
