import t from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { startTestCluster } from '../support/local-cluster.ts'
import { repeatedly } from '../support/repeat.ts'
import { rollingSuite } from '../support/vips/rolling.ts'
import { pressures } from '../support/vips/stage.ts'

// On IPVS: vips-ipvs.test.ts.
await repeatedly(t, 'replacing every backend under load fails no request', {
  skip: canMakeHosts,
  suite: async (t) => {
    const cluster = await startTestCluster(2, 'rolling')
    t.teardown(() => cluster.stop())
    await rollingSuite(t, cluster, pressures.machine)
  },
})
