import t from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { startTestCluster } from '../support/local-cluster.ts'
import { repeatedly } from '../support/repeat.ts'
import { nodeLossSuite } from '../support/vips/node-loss.ts'

// On IPVS: vips-ipvs.test.ts.
await repeatedly(t, 'a node that cannot be reached is bypassed by the others, and taken back', {
  skip: canMakeHosts,
  suite: async (t) => {
    const cluster = await startTestCluster(3, 'loss')
    t.teardown(() => cluster.stop())
    await nodeLossSuite(t, cluster, { lost: 'agent3', watchers: ['agent1', 'agent2'], perSecond: 100 })
  },
})
