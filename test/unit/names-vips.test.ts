import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { diffSnapshots } from '../../core/model/delta.ts'
import { parseTaskId } from '../../core/model/ids.ts'
import { type ClusterSnapshot, emptySnapshot, type RunningTask } from '../../core/model/snapshot.ts'
import { openServedVips } from '../../discovery/records/served-vips.ts'
import { fixtureTask } from '../fixtures/dns/snapshot.ts'

const discovery = {
  name: 'web',
  visibility: 'CLUSTER',
  ports: [{ number: 80, protocols: ['tcp'], labels: { VIP_0: '/web:80' } }],
} as const
const vips = new Map([['web.marathon', { name: 'web', framework: 'marathon', addresses: [parseIp('100.96.0.1')] }]])

function cluster(version: number, ...tasks: readonly RunningTask[]): ClusterSnapshot {
  return { ...emptySnapshot, version, vips, tasks: new Map(tasks.map((task) => [task.id, task])) }
}

const web = (id: string, rest: Partial<RunningTask>) => fixtureTask(id, { discovery, ...rest })
const healthy = web('web.1', { health: 'healthy' })
const pending = web('web.1', { health: 'pending' })
const killing = web('web.1', { state: 'TASK_KILLING' })
const second = web('web.2', { health: 'unchecked' })
const unlabelled = fixtureTask('other.1')

const cases = [
  { name: 'no task', tasks: [], named: false },
  { name: 'a task that has not passed its check', tasks: [pending], named: false },
  { name: 'it has passed', tasks: [healthy], named: true },
  { name: 'another beside it', tasks: [healthy, second], named: true },
  { name: 'the first is being killed', tasks: [killing, second], named: true },
  { name: 'only the killed one is left', tasks: [killing], named: false },
  { name: 'a task behind no VIP', tasks: [unlabelled], named: false },
  { name: 'it comes back', tasks: [second, unlabelled], named: true },
]

t.test('a VIP is named while a task serves it, step by step and as a whole', async (t) => {
  const steps = openServedVips()
  let previous = emptySnapshot
  let held = new Set<string>()
  for (const [i, { name, tasks, named }] of cases.entries()) {
    const next = cluster(i + 1, ...tasks)
    const { delta, next: narrowed } = steps.change({ previous, next, delta: diffSnapshots(previous, next) })
    held = new Set([...held, ...delta.vips.upserts.keys()].filter((key) => !delta.vips.removals.has(key)))
    t.equal(narrowed.vips.has('web.marathon'), named, name)
    t.equal(held.has('web.marathon'), named, `${name}: the delta says so`)
    t.equal(openServedVips().all(next).vips.has('web.marathon'), named, `${name}: as a whole`)
    previous = next
  }
})

t.test('a step from somewhere else counts anew', async (t) => {
  const steps = openServedVips()
  const from = cluster(1, healthy)
  const next = { ...from, version: 2, tasks: new Map([[parseTaskId('web.1'), killing]]) }
  const { previous, next: narrowed } = steps.change({ previous: from, next, delta: diffSnapshots(from, next) })
  t.equal(previous.vips.size, 1)
  t.equal(narrowed.vips.size, 0)
})
