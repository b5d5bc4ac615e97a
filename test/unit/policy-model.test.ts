import t from 'tap'
import { decodePolicy, encodePolicy } from '../../core/api/convert-policy.ts'
import { parseCidr } from '../../core/base/cidr.ts'
import { parseIp } from '../../core/base/ip.ts'
import { decideAddPolicy } from '../../core/master/policies/decide.ts'
import { policyBody, policyView, storedPolicy } from '../../core/master/policies/schema.ts'
import { comparePolicies, formatSelector, parseSelector } from '../../core/model/policy.ts'
import { findGroups } from '../../networking/isolation/groups.ts'
import { cutPieces } from '../../networking/isolation/pieces.ts'
import { portTable } from '../../networking/isolation/policy-chains.ts'
import { testNetwork, testSnapshot } from '../support/lb-snapshot.ts'
import { testPolicy } from '../support/policies.ts'

t.test('selectors are read and written', async (t) => {
  for (const text of [
    'any',
    'network:dcos',
    'label:tier=db',
    'label:a=b=c',
    'task:/group/web',
    'task:web',
    'cidr:10.0.0.0/8',
  ]) {
    t.equal(formatSelector(parseSelector(text)), text)
  }
  for (const text of [
    '',
    'web',
    'network:',
    'network:HOST',
    'network:host',
    'label:x',
    'label:=x',
    'task:',
    'task:a b',
    'cidr:10.0.0.1/8',
    'cidr:10.0.0.0/33',
    'ip:10.0.0.1',
  ]) {
    t.throws(() => parseSelector(text), { code: 'ERR_MODEL_POLICY' }, text)
  }
})

const good = { name: 'a', action: 'allow', from: 'any', to: 'network:dcos' }
const bad: readonly (readonly [string, unknown, string])[] = [
  ['no object', 'x', '/'],
  ['no name', { ...good, name: undefined }, '/name'],
  ['a name for a shell', { ...good, name: 'a; drop' }, '/name'],
  ['another action', { ...good, action: 'reject' }, '/action'],
  ['no selector', { ...good, from: 'dcos' }, '/from'],
  ['host bits', { ...good, to: 'cidr:10.0.0.1/8' }, '/to'],
  ['ports without protocol', { ...good, ports: ['80'] }, '/ports'],
  ['ports of ICMP', { ...good, protocol: 'icmp', ports: [80] }, '/ports'],
  ['port 0', { ...good, protocol: 'tcp', ports: [0] }, '/ports/0'],
  ['a range that ends before it begins', { ...good, protocol: 'tcp', ports: ['90-80'] }, '/ports/0'],
  ['a port over 65535', { ...good, protocol: 'tcp', ports: ['80', '1-65536'] }, '/ports/1'],
  ['a priority that is no number', { ...good, priority: 'high' }, '/priority'],
  ['a field that nobody knows', { ...good, source: 'any' }, '/'],
]

t.test('what the API refuses, and where it says the fault is', async (t) => {
  for (const [name, body, path] of bad) {
    const issues = policyBody.safeParse(body).error?.issues ?? []
    t.ok(
      issues.some((issue) => `/${issue.path.join('/')}` === path),
      `${name}: ${JSON.stringify(issues)}`,
    )
  }
})

t.test('a policy survives the API, the registry and the stream', async (t) => {
  const policy = policyBody.parse({ ...good, protocol: 'tcp', ports: [80, '443', '8000-8100'], direction: 'both' })
  t.same(policyBody.parse(policyView(policy)), policy)
  t.same(storedPolicy.parse(JSON.parse(JSON.stringify(policy))), policy)
  t.same(decodePolicy(encodePolicy(policy)), policy)
})

t.test('adding: again, with another meaning, to a network that is not there', async (t) => {
  const policy = testPolicy('a', { from: 'any', to: 'network:dcos' })
  const { networks } = testSnapshot(1, { networks: [testNetwork('dcos', 1, '10.80.0.0/14')] })
  const empty = new Map()
  const state = {
    agents: empty,
    frameworks: empty,
    nodes: empty,
    vips: empty,
    networks,
    policies: new Map([['a', policy]]),
    weights: empty,
    quotas: empty,
    gone: empty,
  }
  t.same(decideAddPolicy(policy)(state), {})
  t.throws(() => decideAddPolicy({ ...policy, action: 'deny' })(state), { code: 'ERR_MASTER_POLICY_EXISTS' })
  const lost = testPolicy('b', { from: 'network:gone', to: 'any' })
  t.throws(() => decideAddPolicy(lost)(state), { code: 'ERR_MASTER_POLICY_NETWORK', message: /^\/from/ })
})

t.test('the order: priority, deny before allow, name', async (t) => {
  const policies = [
    testPolicy('b', { from: 'any', to: 'any' }),
    testPolicy('c', { from: 'any', to: 'any', action: 'deny' }),
    testPolicy('a', { from: 'any', to: 'any' }),
    testPolicy('z', { from: 'any', to: 'any', priority: 1 }),
  ]
  t.same(
    policies.toSorted(comparePolicies).map(({ name }) => name),
    ['z', 'c', 'a', 'b'],
  )
})

t.test('prefixes in each other are cut into pieces', async (t) => {
  const { all, tagsOf } = cutPieces([
    { prefix: parseCidr('10.0.0.0/30'), tag: 'outer' },
    { prefix: parseCidr('10.0.0.2/32'), tag: 'inner' },
    { prefix: parseCidr('10.0.0.2/32'), tag: 'same' },
    { prefix: parseCidr('fd00::/127'), tag: 'six' },
  ])
  t.same(Object.fromEntries(all.map(({ prefix, tags }) => [prefix, tags.join()])), {
    '10.0.0.0/31': 'outer',
    '10.0.0.3/32': 'outer',
    '10.0.0.2/32': 'inner,outer,same',
    'fd00::/127': 'six',
  })
  t.same(tagsOf(parseIp('10.0.0.3')), ['outer'])
  t.same(tagsOf(parseIp('10.0.0.4')), [])
})

t.test('a group keeps its number when others come', async (t) => {
  const networks = [testNetwork('one', 1, '10.1.0.0/16'), testNetwork('two', 2, '10.2.0.0/16')]
  const first = [testPolicy('a', { from: 'network:one', to: 'any' })]
  const both = [...first, testPolicy('b', { from: 'network:two', to: 'any' })]
  const numbers = [first, both].map((policies) =>
    findGroups(testSnapshot(1, { networks, policies })).members.get('network:one'),
  )
  t.same(numbers[0], numbers[1])
})

t.test('the first policy that has a port gets it', async (t) => {
  const policies = [
    testPolicy('a', { from: 'any', to: 'any', protocol: 'tcp', ports: ['80'] }),
    testPolicy('b', { from: 'any', to: 'any', protocol: 'tcp', ports: ['79-81'] }),
    testPolicy('c', { from: 'any', to: 'any', protocol: 'tcp', ports: ['81-82'] }),
  ]
  t.same(
    portTable(policies).map(({ begin, end, policy }) => `${begin}-${end} ${policy.name}`),
    ['79-79 b', '80-80 a', '81-81 b', '82-82 c'],
  )
})
