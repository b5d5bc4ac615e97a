import t from 'tap'
import { diffSnapshots } from '../../core/model/delta.ts'
import { type ClusterSnapshot, emptySnapshot } from '../../core/model/snapshot.ts'
import { Pipeline } from '../../networking/node/pipeline.ts'
import { type SnapshotChange, type Stage } from '../../networking/node/stage.ts'

const { signal } = new AbortController()

/** A stage that writes down what is asked of it; `fails` names the steps that throw. */
function recorder(name: Stage['name'], log: string[], fails: ReadonlySet<string> = new Set()): Stage {
  const step = async (what: string) => {
    log.push(`${name}.${what}`)
    if (fails.has(what)) throw new Error(`${name}.${what} failed`)
  }
  return {
    name,
    plan: ({ next }) => ({ add: () => step(`add ${next.version}`), remove: () => step(`remove ${next.version}`) }),
    audit: async ({ version }) => {
      await step(`audit ${version}`)
      return [{ stage: name, operation: `repair ${version}` }]
    },
  }
}

function change(previous: ClusterSnapshot, version: number): SnapshotChange {
  const next = { ...previous, version }
  return { previous, next, delta: diffSnapshots(previous, next) }
}

t.test('the first version is compared with the kernel, later ones only with the one before', async (t) => {
  const log: string[] = []
  const pipeline = new Pipeline([recorder('overlay', log), recorder('lb', log), recorder('names', log)])
  const repairs = await pipeline.apply(change(emptySnapshot, 1), { signal })
  t.same(log.splice(0), ['overlay.audit 1', 'lb.audit 1', 'names.audit 1'])
  t.equal(repairs.length, 3)
  t.same(await pipeline.apply(change(pipeline.current, 2), { signal }), [])
  const [overlay, lb, names] = ['overlay', 'lb', 'names']
  t.same(log, [
    ...[overlay, lb, names].map((stage) => `${stage}.add 2`),
    ...[names, lb, overlay].map((stage) => `${stage}.remove 2`),
  ])
})

t.test('a failed step stops no other, is told, and makes the next version an audit', async (t) => {
  const log: string[] = []
  const fails = new Set(['add 2'])
  const pipeline = new Pipeline([recorder('overlay', log, fails), recorder('lb', log)])
  await pipeline.apply(change(emptySnapshot, 1), { signal })
  log.length = 0
  await t.rejects(pipeline.apply(change(pipeline.current, 2), { signal }), { message: /version 2/ })
  t.same(log.splice(0), ['overlay.add 2', 'lb.add 2', 'lb.remove 2', 'overlay.remove 2'])
  await pipeline.apply(change(pipeline.current, 3), { signal })
  t.same(log, ['overlay.audit 3', 'lb.audit 3'])
})

t.test('an audit that fails is tried again by the next version', async (t) => {
  const log: string[] = []
  const fails = new Set(['audit 1'])
  const pipeline = new Pipeline([recorder('overlay', log, fails), recorder('lb', log)])
  await t.rejects(pipeline.apply(change(emptySnapshot, 1), { signal }))
  t.same(log.splice(0), ['overlay.audit 1', 'lb.audit 1'])
  fails.clear()
  await pipeline.audit({ signal })
  log.length = 0
  await pipeline.apply(change(pipeline.current, 2), { signal })
  t.same(log[0], 'overlay.add 2')
})

t.test('versions are applied one after another', async (t) => {
  const log: string[] = []
  const pipeline = new Pipeline([recorder('overlay', log)])
  const first = pipeline.apply(change(emptySnapshot, 1), { signal })
  const second = pipeline.apply(change({ ...emptySnapshot, version: 1 }, 2), { signal })
  await Promise.all([first, second])
  t.same(log, ['overlay.audit 1', 'overlay.add 2', 'overlay.remove 2'])
})
