import t from 'tap'
import { openBackoff } from '../../core/base/backoff.ts'
import { silentLog } from '../../core/base/log.ts'
import { diffKeyed, isEmptyDiff } from '../../core/reconcile/diff.ts'
import { openLoop, type RoundReason } from '../../core/reconcile/loop.ts'
import { openManualClock } from '../support/agent-clock.ts'

t.test('keyed diff', async (t) => {
  const actual = new Map([
    ['a', 1],
    ['b', 2],
    ['c', 3],
  ])
  const desired = new Map([
    ['b', 2],
    ['c', 4],
    ['d', 5],
  ])
  const { added, changed, removed } = diffKeyed(actual, desired)
  t.same([...added], [['d', 5]])
  t.same([...changed], [['c', { from: 3, to: 4 }]])
  t.same([...removed], [['a', 1]])
  t.ok(isEmptyDiff(diffKeyed(actual, new Map(actual))))
  t.ok(isEmptyDiff(diffKeyed(new Map([['a', 1]]), new Map([['a', 3]]), (a, b) => a % 2 === b % 2)))
})

/** A loop whose rounds end when the test says so. */
function testLoop(auditEveryMs?: number) {
  const clock = openManualClock()
  const rounds: { reason: RoundReason; end: (error?: Error) => void; aborted: () => boolean }[] = []
  const loop = openLoop({
    ...{ clock, log: silentLog },
    ...(auditEveryMs === undefined ? {} : { auditEveryMs }),
    run: (signal, reason) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason))
        const end = (error?: Error) => (error === undefined ? resolve() : reject(error))
        rounds.push({ reason, end, aborted: () => signal.aborted })
      }),
  })
  return { clock, rounds, loop, turn: () => clock.advance(0) }
}

t.test('one round at a time, at most one more', async (t) => {
  const { rounds, loop, turn } = testLoop()
  await turn()
  t.equal(rounds.length, 0, 'nothing before the first trigger')
  loop.trigger()
  loop.trigger()
  await turn()
  t.equal(rounds.length, 1)
  for (let i = 0; i < 10; i++) loop.trigger()
  await turn()
  t.equal(rounds.length, 1)
  rounds[0]?.end()
  await turn()
  t.equal(rounds.length, 2)
  const idle = loop.idle()
  rounds[1]?.end()
  await idle
  await turn()
  t.equal(rounds.length, 2)
  await loop.close()
})

t.test('a failed round is followed by an audit: after a while, or at the next trigger', async (t) => {
  const { rounds, loop, clock, turn } = testLoop()
  loop.trigger()
  await turn()
  rounds[0]?.end(new Error('no'))
  await turn()
  t.equal(rounds.length, 1)
  await clock.advance(100)
  t.match(
    rounds.map(({ reason }) => reason),
    ['trigger', 'audit'],
  )
  rounds[1]?.end(new Error('no'))
  await turn()
  loop.trigger()
  await turn()
  t.match(
    rounds.map(({ reason }) => reason),
    ['trigger', 'audit', 'audit'],
    'a change does not wait',
  )
  rounds[2]?.end()
  await turn()
  await clock.advance(60_000)
  t.equal(rounds.length, 3, 'and no retry is left over')
  loop.trigger()
  await turn()
  t.equal(rounds[3]?.reason, 'trigger')
  const closed = loop.close()
  t.ok(rounds[3]?.aborted())
  await closed
  loop.trigger()
  await turn()
  t.equal(rounds.length, 4)
})

t.test('audits come in their interval', async (t) => {
  const { rounds, loop, clock } = testLoop(1_000)
  await clock.advance(999)
  t.equal(rounds.length, 0)
  await clock.advance(1)
  t.equal(rounds[0]?.reason, 'audit')
  rounds[0]?.end()
  await clock.advance(1_000)
  t.equal(rounds.length, 2)
  rounds[1]?.end()
  await loop.close()
  await clock.advance(5_000)
  t.equal(rounds.length, 2)
})

t.test('backoff doubles between its bounds, with jitter', async (t) => {
  const most = openBackoff(100, 1_000, () => 1)
  t.same(
    [1, 2, 3, 4, 5, 6].map(() => most.next()),
    [100, 200, 400, 800, 1_000, 1_000],
  )
  most.reset()
  t.equal(most.next(), 100)
  t.equal(openBackoff(100, 1_000, () => 0).next(), 50)
})
