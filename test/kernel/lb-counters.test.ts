import t from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { countersSuite } from '../support/lb-counters-suite.ts'

t.test('counters of nftables, by conntrack', { skip: canMakeHosts }, (t) => countersSuite(t, 'nftables'))
