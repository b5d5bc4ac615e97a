import t from 'tap'
import { openAllocator } from '../../core/master/allocator/allocator.ts'
import { type Grant } from '../../core/master/allocator/grant.ts'
import { clientKey, openFilters } from '../../core/master/allocator/filters.ts'
import { type ClusterTotal, openSorter } from '../../core/master/allocator/sorter.ts'
import { openIds } from '../../core/master/ids.ts'
import { openOffers, refusalMs } from '../../core/master/offers/offers.ts'
import { type AgentId, type FrameworkId, parseAgentId, parseFrameworkId } from '../../core/model/ids.ts'
import { shareOf } from '../../core/model/reservation.ts'
import { noResources, type Resources } from '../../core/model/resources.ts'
import { type SchedulerEvent } from '../../core/model/scheduler.ts'
import { openManualClock } from '../support/agent-clock.ts'

const cpu = (cpuMillis: number, memMb = 0): Resources => ({ ...noResources, cpuMillis, memMb })
const agents = Array.from({ length: 6 }, (_, i) => parseAgentId(`agent-${i}`))
const a = parseFrameworkId('a')
const b = parseFrameworkId('b')
const c = parseFrameworkId('c')

/** A deterministic generator of numbers from 0 to 1. */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** What a cluster has. */
function totalOf(cpuMillis: number, memMb: number): ClusterTotal {
  return { cpuMillis, memMb, diskMb: 0, epoch: 0 }
}

t.test('the order is by dominant share, then allocations, then name', async (t) => {
  const cases: readonly {
    readonly name: string
    readonly weights?: Readonly<Record<string, number>>
    readonly allocated: readonly (readonly [string, Resources])[]
    readonly order: readonly string[]
  }[] = [
    { name: 'nothing allocated', allocated: [], order: ['x', 'y', 'z'] },
    {
      name: 'the smallest share first',
      allocated: [
        ['x', cpu(30)],
        ['y', cpu(10)],
        ['z', cpu(20)],
      ],
      order: ['y', 'z', 'x'],
    },
    {
      name: 'the dominant one counts',
      allocated: [
        ['x', cpu(10, 900)],
        ['y', cpu(50, 1)],
        ['z', cpu(20)],
      ],
      order: ['z', 'y', 'x'],
    },
    {
      name: 'ties: fewer allocations',
      allocated: [
        ['x', cpu(5)],
        ['x', cpu(5)],
        ['y', cpu(10)],
        ['z', cpu(10)],
      ],
      order: ['y', 'z', 'x'],
    },
    {
      name: 'weights divide',
      weights: { x: 4 },
      allocated: [
        ['x', cpu(30)],
        ['y', cpu(10)],
        ['z', cpu(20)],
      ],
      order: ['x', 'y', 'z'],
    },
  ]
  for (const { name, weights, allocated, order } of cases) {
    const sorter = openSorter<string>(totalOf(100, 1_000))
    for (const client of ['z', 'y', 'x']) {
      sorter.add(client, weights?.[client] ?? 1)
      sorter.setActive(client, 'active')
    }
    for (const [client, resources] of allocated) sorter.tally(client, resources, 1)
    t.same(sorter.order(), order, name)
    sorter.setActive(order[0] ?? '', 'inactive')
    t.same(sorter.order(), order.slice(1), `${name}: an inactive client is not in the order`)
    t.equal(
      sorter.find((client) => client !== order[1]),
      order[2],
    )
    for (const [client, resources] of allocated) sorter.tally(client, resources, -1)
    t.equal(sorter.share('x'), 0)
  }
})

t.test('the kept order is the one that sorting anew gives', async (t) => {
  const random = generator(7)
  const total = totalOf(1_000, 1_000)
  const kept = openSorter<string>(total)
  const names = Array.from({ length: 400 }, (_, i) => `c${i}`)
  const held = new Map<string, Resources[]>(names.map((name) => [name, []]))
  const idle = new Set<string>()
  const enter = (sorter: typeof kept, name: string) => {
    sorter.add(name, 1 + (name.length % 3))
    sorter.setActive(name, idle.has(name) ? 'inactive' : 'active')
  }
  for (const name of names) enter(kept, name)
  for (let i = 0; i < 4_000; i++) {
    const name = names[Math.floor(random() * names.length)] ?? ''
    const mine = held.get(name) ?? []
    const last = random() < 0.4 ? mine.pop() : undefined
    if (last === undefined) {
      const resources = cpu(Math.floor(random() * 30), Math.floor(random() * 30))
      mine.push(resources)
      kept.tally(name, resources, 1)
    } else kept.tally(name, last, -1)
    if (i % 7 === 0) {
      if (!idle.delete(name)) idle.add(name)
      kept.setActive(name, idle.has(name) ? 'inactive' : 'active')
    }
    if (i % 397 === 0) {
      total.cpuMillis += 50
      total.epoch++
    }
    if (i % 100 !== 0) continue
    const fresh = openSorter<string>(total)
    for (const each of names) enter(fresh, each)
    for (const [each, list] of held) for (const resources of list) fresh.tally(each, resources, 1)
    t.same(kept.order(), fresh.order(), `after ${i} changes`)
    t.equal(kept.order().length, names.length - idle.size)
  }
})

/** Frameworks, each with roles, on agents of 1 cpu and 1000 MB. */
function cluster(frameworks: Readonly<Record<string, readonly string[]>>) {
  const allocator = openAllocator(generator(3))
  for (const agentId of agents) {
    allocator.setAgent(agentId, shareOf(cpu(1_000, 1_000)))
    allocator.setAgentActive(agentId, 'active')
  }
  for (const [id, roles] of Object.entries(frameworks)) allocator.addFramework(parseFrameworkId(id), roles)
  return allocator
}

function count(grants: readonly Grant[], key: (grant: Grant) => string): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const grant of grants) counts[key(grant)] = (counts[key(grant)] ?? 0) + 1
  return counts
}

t.test('agents are shared fairly, over roles first', async (t) => {
  const cases = [
    { name: 'two frameworks', frameworks: { a: ['*'], b: ['*'] }, shares: { a: 3, b: 3 } },
    { name: 'three', frameworks: { a: ['*'], b: ['*'], c: ['*'] }, shares: { a: 2, b: 2, c: 2 } },
    { name: 'a role is a share', frameworks: { a: ['dev'], b: ['dev'], c: ['prod'] }, shares: { a: 2, b: 1, c: 3 } },
    { name: 'in two roles', frameworks: { a: ['dev', 'prod'], b: ['prod'] }, shares: { a: 5, b: 1 } },
  ]
  for (const { name, frameworks, shares } of cases) {
    const grants = cluster(frameworks).allocate(agents, 0)
    t.equal(grants.length, agents.length, `${name}: every agent is granted, wholly`)
    const got = count(grants, ({ frameworkId }) => frameworkId)
    const sorted = Object.values(got).toSorted()
    t.same(sorted, Object.values(shares).toSorted(), `${name}: ${JSON.stringify(got)}`)
  }
})

t.test('who holds resources waits for who holds none', async (t) => {
  const allocator = cluster({ a: ['*'] })
  const [first] = allocator.allocate(agents.slice(0, 4), 0)
  allocator.addFramework(b, ['*'])
  t.same(
    count(allocator.allocate(agents, 0), ({ frameworkId }) => frameworkId),
    { b: 2 },
  )
  if (first === undefined) throw new Error('no grant')
  allocator.recover(first)
  t.same(allocator.available(first.agentId), cpu(1_000, 1_000))
  t.match(allocator.allocate(agents, 0), [{ frameworkId: b, agentId: first.agentId }], 'b has 2, a has 3')
  t.same(allocator.allocate(agents, 0), [], 'nothing is granted twice')
})

t.test('inactive agents, tiny rests, suppressed and removed frameworks', async (t) => {
  const allocator = cluster({ a: ['*'] })
  for (const agentId of agents.slice(1)) allocator.setAgentActive(agentId, 'inactive')
  const [agentId = parseAgentId('none')] = agents
  allocator.allocated({ agentId, frameworkId: a, role: '*', resources: cpu(991, 969) })
  t.same(allocator.allocate(agents, 0), [], '0.009 cpus and 31 MB are not worth an offer')
  allocator.recover({ agentId, frameworkId: a, role: '*', resources: cpu(1) })
  allocator.setFrameworkActive(a, 'inactive')
  t.same(allocator.allocate(agents, 0), [])
  allocator.setFrameworkActive(a, 'active')
  t.match(allocator.allocate(agents, 0), [{ agentId, resources: cpu(10, 31) }])
  allocator.removeFramework(a)
  allocator.addFramework(c, ['*'])
  allocator.setAgent(agentId, shareOf(cpu(3_000, 3_000)))
  t.match(allocator.allocate(agents, 0), [{ frameworkId: c, resources: cpu(2_000, 2_000) }], 'a larger agent')
})

t.test('filters block what was refused, or less, until they end', async (t) => {
  const filters = openFilters()
  const [agentId = parseAgentId('none'), other = parseAgentId('none')] = agents
  const about = { client: clientKey(a, '*'), agentId }
  const share = (cpuMillis: number, memMb = 0) => shareOf(cpu(cpuMillis, memMb))
  filters.add({ ...about, share: share(500, 100), untilMs: 1_000 })
  filters.add({ client: clientKey(b, '*'), agentId: other, share: share(1), untilMs: 99_000 })
  const cases = [
    { name: 'the same', offer: { ...about, share: share(500, 100) }, atMs: 0, blocked: true },
    { name: 'less', offer: { ...about, share: share(400, 100) }, atMs: 999, blocked: true },
    { name: 'more of one', offer: { ...about, share: share(400, 101) }, atMs: 0, blocked: false },
    { name: 'later', offer: { ...about, share: share(400) }, atMs: 1_000, blocked: false },
    { name: 'another agent', offer: { ...about, agentId: other, share: share(1) }, atMs: 0, blocked: false },
    {
      name: 'another framework',
      offer: { ...about, client: clientKey(b, '*'), share: share(1) },
      atMs: 0,
      blocked: false,
    },
    {
      name: 'another role',
      offer: { ...about, client: clientKey(a, 'dev'), share: share(1) },
      atMs: 0,
      blocked: false,
    },
  ]
  for (const { name, offer, atMs, blocked } of cases) t.equal(filters.blocks(offer, atMs), blocked, name)
  t.equal(filters.nextExpiryMs(), 1_000)
  t.same([...filters.expire(1_000)], [agentId])
  t.equal(filters.nextExpiryMs(), 99_000)
  filters.clear(clientKey(b, '*'))
  t.notOk(filters.blocks({ client: clientKey(b, '*'), agentId: other, share: share(1) }, 0))
})

t.test('lengths of refusals', async (t) => {
  const year = 365 * 24 * 3_600_000
  const cases = [
    [-1, 5_000],
    [Number.NaN, 5_000],
    [0, 1_000],
    [500, 1_000],
    [7_000, 7_000],
    [year * 2, year],
  ] as const
  for (const [asked, ms] of cases) t.equal(refusalMs(asked), ms, `${asked}`)
})

t.test('offers: made on events, declined, rescinded, offered again', async (t) => {
  const clock = openManualClock()
  const allocator = cluster({ a: ['*'], b: ['*'] })
  const events: { to: FrameworkId; event: SchedulerEvent }[] = []
  const gone = new Set<AgentId>()
  const offers = openOffers({
    ...{ allocator, clock, ids: openIds('m'), soon: setImmediate },
    agentFacts: (agentId) => (gone.has(agentId) ? undefined : { hostname: agentId, attributes: {} }),
    deliver: (to, event) => events.push({ to, event }),
  })
  t.teardown(() => offers.close())
  const made = () => events.splice(0).flatMap(({ event }) => (event.kind === 'offers' ? event.offers : []))
  offers.schedule()
  offers.schedule([agents[0] ?? parseAgentId('none')])
  await clock.advance(0)
  const first = made()
  t.equal(first.length, 6, 'one round for both calls')
  const [offer] = first
  if (offer === undefined) throw new Error('no offer')

  offers.decline(offer.frameworkId, [offer.id, offer.id], 5_000)
  await clock.advance(0)
  const [again] = made()
  t.match(again, { agentId: offer.agentId, frameworkId: offer.frameworkId === a ? b : a }, 'to the other one, at once')
  if (again === undefined) throw new Error('no offer')
  offers.decline(again.frameworkId, [again.id], 5_000)
  await clock.advance(0)
  t.same(made(), [], 'both refuse')
  await clock.advance(5_249)
  t.equal(made().length, 1, 'when a refusal ends, not at some interval')

  t.equal(offers.take(a, [offer.id]), undefined, 'an offer is taken once')
  const mine = [...offers.outstanding()].filter(({ frameworkId }) => frameworkId === a)
  const [one, two] = mine
  if (one === undefined || two === undefined) throw new Error('too few offers')
  t.equal(offers.take(b, [one.id]), undefined, 'by its framework')
  t.equal(offers.take(a, [one.id, two.id]), undefined, 'offers of two agents do not go together')
  t.notOk(
    [...offers.outstanding()].some(({ id }) => id === one.id || id === two.id),
    'and are gone both',
  )

  await clock.advance(0)
  events.length = 0
  const rescinded = [...offers.outstanding()].find(({ frameworkId }) => frameworkId === b)
  if (rescinded === undefined) throw new Error('no offer')
  gone.add(rescinded.agentId)
  offers.rescindOfAgent(rescinded.agentId)
  t.match(events, [{ to: b, event: { kind: 'rescind', offerId: rescinded.id } }])
  await clock.advance(0)
  t.notOk(
    [...offers.outstanding()].some(({ agentId }) => gone.has(agentId)),
    'an agent that is gone is not offered',
  )
  const outstanding = [...offers.outstanding()].length
  events.length = 0
  await clock.advance(120_000)
  const timeouts = events.filter(({ event }) => event.kind === 'rescind').length
  t.ok(timeouts >= outstanding, 'an offer lives two minutes')
  t.same(
    [...offers.outstanding()].map(({ agentId }) => agentId).toSorted(),
    agents.filter((id) => !gone.has(id)),
    'and is made anew',
  )
})
