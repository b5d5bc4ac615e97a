import t from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { parseIp } from '../../core/base/ip.ts'
import { agentLabel, mangleDomain, mangleLabel } from '../../discovery/dns/label.ts'
import { reverseName, reverseZones } from '../../discovery/dns/reverse.ts'
import { taskHash } from '../../discovery/dns/task-hash.ts'
import { seededRandom } from '../fixtures/dns/random.ts'

/** Input, RFC 1123 label, RFC 952 label. Expectations: Mesos-DNS's own tests (records/labels) and its reference page. */
const labels: readonly (readonly [string, string, string])[] = [
  ['', '', ''],
  ['a', 'a', 'a'],
  ['-', '', ''],
  ['a---', 'a', 'a'],
  ['---a---', 'a', 'a'],
  ['---a---b', 'a---b', 'a---b'],
  ['a.b.c.d.e', 'a-b-c-d-e', 'a-b-c-d-e'],
  ['a.c.d_de.', 'a-c-d-de', 'a-c-d-de'],
  ['abc123', 'abc123', 'abc123'],
  ['-abc123', 'abc123', 'abc123'],
  ['abc123-', 'abc123', 'abc123'],
  ['abc-123', 'abc-123', 'abc-123'],
  ['abc--123', 'abc--123', 'abc--123'],
  ['r29f.dev.angrypigs', 'r29f-dev-angrypigs', 'r29f-dev-angrypigs'],
  [`hello${'-'.repeat(58)}f`, 'hellof', 'hellof'],
  ['4abc123', '4abc123', 'abc123'],
  ['-4abc123', '4abc123', 'abc123'],
  ['fd%gsf---gs7-f$gs--d7fddg-123', 'fdgsf---gs7-fgs--d7fddg-123', 'fdgsf---gs7-fgs--d7fddg1'],
  ['89fdgsf---gs7-fgs--d7fddg-123', '89fdgsf---gs7-fgs--d7fddg-123', 'fdgsf---gs7-fgs--d7fddg1'],
  ['89fdgsf---gs7-fgs--d7fddg---123', '89fdgsf---gs7-fgs--d7fddg---123', 'fdgsf---gs7-fgs--d7fddg1'],
  ['89fdgsf---gs7-fgs--d7fddg-', '89fdgsf---gs7-fgs--d7fddg', 'fdgsf---gs7-fgs--d7fddg'],
  ['chronos with a space AND MIXED CASE-2.0.1', 'chronoswithaspaceandmixedcase-2-0-1', 'chronoswithaspaceandmixe'],
  [
    'fd%gsf---gs7-f$gs--d7fddg123456789012345678901234567890123456789-123',
    'fdgsf---gs7-fgs--d7fddg1234567890123456789012345678901234567891',
    'fdgsf---gs7-fgs--d7fddg1',
  ],
  [
    '%%fdgsf---gs7-fgs--d7fddg123456789012345678901234567890123456789---123',
    'fdgsf---gs7-fgs--d7fddg1234567890123456789012345678901234567891',
    'fdgsf---gs7-fgs--d7fddg1',
  ],
  [
    '##fdgsf---gs7-fgs--d7fddg123456789012345678901234567890123456789-',
    'fdgsf---gs7-fgs--d7fddg123456789012345678901234567890123456789',
    'fdgsf---gs7-fgs--d7fddg1',
  ],
  ['UPPER_Case.Name', 'upper-case-name', 'upper-case-name'],
  ['Grüße_Ω', 'gre', 'gre'],
  ['\u212Aelvin', 'elvin', 'elvin'],
  ['🚀rocket', 'rocket', 'rocket'],
  ['日本', '', ''],
  ['l'.repeat(64), 'l'.repeat(63), 'l'.repeat(24)],
  ['123', '123', ''],
  ['/group/app', 'groupapp', 'groupapp'],
]

t.test('labels', async (t) => {
  for (const [text, rfc1123, rfc952] of labels) {
    t.equal(mangleLabel(text), rfc1123, `RFC 1123 of "${text}"`)
    t.equal(mangleLabel(text, 'rfc952'), rfc952, `RFC 952 of "${text}"`)
  }
})

t.test('any text makes a label or none', async (t) => {
  const random = seededRandom(3)
  for (let i = 0; i < 5000; i++) {
    const text = Array.from({ length: random(90) }, () => 'aZ09-._ é\u0000$'.charAt(random(11))).join('')
    if (!/^([a-z0-9][a-z0-9-]{0,62})?$/.test(mangleLabel(text))) t.fail(`RFC 1123 of ${JSON.stringify(text)}`)
    if (!/^([a-z][a-z0-9-]{0,23})?$/.test(mangleLabel(text, 'rfc952'))) t.fail(`RFC 952 of ${JSON.stringify(text)}`)
  }
  t.pass('5000 texts')
})

t.test('domains', async (t) => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['', '', ''],
    ['...', '', ''],
    ['abc.', 'abc', 'abc'],
    ['.abc', 'abc', 'abc'],
    ['a..c', 'a.c', 'a.c'],
    ['space space.com', 'spacespace.com', 'spacespace.com'],
    ['not$1234.com', 'not1234.com', 'not1234.com'],
    ['(@ host . com', 'host.com', 'host.com'],
    ['MiXeDcase.CoM', 'mixedcase.com', 'mixedcase.com'],
    ['pod_123$abc.marathon-0.6.0-dev.mesos', 'pod-123abc.marathon-0.6.0-dev.mesos', 'pod-123abc.marathon-0.dev.mesos'],
  ]
  for (const [text, rfc1123, rfc952] of cases) {
    t.equal(mangleDomain(text).join('.'), rfc1123, text)
    t.equal(mangleDomain(text, 'rfc952').join('.'), rfc952, text)
  }
})

t.test('task hashes and agents', async (t) => {
  t.equal(taskHash('test'), 'iffe9')
  t.match(taskHash(''), /^[a-km-uw-z1-9]{5}$/)
  t.equal(agentLabel('5dbd8c5a-9f0e-4a0f-8a0c-0c4d0b6e1a11-S12'), 's12')
  t.equal(agentLabel('S0'), 's0')
})

t.test('reverse names', async (t) => {
  t.equal(reverseName(parseIp('10.80.1.2')), '2.1.80.10.in-addr.arpa.')
  t.equal(
    reverseName(parseIp('2001:db8::a1')),
    '1.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.',
  )
  const zones: readonly (readonly [string, readonly string[]])[] = [
    ['10.0.0.0/8', ['10.in-addr.arpa.']],
    ['100.96.0.0/16', ['96.100.in-addr.arpa.']],
    ['10.80.0.0/14', ['80.10.in-addr.arpa.', '81.10.in-addr.arpa.', '82.10.in-addr.arpa.', '83.10.in-addr.arpa.']],
    ['192.0.2.128/31', ['128.2.0.192.in-addr.arpa.', '129.2.0.192.in-addr.arpa.']],
    ['0.0.0.0/0', ['in-addr.arpa.']],
    ['fd00:80::/48', ['0.0.0.0.0.8.0.0.0.0.d.f.ip6.arpa.']],
    ['2001:db8::/31', ['8.b.d.0.1.0.0.2.ip6.arpa.', '9.b.d.0.1.0.0.2.ip6.arpa.']],
  ]
  for (const [prefix, names] of zones) t.same(reverseZones(parseCidr(prefix)), names, prefix)
})
