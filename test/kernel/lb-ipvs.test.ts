/**
 * IPVS for real: here where this kernel has it, else in the test guest (test/vm), which runs this same file and whose
 * assertions are counted as any.
 */
import { fileURLToPath } from 'node:url'
import tap, { type Test } from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { auditSuite, foreignSuite, isolationSuite } from '../support/ipvs/audit.ts'
import { countersSuite } from '../support/lb-counters-suite.ts'
import { scheduleSuite } from '../support/lb-schedule.ts'
import { switchSuite } from '../support/ipvs/switch.ts'
import { ipvsConformance } from '../support/ipvs/conformance.ts'
import { resteerSuite, restartSuite } from '../support/lb-fault-suite.ts'
import { matrixSuite } from '../support/lb-matrix.ts'
import { drainSuite, pingSuite, trafficSuite } from '../support/lb-traffic-suite.ts'
import { hasInetTables, hasIpvs } from '../support/ipvs/kernel.ts'
import { repeatedly, repetitions } from '../support/repeat.ts'
import { guestMissing } from '../vm/run.ts'

/** With a kernel that has no nftables for IP, all but those marked `alone` are skipped: the guard's rules need it. */
const suites: readonly (readonly [string, (t: Test) => Promise<void>, 'alone'?])[] = [
  ['conformance', ipvsConformance],
  ['audit', auditSuite],
  ["others' services", foreignSuite, 'alone'],
  ['networks are apart', isolationSuite],
  ['counters', (t) => countersSuite(t, 'ipvs')],
  ['schedulers', (t) => scheduleSuite(t, 'ipvs')],
  ['another data plane', switchSuite],
  ['ping', (t) => pingSuite(t, 'ipvs')],
  ['traffic through VIPs', (t) => trafficSuite(t, 'ipvs')],
  ['every way to a VIP, over two hosts', (t) => matrixSuite(t, 'ipvs')],
  ['the daemon is killed under load', (t) => restartSuite(t, 'ipvs')],
  ['UDP flows are steered anew', (t) => resteerSuite(t, 'ipvs')],
  ['backends come and go', (t) => drainSuite(t, 'ipvs')],
]
const guest = fileURLToPath(new URL('../vm/main.ts', import.meta.url))
const missing = canMakeHosts || (hasIpvs() ? false : guestMissing())

const timeout = 280_000 * repetitions()
tap.setTimeout(timeout)
if (missing !== false) tap.test('IPVS', { skip: `this kernel has no IPVS, and ${missing}` }, async () => undefined)
else if (hasIpvs()) {
  const noNft = hasInetTables() ? false : 'this kernel has IPVS, but not the families of nftables'
  for (const [name, suite, alone] of suites) await repeatedly(tap, name, { skip: alone === undefined && noNft, suite })
} else {
  const env = { ...process.env, WEFT_GUEST_TAP: '1', WEFT_GUEST_TIMEOUT_MS: String(timeout) }
  const command = [guest, process.execPath, fileURLToPath(import.meta.url)]
  tap.spawn(process.execPath, command, { timeout, env }, 'in the test guest')
}
