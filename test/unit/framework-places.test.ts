import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { frameworkAddress } from '../../core/master/frameworks/place.ts'

const node = (name: string) => (name === 'agent1' ? parseIp('192.0.2.11') : undefined)
const self = parseIp('192.0.2.1')
const from = parseIp('203.0.113.9')

const cases: readonly (readonly [string, string, string | undefined, string | undefined])[] = [
  ['an address that it says', '198.51.100.77', '203.0.113.9', '198.51.100.77'],
  ['of either version', '2001:DB8::7', '203.0.113.9', '2001:db8::7'],
  ['a node that it says', 'agent1', '203.0.113.9', '192.0.2.11'],
  ['another name means what it means to others: its connection', 'build7.example.com', '203.0.113.9', '203.0.113.9'],
  ['nothing said', '', '2001:db8::9', '2001:db8::9'],
  ['on the machine of the master', '', '127.0.0.1', '192.0.2.1'],
  ['the same over IPv6', 'localhost', '::1', '192.0.2.1'],
  ['it says loopback', '127.0.1.1', '203.0.113.9', '192.0.2.1'],
  ['nothing known: an earlier master had its connection', 'build7.example.com', undefined, undefined],
]

t.test('where a framework runs', async (t) => {
  for (const [name, hostname, origin, expected] of cases) {
    const facts = { hostname, from: origin === undefined ? undefined : parseIp(origin), node, self }
    t.equal(frameworkAddress(facts), expected, name)
  }
  t.equal(frameworkAddress({ hostname: '', from, node, self: undefined }), from)
})
