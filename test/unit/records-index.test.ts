import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { diffSnapshots } from '../../core/model/delta.ts'
import { parseNodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, emptySnapshot, type RunningTask } from '../../core/model/snapshot.ts'
import { type Name, nameKey, parseName } from '../../discovery/dns/name.ts'
import { type ZoneChange } from '../../discovery/records/zone-change.ts'
import { formatType } from '../../discovery/dns/presentation.ts'
import { formatRdata } from '../../discovery/dns/rdata.ts'
import { countedRecords } from '../../discovery/records/counted.ts'
import { type NamesConfig, namesConfig } from '../../discovery/records/config.ts'
import { type NamesStage, openNamesStage } from '../../discovery/stage.ts'
import { openNamesZones } from '../../discovery/zones.ts'
import { type Stage } from '../../networking/node/stage.ts'
import { seededRandom } from '../fixtures/dns/random.ts'
import { fixtureSnapshot, fixtureTask } from '../fixtures/dns/snapshot.ts'

const self = parseNodeName('host-a')
const { signal } = new AbortController()

function open(config: Partial<NamesConfig> = {}, publish: (change: ZoneChange) => void = () => undefined): NamesStage {
  const stage = openNamesStage({ self, config, publish })
  const asPipelineSeesIt: Stage = stage
  t.equal(asPipelineSeesIt.name, 'names')
  return stage
}

const plan = (stage: NamesStage, previous: ClusterSnapshot, next: ClusterSnapshot) =>
  stage.plan({ previous, next, delta: diffSnapshots(previous, next) })

async function move(stage: NamesStage, previous: ClusterSnapshot, next: ClusterSnapshot): Promise<void> {
  const steps = plan(stage, previous, next)
  await steps.add({ signal })
  await steps.remove({ signal })
}

/** All records as `owner type data`, sorted. */
function listing({ zones }: { readonly zones: Pick<NamesStage['zones'], 'owners'> }): readonly string[] {
  const lines: string[] = []
  for (const [owner, rrsets] of zones.owners()) {
    for (const { code, data } of rrsets) {
      for (const datum of data) lines.push(`${owner} ${formatType(code)} ${formatRdata(datum)}`)
    }
  }
  return lines.sort()
}

const exists = (stage: NamesStage, name: string) => stage.zones.exists(nameKey(parseName(name)))

function withTasks(snapshot: ClusterSnapshot, ...tasks: readonly RunningTask[]): ClusterSnapshot {
  return {
    ...snapshot,
    version: snapshot.version + 1,
    tasks: new Map([...snapshot.tasks, ...tasks.map((task) => [task.id, task] as const)]),
  }
}

function withoutTask(snapshot: ClusterSnapshot, id: string): ClusterSnapshot {
  const tasks = new Map([...snapshot.tasks].filter(([key]) => key !== id))
  return { ...snapshot, version: snapshot.version + 1, tasks }
}

t.test('the exact records of a recorded cluster', async (t) => {
  for (const labels of ['rfc1123', 'rfc952'] as const) {
    const stage = open({ labels })
    await move(stage, emptySnapshot, fixtureSnapshot())
    // 200 tasks are in the fixture for large answers; their names differ in nothing else.
    const few = listing(stage).filter((line) => !/many|^\d+\.\d+\.81\.10\./.test(line))
    const golden = readFileSync(new URL(`../fixtures/dns/records-${labels}.txt`, import.meta.url), 'utf8')
    t.same(few, golden.trim().split('\n'), labels)
    t.equal(listing(stage).filter((line) => /^many\.data\.jobs\.mesos\. A/.test(line)).length, 200)
  }
})

t.test('where frameworks are known they are where they run, else with the leader', async (t) => {
  const stage = open()
  const { frameworks: _, ...unknown } = fixtureSnapshot()
  const known = { ...fixtureSnapshot(), version: unknown.version + 1 }
  const hosts = () =>
    listing(stage).filter((line) => /^(_framework\S+|marathon.mesos.|data.jobs.mesos.) (A|SRV)/.test(line))
  const withLeader = [
    '_framework._tcp.data.jobs.mesos. SRV 0 1 5050 data.jobs.mesos.',
    '_framework._tcp.marathon.mesos. SRV 0 1 5050 marathon.mesos.',
    'data.jobs.mesos. A 192.0.2.1',
    'marathon.mesos. A 192.0.2.1',
  ]
  const where = [withLeader[1], 'data.jobs.mesos. A 198.18.7.9', withLeader[3]]
  await move(stage, emptySnapshot, unknown)
  t.same(hosts(), withLeader, 'a master of before')
  await move(stage, unknown, known)
  t.same(hosts(), where)
  await move(stage, known, { ...unknown, version: known.version + 1 })
  t.same(hosts(), withLeader, 'and back')
  const idle = { ...known, tasks: new Map() }
  await move(stage, unknown, idle)
  t.same(hosts(), where, 'also without tasks')
})

t.test('what may not be served is absent', async (t) => {
  const stage = open()
  await move(stage, emptySnapshot, fixtureSnapshot())
  for (const name of ['sick', 'fresh', 'dying', 'lost', 'liquor-task'])
    t.notOk(exists(stage, `${name}.marathon.mesos`), name)
  for (const address of [5, 7, 8, 9]) t.notOk(exists(stage, `${address}.0.80.10.in-addr.arpa`), `10.80.0.${address}`)
  t.ok(exists(stage, '_tcp.marathon.mesos'), 'a name between others exists')
  t.notOk(exists(stage, '_sctp.marathon.mesos'))
})

t.test('a change touches its own names only', async (t) => {
  const first = fixtureSnapshot()
  const told: Name[] = []
  const publish = ({ owners }: ZoneChange) => {
    told.push(...owners.map(({ owner }) => owner))
  }
  const stage = openNamesStage({ self, publish })
  await move(stage, emptySnapshot, first)
  const before = told.length
  const next = withTasks(
    first,
    fixtureTask('web.4', { name: 'web', networks: [{ name: 'dcos', addresses: [parseIp('10.80.0.99')] }] }),
  )
  await move(stage, first, next)
  const changed = told.slice(before).map(nameKey)
  t.ok(changed.includes(nameKey(parseName('web.marathon.mesos'))))
  t.same(
    changed.filter((owner) => !/^(web[.-]|99\.0\.80\.10\.)/.test(owner)),
    [],
    'others are not touched',
  )
})

t.test('names appear in add, and vanish in remove', async (t) => {
  const first = withTasks(
    fixtureSnapshot(),
    fixtureTask('old.1', { name: 'old' }),
    fixtureTask('both.1', { name: 'both' }),
  )
  const moved = fixtureTask('both.1', {
    name: 'both',
    networks: [{ name: 'dcos', addresses: [parseIp('10.80.0.77')] }],
  })
  const next = withTasks(withoutTask(first, 'old.1'), fixtureTask('new.1', { name: 'new' }), moved)
  const stage = open()
  await move(stage, emptySnapshot, first)
  const steps = plan(stage, first, next)
  const state = () => ['old', 'new'].map((name) => exists(stage, `${name}.marathon.mesos`))
  const both = () =>
    listing(stage)
      .filter((line) => line.startsWith('both.marathon.mesos.'))
      .map((line) => line.split(' ')[2])
  t.same([state(), both()], [[true, false], ['192.0.2.1']], 'planning changes nothing')
  await steps.add({ signal })
  t.same(
    [state(), both()],
    [
      [true, true],
      ['10.80.0.77', '192.0.2.1'],
    ],
    'added',
  )
  await steps.remove({ signal })
  t.same([state(), both()], [[false, true], ['10.80.0.77']], 'removed')
  await steps.add({ signal })
  await steps.remove({ signal })
  t.same([state(), both()], [[false, true], ['10.80.0.77']], 'again changes nothing')
  const away = plan(stage, next, first)
  await away.remove({ signal })
  t.same(state(), [false, false], 'removal works when the addition never happened')
})

t.test('tasks follow their node and the leader', async (t) => {
  const { frameworks: _, ...first } = fixtureSnapshot() // with them, frameworks follow the leader by themselves
  const stage = open()
  await move(stage, emptySnapshot, first)
  const address = parseIp('192.0.2.77')
  const nodes = new Map(
    [...first.nodes].map(([name, node]) => [name, name === 'host-a' ? { ...node, underlay: address } : node]),
  )
  const next = { ...first, version: 8, nodes }
  await move(stage, first, next)
  const text = listing(stage).join('\n')
  t.notMatch(text, / A 192\.0\.2\.1$/m)
  for (const name of [
    'liquor-store.marathon.slave.mesos.',
    'marathon.mesos.',
    'leader.mesos.',
    'thisnode.thisdcos.directory.',
  ]) {
    t.ok(text.includes(`\n${name} A 192.0.2.77`), name)
  }
  const known = new Map([
    ...nodes,
    [parseNodeName('host-x'), { ...nodeElsewhere(first), name: parseNodeName('host-x') }] as const,
  ])
  await move(stage, next, { ...next, version: 9, nodes: known })
  t.ok(exists(stage, 'lost.marathon.mesos'), 'a task is served once its node is known')
})

function nodeElsewhere(snapshot: ClusterSnapshot) {
  const [node] = snapshot.nodes.values()
  if (node === undefined) throw new Error('the fixture has nodes')
  const { master: _, ...rest } = node
  return { ...rest, underlay: parseIp('192.0.2.200') }
}

t.test('many small changes end where one build ends', async (t) => {
  const random = seededRandom(9)
  const all = [...fixtureSnapshot().tasks.values()].slice(0, 40)
  // The server's: it holds the records itself, and gets nothing but changes.
  const served = openNamesZones(namesConfig())
  const stage = open({}, served.apply)
  let snapshot: ClusterSnapshot = { ...fixtureSnapshot(), tasks: new Map() }
  await move(stage, emptySnapshot, snapshot)
  for (let i = 0; i < 400; i++) {
    const task = all[random(all.length)]
    if (task === undefined) continue
    const health = random(3) === 0 ? 'unhealthy' : 'healthy'
    const next = random(3) === 0 ? withoutTask(snapshot, task.id) : withTasks(snapshot, { ...task, health })
    await move(stage, snapshot, next)
    snapshot = next
  }
  const fresh = open()
  await move(fresh, emptySnapshot, snapshot)
  t.same(listing(stage), listing(fresh))
  t.same(listing({ zones: served }), listing(fresh), 'what was told of changes comes to the same')
  const anew = openNamesZones(namesConfig())
  anew.applyPacked(stage.zones.whole())
  t.same(listing({ zones: anew }), listing(fresh), 'so does what a server that begins anew is told')
  t.same(await stage.audit(snapshot, { signal }), [], 'the audit finds nothing')
  await move(stage, snapshot, { ...emptySnapshot, version: snapshot.version + 1 })
  t.same(listing(stage), [
    'localhost. A 127.0.0.1',
    'localhost. AAAA ::1',
    'ns.spartan. A 198.51.100.1',
    'ns1.mesos. A 198.51.100.1',
    'ready.spartan. A 127.0.0.1',
  ])
  t.notOk(exists(stage, 'marathon.mesos'), 'no name is left between')
})

t.test('records are counted, be they few or many', async (t) => {
  const random = seededRandom(4)
  const records = countedRecords()
  const counts = new Map<number, number>()
  const wrong: number[] = []
  for (let i = 0; i < 3000; i++) {
    // Few at first, many, and few again.
    const last = random(i < 1000 ? 3 : i < 2000 ? 40 : 6)
    const data = { type: 'A' as const, address: parseIp(`192.0.2.${last}`) }
    const count = counts.get(last) ?? 0
    if (random(2) === 0) {
      counts.set(last, count + 1)
      if (records.add(data) !== (count === 0)) wrong.push(i)
    } else {
      counts.set(last, Math.max(0, count - 1))
      if (records.remove(data) !== (count === 1)) wrong.push(i)
    }
    const present = [...counts].filter(([, times]) => times > 0)
    if (records.size !== present.length) wrong.push(i)
  }
  t.same(wrong, [], 'steps that went wrong')
  t.equal([...records.values()].length, records.size)
})

t.test('the audit repairs, and says what', async (t) => {
  const stage = open()
  const snapshot = fixtureSnapshot()
  await move(stage, emptySnapshot, snapshot)
  const repairs = await stage.audit(withoutTask(snapshot, 'car.1'), { signal })
  t.same(repairs[0], { stage: 'names', operation: 'name car-store-v2.marathon.mesos. removed' })
  t.notOk(exists(stage, 'car-store-v2.marathon.mesos'))
})

t.test('ten thousand tasks', async (t) => {
  const tasks = Array.from({ length: 10_000 }, (_, i) =>
    fixtureTask(`app.${i}`, {
      name: `app-${i % 1000}`,
      networks: [{ name: 'dcos', addresses: [parseIp(`10.82.${i >> 8}.${i & 255}`)] }],
    }),
  )
  const stage = open()
  const first = fixtureSnapshot()
  const next = withTasks(first, ...tasks)
  await move(stage, emptySnapshot, next)
  const start = performance.now()
  for (let i = 0; i < 100; i++) await move(stage, next, withoutTask(next, `app.${i}`))
  t.comment(`one change of 10,000 tasks: ${((performance.now() - start) / 100).toFixed(2)} ms, its diff included`)
  t.notOk(exists(stage, '0.0.82.10.in-addr.arpa'))
})
