import tap from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { resteerSuite, restartSuite } from '../support/lb-fault-suite.ts'
import { repeatedly } from '../support/repeat.ts'
import { scheduleSuite } from '../support/lb-schedule.ts'
import { drainSuite, pingSuite, trafficSuite } from '../support/lb-traffic-suite.ts'

// On IPVS: lb-ipvs.test.ts.
tap.test('ping', { skip: canMakeHosts }, async (t) => pingSuite(t, 'nftables'))

tap.test('traffic through VIPs', { skip: canMakeHosts }, async (t) => trafficSuite(t, 'nftables'))
await repeatedly(tap, 'backends come and go', { skip: canMakeHosts, suite: (t) => drainSuite(t, 'nftables') })
tap.test('schedulers', { skip: canMakeHosts }, async (t) => scheduleSuite(t, 'nftables'))
await repeatedly(tap, 'the daemon is killed under load', {
  skip: canMakeHosts,
  suite: (t) => restartSuite(t, 'nftables'),
})
await repeatedly(tap, 'UDP flows are steered anew', { skip: canMakeHosts, suite: (t) => resteerSuite(t, 'nftables') })
