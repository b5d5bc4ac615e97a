import t from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { silentLog } from '../../core/base/log.ts'
import { applyDelta, mergeDeltas } from '../../core/model/delta.ts'
import { parseNetworkName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, emptySnapshot, type Network, type SnapshotDelta } from '../../core/model/snapshot.ts'
import { emptyDelta, openHistory } from '../../core/master/snapshot/history.ts'
import { openKeeper } from '../../core/master/snapshot/keeper.ts'
import { openMailbox, type SnapshotMail } from '../../core/master/snapshot/mailbox.ts'
import { openVersions } from '../../core/master/snapshot/versions.ts'
import { openManualClock } from '../support/agent-clock.ts'

const network = (name: string, vni = 1): Network => ({
  name: parseNetworkName(name),
  vni,
  subnets: [parseCidr('10.80.0.0/14')],
})

/** A delta that sets some networks and removes others. */
function change(version: number, set: readonly Network[], remove: readonly string[] = []): SnapshotDelta {
  return {
    ...emptyDelta(version),
    networks: {
      upserts: new Map(set.map((each) => [each.name, each])),
      removals: new Set(remove.map(parseNetworkName)),
    },
  }
}

/** A keeper with versions from 100, and what `soon` was given. */
async function openTestKeeper(reserve: (until: number) => Promise<void> = async () => undefined) {
  const clock = openManualClock()
  const soon: (() => void)[] = []
  const versions = await openVersions({
    ...{ reserve, clock, reservedUntil: 100, log: silentLog },
    onAvailable: () => keeper.flush(),
  })
  const keeper = openKeeper({ versions, soon: (task) => soon.push(task) })
  const turn = () => {
    for (const task of soon.splice(0)) task()
  }
  return { keeper, clock, versions, turn }
}

t.test('the changes of a turn are one version; what says the same is none', async (t) => {
  const { keeper, turn } = await openTestKeeper()
  const published: SnapshotDelta[] = []
  const stop = keeper.onPublish((delta) => published.push(delta))
  const [a, b] = [network('a'), network('b')]
  keeper.networks.set(a.name, a)
  keeper.networks.set(b.name, b)
  keeper.networks.delete(b.name)
  t.equal(keeper.version(), 100)
  turn()
  t.equal(keeper.version(), 101)
  t.same(published, [change(101, [a], ['b'])])
  keeper.networks.set(a.name, { ...a })
  keeper.networks.delete(b.name)
  turn()
  t.equal(keeper.flush(), 101, 'nothing changed')
  keeper.networks.set(a.name, network('a', 2))
  t.equal(keeper.flush(), 102, 'or at once')
  turn()
  t.equal(keeper.version(), 102)
  stop()
  keeper.networks.delete(a.name)
  keeper.flush()
  t.equal(published.length, 2)
})

t.test('a subscriber gets all, then each change; one that returns gets what it missed', async (t) => {
  const { keeper } = await openTestKeeper()
  const a = network('a')
  keeper.networks.set(a.name, a)
  keeper.flush()
  const cases: readonly { readonly resumeAfter: number; readonly first: unknown }[] = [
    { resumeAfter: 0, first: { kind: 'full' } },
    { resumeAfter: 99, first: { kind: 'full' } },
    { resumeAfter: 102, first: { kind: 'full' } },
    { resumeAfter: 100, first: { kind: 'delta', delta: change(101, [a]) } },
    { resumeAfter: 101, first: { kind: 'delta', delta: emptyDelta(101) } },
  ]
  for (const { resumeAfter, first } of cases) {
    const mail: SnapshotMail[] = []
    const subscription = keeper.subscribe(resumeAfter, (each) => mail.push(each) > 0)
    t.same(mail, [first], `after ${resumeAfter}`)
    t.equal(keeper.subscribers(), 1)
    subscription.close()
  }
  const mail: SnapshotMail[] = []
  keeper.subscribe(101, (each) => mail.push(each) > 0)
  keeper.networks.delete(a.name)
  keeper.flush()
  t.same(mail[1], { kind: 'delta', delta: change(102, [], ['a']) })
})

t.test('history: any version in it leads to now, and it is bounded', async (t) => {
  const history = openHistory(10, 12)
  const states: ClusterSnapshot[] = [{ ...emptySnapshot, version: 10 }]
  const names = ['a', 'b', 'c', 'd']
  for (let version = 11; version <= 40; version++) {
    const name = names[version % 4] ?? 'a'
    const delta = version % 3 === 0 ? change(version, [], [name]) : change(version, [network(name, version)])
    history.push(delta)
    states.push(applyDelta(states.at(-1) ?? emptySnapshot, delta))
  }
  const now = states.at(-1)
  let found = 0
  for (const state of states) {
    const delta = history.since(state.version)
    if (delta === undefined) continue
    found++
    t.same(applyDelta(state, delta), now, `from ${state.version}`)
  }
  t.equal(found, 7, 'six deltas of one entity each')
  t.equal(history.since(41), undefined)
})

t.test('a slow reader gets one delta, or all of it, never a queue', async (t) => {
  const sent: SnapshotMail[] = []
  let size = 0
  const mailbox = openMailbox({ send: (mail) => sent.push(mail) === 0, snapshotSize: () => size })
  const steps = Array.from({ length: 5 }, (_, i) => change(i + 1, [network('a', i + 1)], i === 2 ? ['b'] : []))
  for (const delta of steps) mailbox.post({ kind: 'delta', delta })
  t.same(sent, [{ kind: 'delta', delta: steps[0] }])
  mailbox.drained()
  t.same(sent[1], { kind: 'delta', delta: steps.slice(1).reduce(mergeDeltas) })
  mailbox.drained()
  t.equal(sent.length, 2)

  mailbox.post({ kind: 'delta', delta: steps[0] ?? emptyDelta(1) })
  for (let i = 0; i < 1_500; i++) mailbox.post({ kind: 'delta', delta: change(10 + i, [], [`n${i}`]) })
  mailbox.drained()
  t.same(sent[3], { kind: 'full' }, 'names of 1500 removed entities are more than the snapshot itself')
  size = 2_000
  mailbox.post({ kind: 'delta', delta: steps[0] ?? emptyDelta(1) })
  for (let i = 0; i < 1_500; i++) mailbox.post({ kind: 'delta', delta: change(10 + i, [], [`n${i}`]) })
  mailbox.drained()
  t.equal(sent.at(-1)?.kind, 'delta', 'but not of a larger one')
})

t.test('versions are reserved before they are used', async (t) => {
  const reserved: number[] = []
  let full = false
  const reserve = async (until: number) => {
    if (full) throw new Error('no space')
    reserved.push(until)
  }
  const { keeper, clock, versions } = await openTestKeeper(reserve)
  t.same(reserved, [10_100])
  const edit = (vni: number) => keeper.networks.set(parseNetworkName('a'), network('a', vni))
  full = true
  for (let i = 1; i <= 10_000; i++) {
    edit(i)
    keeper.flush()
  }
  t.equal(keeper.version(), 10_100)
  edit(20_000)
  t.equal(keeper.flush(), 10_100, 'held back: none is reserved')
  full = false
  await clock.advance(1_000)
  t.equal(keeper.version(), 10_101, 'published as soon as one is')
  t.same(reserved, [10_100, 20_100])
  t.equal(keeper.networks.values.get(parseNetworkName('a'))?.vni, 20_000)
  versions.close()
})
