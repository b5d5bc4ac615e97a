import t from 'tap'
import { openAllocator } from '../../core/master/allocator/allocator.ts'
import { type Grant } from '../../core/master/allocator/grant.ts'
import { openRoleTree } from '../../core/master/allocator/role-tree.ts'
import { type ClusterTotal, type Scalars } from '../../core/master/allocator/sorter.ts'
import { operationProblem, type ReservationOperation } from '../../core/master/reservations/operations.ts'
import { operate } from '../../core/master/reservations/operate.ts'
import { roles, setQuota, setWeights } from '../../core/master/reservations/roles.ts'
import { parseAgentId, parseFrameworkId } from '../../core/model/ids.ts'
import { type Reservation, type ResourceShare, shareOf } from '../../core/model/reservation.ts'
import { noResources, type Resources } from '../../core/model/resources.ts'
import { isWithin, parseRole } from '../../core/model/role.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { startAgent, startFramework, startMaster, until } from '../support/master.ts'

const of = (cpus: number, memMb: number, diskMb = 0): Resources => ({
  ...noResources,
  ...{ cpuMillis: cpus * 1_000, memMb, diskMb },
})
const agent = (n: number) => parseAgentId(`agent-${n}`)
const a = parseFrameworkId('a')
const b = parseFrameworkId('b')
const reserved = (role: string, resources: Resources, more: Partial<Reservation> = {}): Reservation => ({
  ...{ role, kind: 'dynamic', principal: '', labels: {}, resources, volumes: [] },
  ...more,
})

/** Agents that are all alike, and frameworks with roles. */
function cluster(count: number, total: ResourceShare, frameworks: Readonly<Record<string, readonly string[]>>) {
  const allocator = openAllocator(() => 0)
  for (let i = 0; i < count; i++) {
    allocator.setAgent(agent(i), total)
    allocator.setAgentActive(agent(i), 'active')
  }
  for (const [id, of] of Object.entries(frameworks)) allocator.addFramework(parseFrameworkId(id), of)
  return allocator
}

const brief = (grants: readonly Grant[]) =>
  grants.map(({ frameworkId, role, resources: { cpuMillis, memMb }, reserved: held = [] }) => {
    const kept = held.map(({ role: owner, resources }) => ` + ${resources.cpuMillis / 1_000} of ${owner}`).join('')
    return `${frameworkId} in ${role}: ${cpuMillis / 1_000} cpus ${memMb} MB${kept}`
  })

t.test('dominant resource fairness: the example of Ghodsi and others (2011), section 4.1', async (t) => {
  const tree = openRoleTree({ cpuMillis: 9_000, memMb: 18_000, diskMb: 0, epoch: 0 })
  const task: Readonly<Record<string, Scalars>> = { A: of(1, 4_000), B: of(3, 1_000) }
  for (const role of ['A', 'B']) tree.setActive(role, 'active')
  const free = { cpuMillis: 9_000, memMb: 18_000 }
  const got: string[] = []
  for (;;) {
    const role = tree.find(() => true) ?? ''
    const want = task[role] ?? noResources
    if (want.cpuMillis > free.cpuMillis || want.memMb > free.memMb) break
    free.cpuMillis -= want.cpuMillis
    free.memMb -= want.memMb
    tree.tally(role, want, 1)
    got.push(role)
  }
  t.same(got.toSorted(), ['A', 'A', 'A', 'B', 'B'], 'three tasks of A, two of B')
  t.equal(tree.share('A'), 12 / 18)
  t.equal(tree.share('B'), 6 / 9)
})

t.test('siblings are sorted by their subtrees; weights; a role competes with those below it', async (t) => {
  const cases: readonly {
    readonly name: string
    readonly weights?: Readonly<Record<string, number>>
    readonly held: Readonly<Record<string, number>>
    readonly order: readonly string[]
  }[] = [
    { name: 'ties by path', held: { 'b/x': 0, a: 0, 'a/z': 0 }, order: ['a', 'a/z', 'b/x'] },
    { name: 'a subtree weighs together', held: { 'a/x': 3, 'a/y': 1, b: 2 }, order: ['b', 'a/y', 'a/x'] },
    { name: 'the role itself is one of its children', held: { a: 4, 'a/x': 1, b: 9 }, order: ['a/x', 'a', 'b'] },
    { name: 'a weight of the top', weights: { a: 3 }, held: { 'a/x': 3, 'a/y': 1, b: 2 }, order: ['a/y', 'a/x', 'b'] },
    { name: 'a weight below', weights: { 'a/x': 4 }, held: { 'a/x': 3, 'a/y': 1, b: 9 }, order: ['a/x', 'a/y', 'b'] },
    { name: 'depth', held: { 'a/b/c': 1, 'a/b/d': 2, 'a/e': 2, f: 4 }, order: ['f', 'a/e', 'a/b/c', 'a/b/d'] },
  ]
  for (const { name, weights = {}, held, order } of cases) {
    const tree = openRoleTree({ cpuMillis: 100_000, memMb: 0, diskMb: 0, epoch: 0 })
    for (const role of Object.keys(held)) tree.setActive(role, 'active')
    for (const [role, weight] of Object.entries(weights)) tree.setWeight(role, weight)
    for (const [role, cpus] of Object.entries(held)) if (cpus > 0) tree.tally(role, of(cpus, 0), 1)
    t.same(tree.order(), order, name)
  }
})

/** Random changes of a tree, and what they come to. */
function churn(total: ClusterTotal) {
  let seed = 11
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((seed / 2 ** 32) * below)
  }
  const names = ['a', 'a/b', 'a/b/c', 'a/d', 'e', 'e/f', 'e/f/g', 'h', 'a/b/i', 'e/j']
  const kept = openRoleTree(total)
  const active = new Set<string>()
  const weights = new Map<string, number>()
  const held: { readonly role: string; readonly amount: Scalars }[] = []
  const steps: readonly ((role: string) => void)[] = [
    (role) => {
      if (!active.delete(role)) active.add(role)
      kept.setActive(role, active.has(role) ? 'active' : 'inactive')
    },
    (role) => {
      weights.set(role, 1 + random(5))
      kept.setWeight(role, weights.get(role) ?? 1)
    },
    () => {
      total.memMb += random(1_000)
      total.epoch++
    },
  ]
  const grant = (role: string) => {
    const amount = of(random(4), random(4_000))
    held.push({ role, amount })
    kept.tally(role, amount, 1)
  }
  const release = () => {
    const [gone] = held.splice(random(held.length), 1)
    if (gone !== undefined) kept.tally(gone.role, gone.amount, -1)
  }
  const step = () => {
    const dice = random(20)
    const role = names[random(names.length)] ?? ''
    const change = steps[dice] ?? (dice < 9 ? release : grant)
    change(role)
  }
  const fresh = () => {
    const tree = openRoleTree({ ...total })
    for (const each of active) tree.setActive(each, 'active')
    for (const [each, weight] of weights) tree.setWeight(each, weight)
    for (const each of held) tree.tally(each.role, each.amount, 1)
    return tree
  }
  return { kept, step, fresh }
}

t.test('the kept tree is the one that is made anew, over random changes', async (t) => {
  const { kept, step, fresh } = churn({ cpuMillis: 500_000, memMb: 500_000, diskMb: 0, epoch: 0 })
  for (let i = 0; i < 3_000; i++) {
    step()
    if (i % 20 === 0) t.same(kept.order(), fresh().order(), `after ${i} changes`)
  }
})

t.test('quota limits chop offers; what is reserved counts, and is offered all the same', async (t) => {
  const allocator = cluster(2, shareOf(of(4, 4_096)), { a: ['web/x'], b: ['web/y'] })
  allocator.setQuota('web', { cpuMillis: 5_000 })
  t.same(brief(allocator.allocate(allocator.agents(), 0)), ['a in web/x: 4 cpus 4096 MB', 'b in web/y: 1 cpus 4096 MB'])
  const held = cluster(1, shareOf(of(4, 4_096), [reserved('web', of(2, 1_024))]), { a: ['web'], b: ['dev'] })
  held.setQuota('web', { cpuMillis: 1_000, memMb: 1_024 })
  t.same(brief(held.allocate(held.agents(), 0)), ['b in dev: 2 cpus 3072 MB', 'a in web: 0 cpus 0 MB + 2 of web'])
})

t.test('reservations are offered within their role only', async (t) => {
  const share = shareOf(of(4, 400), [
    reserved('web', of(1, 100)),
    reserved('slave_public', of(3, 300), { kind: 'static' }),
  ])
  const cases = [
    { roles: ['dev'], grants: [] },
    { roles: ['web'], grants: ['a in web: 0 cpus 0 MB + 1 of web'] },
    { roles: ['web/x'], grants: ['a in web/x: 0 cpus 0 MB + 1 of web'] },
    { roles: ['website'], grants: [] },
    { roles: ['slave_public'], grants: ['a in slave_public: 0 cpus 0 MB + 3 of slave_public'] },
    {
      roles: ['web', 'slave_public'],
      grants: ['a in web: 0 cpus 0 MB + 1 of web', 'a in slave_public: 0 cpus 0 MB + 3 of slave_public'],
    },
  ]
  for (const { roles: wanted, grants } of cases) {
    const allocator = cluster(1, share, { a: wanted })
    t.same(brief(allocator.allocate(allocator.agents(), 0)), grants, wanted.join())
    t.same(allocator.allocate(allocator.agents(), 1), [], 'nothing is granted twice')
  }
})

t.test('why a framework waits', async (t) => {
  const [first] = [agent(0)]
  const cases = [
    { name: 'suppressed', why: 'suppressed', roles: ['web'] },
    { name: 'filtered', why: 'filtered', roles: ['web'] },
    { name: 'quota', why: 'quota', roles: ['web'] },
    { name: 'reserved', why: 'reserved-for-others', roles: ['web'] },
    { name: 'full', why: 'nothing-left', roles: ['web'] },
    { name: 'due', why: 'due', roles: ['web'] },
  ]
  for (const { name, why, roles: wanted } of cases) {
    const total = name === 'reserved' ? shareOf(of(4, 400), [reserved('dev', of(4, 400))]) : shareOf(of(4, 400))
    const allocator = cluster(1, total, { a: wanted })
    const all: Grant = { agentId: first, frameworkId: a, role: 'web', resources: of(4, 400) }
    if (name === 'suppressed') allocator.setSuppressed(a, 'suppressed', ['web'])
    if (name === 'filtered') allocator.refuse(all, 1_000)
    if (name === 'quota') allocator.setQuota('web', { cpuMillis: 0, memMb: 0 })
    if (name === 'full') allocator.allocated({ ...all, frameworkId: b, role: 'dev' })
    t.match(allocator.waiting(0, a), [{ frameworkId: a, role: 'web', why }], name)
    t.equal(allocator.allocate([first], 0).length, why === 'due' ? 1 : 0, `${name}: as it says`)
    if (name !== 'filtered') continue
    t.same(allocator.allocate([first], 999), [])
    allocator.expireFilters(1_000)
    t.equal(allocator.allocate([first], 1_000).length, 1)
  }
})

t.test('roles of a framework change; what it holds in one that it left still counts', async (t) => {
  const allocator = cluster(1, shareOf(of(4, 400)), { a: ['dev', 'web'] })
  const [grant] = allocator.allocate([agent(0)], 0)
  t.match(grant, { role: 'dev' })
  allocator.addFramework(a, ['web'])
  t.equal(allocator.share('dev'), 1)
  t.match([...allocator.roles().keys()], ['dev', 'web'])
  if (grant !== undefined) allocator.recover(grant)
  t.equal(allocator.share('dev'), 0)
  t.match([...allocator.roles().keys()], ['web'])
  t.match(allocator.allocate([agent(0)], 1), [{ role: 'web' }])
})

t.test('names of roles', async (t) => {
  for (const good of ['*', 'a', 'a/b-c/d.e', '.a', 'über']) t.equal(parseRole(good), good)
  for (const bad of ['', '/', 'a/', '/a', 'a//b', '.', 'a/..', '-a', 'a/-b', 'a/*', 'a b', 'a\tb', 'a\u007f']) {
    t.throws(() => parseRole(bad), { code: 'ERR_MODEL_ROLE' }, JSON.stringify(bad))
  }
  t.ok(isWithin('a/b', 'a') && isWithin('a', 'a') && !isWithin('ab', 'a') && !isWithin('a', 'a/b'))
})

t.test('operations that can not be', async (t) => {
  const volume = { id: 'v', sizeMb: 50, containerPath: 'data' }
  const own = reserved('db', of(1, 100, 100), { principal: 'p' })
  const full = { ...own, volumes: [volume] }
  const free: ResourceShare = { unreserved: of(2, 200, 200), reserved: [full] }
  const context = { role: 'db', principal: 'p', free, hasVolume: (_: string, id: string) => id === 'v' }
  const reserve = (change: Partial<Reservation>) =>
    ({ kind: 'reserve', reservations: [{ ...own, ...change }] }) as const
  const unreserve = (change: Partial<Reservation>) =>
    ({ kind: 'unreserve', reservations: [{ ...own, ...change }] }) as const
  const create = (change: Partial<typeof volume>) =>
    ({ kind: 'create', reservation: own, volumes: [{ ...volume, id: 'w', ...change }] }) as const
  const disk = of(0, 0, 50)
  const cases: readonly { readonly operation: ReservationOperation; readonly problem: RegExp | undefined }[] = [
    { operation: reserve({}), problem: undefined },
    { operation: reserve({ role: 'web' }), problem: /for role "db"/ },
    { operation: reserve({ role: '*' }), problem: /can't be reserved/ },
    { operation: reserve({ kind: 'static' }), problem: /flags/ },
    { operation: reserve({ principal: 'q' }), problem: /principal/ },
    { operation: reserve({ resources: of(3, 1) }), problem: /not free/ },
    { operation: reserve({ resources: noResources }), problem: /no resources/ },
    { operation: reserve({ volumes: [volume] }), problem: /CREATE/ },
    { operation: unreserve({ resources: disk }), problem: undefined },
    { operation: unreserve({}), problem: /volumes/ },
    { operation: unreserve({ volumes: [volume] }), problem: /DESTROY/ },
    { operation: unreserve({ resources: disk, labels: { a: 'b' } }), problem: /not reserved/ },
    { operation: create({ containerPath: '/var/data' }), problem: undefined },
    { operation: create({ sizeMb: 51 }), problem: /needs reserved disk/ },
    { operation: create({ id: 'v' }), problem: /already/ },
    { operation: create({ id: '../x' }), problem: /volume id/ },
    { operation: create({ containerPath: 'a/../..' }), problem: /container path/ },
    { operation: create({ sizeMb: 0 }), problem: /size/ },
    { operation: { kind: 'create', reservation: reserved('db', noResources), volumes: [volume] }, problem: /already/ },
    { operation: { kind: 'destroy', reservation: own, volumes: [volume] }, problem: undefined },
    { operation: { kind: 'destroy', reservation: own, volumes: [{ ...volume, id: 'w' }] }, problem: /in use/ },
  ]
  for (const { operation, problem } of cases) {
    const found = operationProblem(operation, context)
    if (problem === undefined) t.equal(found, undefined, JSON.stringify(operation))
    else t.match(found, problem, JSON.stringify(operation))
  }
  t.match(operationProblem(unreserve({ resources: disk }), { ...context, principal: 'q' }), /belongs to/)
})

t.test('a master keeps weights and quotas, and does what operators reserve', async (t) => {
  const store = openMemoryStore()
  const master = await startMaster(store)
  const node = startAgent({ name: 'node1', address: master.address, manner: 'silent' })
  t.teardown(async () => {
    await node.stop()
    await master.crash()
  })
  const { context } = master
  const framework = startFramework(master, { roles: ['web', 'dev'] })
  await until(() => framework.offers().length === 1, 'an offer')
  const [offer] = framework.offers()
  const role = offer?.role ?? ''
  await t.rejects(setQuota(context, [{ role: 'a/b', limits: {} }]), { code: 'ERR_MASTER_QUOTA_ROLE' })
  await t.rejects(setQuota(context, [{ role: '*', limits: {} }]), { code: 'ERR_MASTER_QUOTA_ROLE' })
  await t.rejects(setQuota(context, [{ role: 'x', limits: { memMb: -1 } }]), { code: 'ERR_MASTER_QUOTA_LIMIT' })
  await t.rejects(setQuota(context, [{ role, limits: { cpuMillis: 1 } }]), { code: 'ERR_MASTER_QUOTA_CONSUMED' })
  await setQuota(context, [{ role, limits: { cpuMillis: 1 } }], { force: 'forced' })
  await t.rejects(setWeights(context, { a: 0 }), { code: 'ERR_MASTER_WEIGHT' })
  await setWeights(context, { web: 2.5, 'web/x': 3 })
  t.match(roles(context).get(role), { limits: { cpuMillis: 1 }, consumed: { cpuMillis: 2_000 } })
  t.match(await store.get('weights/web'), { value: '{"role":"web","weight":2.5}' })
  t.match(await store.get(`quotas/${role}`), { value: JSON.stringify({ role, limits: { cpuMillis: 1 } }) })
  await setQuota(context, [{ role, limits: {} }])
  t.equal(await store.get(`quotas/${role}`), undefined)

  const agentId = offer?.agentId ?? parseAgentId('none')
  const own = reserved('ops', of(1, 64))
  await t.rejects(operate(context, parseAgentId('x'), { operation: { kind: 'reserve', reservations: [own] } }), {
    code: 'ERR_MASTER_AGENT_UNKNOWN',
  })
  await operate(context, agentId, { operation: { kind: 'reserve', reservations: [own] } })
  t.ok(framework.events.some(({ kind }) => kind === 'rescind'))
  await until(() => framework.offers().length === 1, 'an offer of the rest')
  t.equal(framework.offers()[0]?.resources.cpuMillis, 1_000)
  t.match(roles(context).get('ops'), { consumed: { cpuMillis: 1_000, memMb: 64 }, frameworks: [] })
  await t.rejects(
    operate(context, agentId, { operation: { kind: 'reserve', reservations: [reserved('ops', of(2, 0))] } }),
    {
      code: 'ERR_MASTER_OPERATION',
    },
  )
})
