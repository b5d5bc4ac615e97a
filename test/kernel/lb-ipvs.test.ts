/**
 * IPVS for real: here where this kernel has it, else in the test guest (test/vm), which runs this same file and whose
 * assertions are counted as any.
 */
import { fileURLToPath } from 'node:url'
import tap, { type Test } from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { auditSuite, foreignSuite, isolationSuite } from '../support/ipvs/audit.ts'
import { scheduleSuite } from '../support/ipvs/schedule.ts'
import { switchSuite } from '../support/ipvs/switch.ts'
import { ipvsConformance } from '../support/ipvs/conformance.ts'
import { drainSuite, trafficSuite } from '../support/lb-traffic-suite.ts'
import { hasIpvs } from '../support/ipvs/plane.ts'
import { guestMissing } from '../vm/run.ts'

const suites: readonly (readonly [string, (t: Test) => Promise<void>])[] = [
  ['conformance', ipvsConformance],
  ['audit', auditSuite],
  ["others' services", foreignSuite],
  ['networks are apart', isolationSuite],
  ['schedulers', scheduleSuite],
  ['another data plane', switchSuite],
  ['traffic through VIPs', (t) => trafficSuite(t, 'ipvs')],
  ['backends come and go', (t) => drainSuite(t, 'ipvs')],
]
const guest = fileURLToPath(new URL('../vm/main.ts', import.meta.url))
const missing = canMakeHosts || (hasIpvs() ? false : guestMissing())

tap.setTimeout(280_000)
if (missing !== false) tap.test('IPVS', { skip: `this kernel has no IPVS, and ${missing}` }, async () => undefined)
else if (hasIpvs()) for (const [name, suite] of suites) tap.test(name, suite)
else
  tap.spawn(
    process.execPath,
    [guest, process.execPath, fileURLToPath(import.meta.url)],
    { timeout: 280_000 },
    'in the test guest',
  )
