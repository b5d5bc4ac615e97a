import t from 'tap'
import { type SnapshotUpdate, type SnapshotWatch } from '../../core/api/client.ts'
import { systemClock } from '../../core/base/clock.ts'
import { silentLog } from '../../core/base/log.ts'
import { diffSnapshots } from '../../core/model/delta.ts'
import { emptySnapshot } from '../../core/model/snapshot.ts'
import { openAuditRequests } from '../../networking/node/audit-requests.ts'
import { followCluster } from '../../networking/node/follow.ts'
import { Pipeline } from '../../networking/node/pipeline.ts'
import { type Stage } from '../../networking/node/stage.ts'

type Ack = Parameters<SnapshotWatch['ack']>

/** A watch that gives one version and then nothing until the signal aborts; `acks` get what is acknowledged. */
function watchOnce(signal: AbortSignal, onAck: (ack: Ack) => void): SnapshotWatch {
  const next = { ...emptySnapshot, version: 1 }
  const first: SnapshotUpdate = {
    kind: 'full',
    previous: emptySnapshot,
    next,
    delta: diffSnapshots(emptySnapshot, next),
  }
  const updates = async function* () {
    yield first
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  }
  return { ack: (...ack) => onAck(ack), reportUsage: () => undefined, [Symbol.asyncIterator]: updates }
}

t.test('an acknowledgement tells warnings, and what was repaired after the first programming', async (t) => {
  const aborter = new AbortController()
  const { signal } = aborter
  const acks: Ack[] = []
  const waiting: (() => void)[] = []
  const watch = watchOnce(signal, (ack) => {
    acks.push(ack)
    waiting.shift()?.()
  })
  const stage: Stage = {
    name: 'overlay',
    plan: () => ({ add: async () => undefined, remove: async () => undefined }),
    audit: async () => [
      { stage: 'overlay', operation: 'one' },
      { stage: 'overlay', operation: 'two' },
    ],
  }
  const requests = openAuditRequests()
  let warnings: readonly string[] = []
  const nextAck = () => new Promise<void>((resolve) => void waiting.push(resolve))
  const acked = nextAck()
  const following = followCluster({
    ...{ watch, pipeline: new Pipeline([stage]), onApplied: () => undefined, warnings: () => warnings, requests },
    ...{ clock: systemClock, log: silentLog, signal },
  })
  await acked
  t.same(acks.at(-1), [1, undefined, { warnings: [], repairs: {} }], 'programming is no repair')
  warnings = Array.from({ length: 50 }, (_, index) => `the path to node n${index} is narrow`)
  const again = nextAck()
  requests.request()
  await again
  const [version, problem, health] = acks.at(-1) ?? []
  t.same([version, problem, health?.repairs], [1, undefined, { overlay: 2 }])
  t.equal(health?.warnings.length, 20, 'not more than anybody would read')
  aborter.abort()
  await following
})
