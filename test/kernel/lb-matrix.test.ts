import tap from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { matrixSuite } from '../support/lb-matrix.ts'

// On IPVS: lb-ipvs.test.ts.
tap.test('every way to a VIP, over two hosts', { skip: canMakeHosts }, async (t) => matrixSuite(t, 'nftables'))
