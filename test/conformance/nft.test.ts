import tap, { type Test } from 'tap'
import { openFakeNft } from '../../networking/nft/fake.ts'
import { openLibnftables } from '../../networking/nft/libnftables.ts'
import { type Nft } from '../../networking/nft/nft.ts'
import { type NftOp } from '../../networking/nft/ops.ts'
import { planNftTable, planNftWipe } from '../../networking/nft/plan.ts'
import { openNftProcess } from '../../networking/nft/process.ts'
import { type NftTableSpec, ruleMark } from '../../networking/nft/table.ts'
import { canMakeHosts, makeHost, type TestHost } from '../support/hosts.ts'
import { nftNamespace } from '../support/nft-namespace.ts'

const { signal } = new AbortController()
const rule = { name: 'tell', text: 'ip saddr @own-prefix counter drop' }
const verdicts = { name: 'own-verdict', kind: 'map', key: ['ipv4_addr', 'inet_proto', 'inet_service'] } as const
const spec: NftTableSpec = {
  sets: [
    {
      name: 'own-prefix',
      kind: 'set',
      key: ['ipv4_addr'],
      value: [],
      interval: true,
      elements: new Map([
        ['10.80.0.0/14', ''],
        ['10.90.0.0/16', ''],
      ]),
    },
    {
      ...verdicts,
      value: ['verdict'],
      interval: false,
      elements: new Map([['198.18.0.1 . tcp . 80', 'goto own-target']]),
    },
    {
      name: 'own-slot6',
      kind: 'map',
      key: ['ipv6_addr', 'inet_proto', 'inet_service'],
      value: ['ipv6_addr', 'inet_service'],
      interval: false,
      elements: new Map([['fd00::1 . udp . 53', 'fd00::a:0:0:2 . 5353']]),
    },
    {
      name: 'own-pair',
      kind: 'map',
      key: ['ipv4_addr', 'ipv4_addr'],
      value: ['verdict'],
      interval: true,
      elements: new Map([['10.80.0.0/14 . 10.80.0.0/14', 'accept']]),
    },
  ],
  chains: [
    { name: 'own-forward', base: { type: 'filter', hook: 'forward', priority: 0 }, rules: [rule] },
    { name: 'own-target', rules: [] },
  ],
}
const add: NftOp[] = [{ kind: 'table.add' }]
const element = (key: string, value: string): NftOp => ({
  kind: 'element.add',
  set: 'own-verdict',
  elements: [{ key, value }],
})
const prefix = (verb: 'add' | 'delete'): NftOp => ({
  kind: `element.${verb}`,
  set: 'own-prefix',
  elements: [{ key: '10.95.0.0/16' }],
})
const failures: readonly { name: string; ops: readonly NftOp[]; code: string }[] = [
  {
    name: 'element not there',
    ops: [{ kind: 'element.delete', set: 'own-prefix', elements: [{ key: '10.1.0.0/16' }] }],
    code: 'ERR_NFT_NOT_FOUND',
  },
  {
    name: 'no such set',
    ops: [{ kind: 'set.delete', set: { name: 'own-missing', kind: 'set' } }],
    code: 'ERR_NFT_NOT_FOUND',
  },
  { name: 'chain that a verdict leads to', ops: [{ kind: 'chain.delete', chain: 'own-target' }], code: 'ERR_NFT_BUSY' },
  {
    name: 'verdict to a missing chain',
    ops: [element('198.18.0.9 . tcp . 80', 'goto own-missing')],
    code: 'ERR_NFT_NOT_FOUND',
  },
  { name: 'key with another value', ops: [element('198.18.0.1 . tcp . 80', 'accept')], code: 'ERR_NFT_EXISTS' },
  { name: 'key of the wrong type', ops: [element('198.18.0.1', 'accept')], code: 'ERR_NFT_SYNTAX' },
  {
    name: 'text that ends a command',
    ops: [element('198.18.0.1 . tcp . 80 }; flush ruleset', 'accept')],
    code: 'ERR_NFT_TEXT',
  },
]

async function suite(t: Test, nft: Nft): Promise<void> {
  const read = async () => nft.readTable('wefttest', { signal })
  const apply = async (ops: readonly NftOp[]) => nft.apply({ table: 'wefttest', ops }, { signal })
  const plan = async () => planNftTable({ owner: 'own-', desired: spec, actual: await read() })
  t.equal(await read(), undefined, 'no table yet')
  await nft.check({ table: 'wefttest', ops: await plan() }, { signal })
  t.equal(await read(), undefined, 'a check changes nothing')
  await apply(await plan())
  t.same(await plan(), [], 'what was applied is what is read')
  const table = await read()
  for (const set of spec.sets) t.same(table?.sets.get(set.name), set, set.name)
  t.match(table?.chains.get('own-forward'), { base: { hook: 'forward' }, rules: [{ mark: ruleMark(rule) }] })
  await apply([...add, ...(await plan())])
  t.same(await plan(), [], 'adding again is done already')

  for (const { name, ops, code } of failures) {
    const before = await read()
    await t.rejects(apply([{ kind: 'chain.add', chain: 'own-new' }, prefix('add'), ...ops]), { code }, name)
    t.same(await read(), before, `${name}: all or nothing`)
  }
  await apply([prefix('add')])
  await apply([prefix('delete')])
  t.same(await plan(), [], 'what failed is forgotten')
  await apply([
    { kind: 'element.delete', set: 'own-verdict', elements: [{ key: '198.18.0.1 . tcp . 80' }] },
    element('198.18.0.1 . tcp . 80', 'accept'),
    { kind: 'chain.add', chain: 'foreign' },
    { kind: 'chain.add', chain: 'own-left' },
    { kind: 'chain.flush', chain: 'own-forward' },
  ])
  t.equal((await read())?.sets.get('own-verdict')?.elements.get('198.18.0.1 . tcp . 80'), 'accept', 'value replaced')
  const repair = await plan()
  t.same(
    repair.map(({ kind }) => kind),
    ['rule.add', 'element.delete', 'element.add', 'chain.flush', 'chain.delete'],
  )
  await apply(repair)
  t.same(await plan(), [], 'repaired')
  t.ok((await read())?.chains.has('foreign'), 'the object of another owner stays')

  const narrower = { ...verdicts, key: ['ipv4_addr'], value: ['verdict'], interval: false, elements: new Map() }
  const desired = { ...spec, sets: spec.sets.map((set) => (set.name === verdicts.name ? narrower : set)) }
  await apply(planNftTable({ owner: 'own-', desired, actual: await read() }))
  t.same(planNftTable({ owner: 'own-', desired, actual: await read() }), [], 'a set of another shape is made anew')
  const last = await read()
  if (last !== undefined) await apply(planNftWipe(last, 'own-'))
  t.same([...((await read())?.chains.keys() ?? [])], ['foreign'], 'a wipe takes only the own objects')
  await apply([{ kind: 'table.delete' }])
  t.equal(await read(), undefined, 'gone')
  await t.rejects(nft.apply({ table: 'wefttest', ops: add }, { signal: AbortSignal.abort() }), { name: 'AbortError' })
}

tap.test('fake', async (t) => suite(t, openFakeNft()))

const real: readonly [string, (host: TestHost) => Promise<Nft>][] = [
  ['process', async (host) => openNftProcess({ namespace: nftNamespace(host) })],
  ['libnftables', async (host) => openLibnftables({ namespace: nftNamespace(host) })],
]
for (const [name, open] of real) {
  tap.test(name, { skip: canMakeHosts }, async (t) => {
    const host = makeHost(name)
    t.teardown(host.remove)
    const nft = await open(host)
    t.teardown(nft.close)
    await suite(t, nft)
  })
}
