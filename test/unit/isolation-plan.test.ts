import t from 'tap'
import { emptySnapshot } from '../../core/model/snapshot.ts'
import { openIsolationStage } from '../../networking/isolation/stage.ts'
import { openFakeNft } from '../../networking/nft/fake.ts'
import { formatNftOp } from '../../networking/nft/ops.ts'
import { testChange, testNetwork, testSnapshot } from '../support/lb-snapshot.ts'

const { signal } = new AbortController()
const first = testNetwork('dcos', 1024, '10.80.0.0/14', 'fd01:b:0:1::/64')
const second = testNetwork('other', 1025, '10.90.0.0/16')
const snapshot = (version: number, ...networks: (typeof first)[]) => testSnapshot(version, { networks })

const cases = [
  {
    name: 'a network comes',
    from: snapshot(1, first),
    to: snapshot(2, first, second),
    added: [
      'add element inet weft iso-network4 { 10.90.0.0/16 }',
      'add element inet weft iso-pair4 { 10.90.0.0/16 . 10.90.0.0/16 : accept }',
    ],
    removed: [],
  },
  {
    name: 'a network goes: last',
    from: snapshot(1, first, second),
    to: snapshot(2, second),
    added: [],
    removed: [
      'delete element inet weft iso-network4 { 10.80.0.0/14 }',
      'delete element inet weft iso-pair4 { 10.80.0.0/14 . 10.80.0.0/14 }',
      'delete element inet weft iso-network6 { fd01:b:0:1::/64 }',
      'delete element inet weft iso-pair6 { fd01:b:0:1::/64 . fd01:b:0:1::/64 }',
    ],
  },
  {
    name: 'a prefix moves from one network to another',
    from: snapshot(1, second),
    to: snapshot(2, testNetwork('third', 1026, '10.90.0.0/17')),
    added: [
      'delete element inet weft iso-network4 { 10.90.0.0/16 }',
      'add element inet weft iso-network4 { 10.90.0.0/17 }',
      'delete element inet weft iso-pair4 { 10.90.0.0/16 . 10.90.0.0/16 }',
      'add element inet weft iso-pair4 { 10.90.0.0/17 . 10.90.0.0/17 : accept }',
    ],
    removed: [],
  },
  {
    name: 'anything else',
    from: snapshot(1, first),
    to: { ...snapshot(2), networks: snapshot(1, first).networks },
    added: [],
    removed: [],
  },
]

for (const { name, from, to, added, removed } of cases) {
  t.test(name, async (t) => {
    const nft = openFakeNft()
    const stage = openIsolationStage({ nft, table: 'weft' })
    await stage.plan(testChange(emptySnapshot, from)).add({ signal })
    t.same(await stage.audit(from, { signal }), [], 'the first change made all of it')
    const since = (from: number) =>
      nft.applied.slice(from).flatMap(({ ops }) => ops.map((op) => formatNftOp('weft', op)))
    const steps = stage.plan(testChange(from, to))
    const start = nft.applied.length
    await steps.add({ signal })
    t.same(since(start), added)
    const middle = nft.applied.length
    await steps.remove({ signal })
    t.same(since(middle), removed)
    t.same(await stage.audit(to, { signal }), [])
  })
}

t.test('after a failure the kernel is read', async (t) => {
  const nft = openFakeNft()
  const stage = openIsolationStage({ nft, table: 'weft' })
  await stage.audit(snapshot(1, first, second), { signal })
  await nft.apply(
    { table: 'weft', ops: [{ kind: 'element.delete', set: 'iso-network4', elements: [{ key: '10.90.0.0/16' }] }] },
    { signal },
  )
  const change = testChange(snapshot(1, first, second), snapshot(2, first))
  await t.rejects(stage.plan(change).remove({ signal }), { code: 'ERR_NFT_NOT_FOUND' })
  await stage.plan(change).remove({ signal })
  t.same(await stage.audit(snapshot(2, first), { signal }), [])
})
