import tap from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { resteerSuite, restartSuite } from '../support/lb-fault-suite.ts'
import { scheduleSuite } from '../support/lb-schedule.ts'
import { drainSuite, trafficSuite } from '../support/lb-traffic-suite.ts'

// On IPVS: lb-ipvs.test.ts.
tap.test('traffic through VIPs', { skip: canMakeHosts }, async (t) => trafficSuite(t, 'nftables'))
tap.test('backends come and go', { skip: canMakeHosts }, async (t) => drainSuite(t, 'nftables'))
tap.test('schedulers', { skip: canMakeHosts }, async (t) => scheduleSuite(t, 'nftables'))
tap.test('the daemon is killed under load', { skip: canMakeHosts }, async (t) => restartSuite(t, 'nftables'))
tap.test('UDP flows are steered anew', { skip: canMakeHosts }, async (t) => resteerSuite(t, 'nftables'))
