import { silentLog } from '../../core/base/log.ts'
import { systemClock } from '../../core/base/clock.ts'
import { parseIp } from '../../core/base/ip.ts'
import { type AgentOrder } from '../../core/api/messages.ts'
import { registerAgent } from '../../core/master/agents/sessions.ts'
import { type Allocator, openAllocator } from '../../core/master/allocator/allocator.ts'
import { type Grant } from '../../core/master/allocator/grant.ts'
import { openMaster } from '../../core/master/master.ts'
import { profileOf } from '../../core/master/networks/profile.ts'
import { parseAgentId, parseFrameworkId, parseNodeName, parseTaskId } from '../../core/model/ids.ts'
import { shareOf } from '../../core/model/reservation.ts'
import { noResources } from '../../core/model/resources.ts'
import { type Offer } from '../../core/model/scheduler.ts'
import { type TaskInfo } from '../../core/model/task.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { type Bench, type BenchRow, median } from './report.ts'

const agentTotal = {
  ...noResources,
  ...{ cpuMillis: 24_000, memMb: 4_096, diskMb: 4_096, ports: [{ begin: 31_000, end: 32_000 }] },
}
const half = { ...agentTotal, cpuMillis: 12_000, memMb: 2_048, diskMb: 2_048, ports: [] }

/** Agents with half of each in use by tasks, frameworks in as many roles as there are, or all in one. */
function cluster(agents: number, frameworks: number, roles: 'one-role' | 'own-roles'): Allocator {
  const allocator = openAllocator(Math.random)
  const roleOf = (i: number) => (roles === 'one-role' ? '*' : `team${i % 40}/role${i}`)
  for (let i = 0; i < frameworks; i++) allocator.addFramework(parseFrameworkId(`f-${i}`), [roleOf(i)])
  for (let i = 0; i < agents; i++) {
    const agentId = parseAgentId(`a-${i}`)
    allocator.setAgent(agentId, shareOf(agentTotal))
    allocator.setAgentActive(agentId, 'active')
    const f = i % frameworks
    allocator.allocated({ agentId, frameworkId: parseFrameworkId(`f-${f}`), role: roleOf(f), resources: half })
  }
  return allocator
}

/** One full cycle after another; all that was granted is declined. @returns CPU time of each, ms: the machine may be busy */
function cycles(allocator: Allocator, count: number): readonly number[] {
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    const before = process.cpuUsage()
    const grants = allocator.allocate(allocator.agents(), i)
    const { user, system } = process.cpuUsage(before)
    times.push((user + system) / 1_000)
    for (const grant of grants) {
      allocator.recover(grant)
      allocator.refuse(grant, i + 1_000_000)
    }
  }
  return times
}

function cycleRows(report: (row: BenchRow) => void): void {
  for (const roles of ['one-role', 'own-roles'] as const) cycles(cluster(1_000, 100, roles), 6) // compiles
  const sizes = [
    { agents: 10_000, frameworks: 1_000, goalMs: 300, mesosMs: 1_200 },
    { agents: 20_000, frameworks: 2_000, goalMs: 1_000, mesosMs: 3_800 },
  ]
  for (const { agents, frameworks, goalMs, mesosMs } of sizes) {
    for (const roles of ['one-role', 'own-roles'] as const) {
      const times = cycles(cluster(agents, frameworks, roles), 6)
      const ours = median(times)
      const slowest = Math.round(Math.max(...times))
      report({
        bench: 'allocator',
        metric: `cycle ${agents} agents ${frameworks} frameworks ${roles} (ms of CPU)`,
        ...{ ours, peer: mesosMs, peerName: 'Mesos 1.7, published', ratio: ours / mesosMs },
        goal: `ours <= ${goalMs} ms`,
        holds: ours <= goalMs,
        conditions: `median of 6 cycles, slowest ${slowest}; all declined after each; half of each agent in use; peer elsewhere`,
      })
    }
  }
}

/** Grants and their ends on one agent, against many frameworks. */
function grantsPerSecond(frameworks: number): number {
  const allocator = cluster(100, frameworks, 'one-role')
  const ids = [...allocator.agents()]
  let held: readonly Grant[] = []
  let grants = 0
  const startMs = performance.now()
  while (performance.now() - startMs < 700) {
    for (const grant of held) allocator.recover(grant)
    held = allocator.allocate(ids, 0)
    grants += held.length
  }
  return (grants * 1_000) / (performance.now() - startMs)
}

function grantRows(report: (row: BenchRow) => void): void {
  grantsPerSecond(10) // compiles
  const sizes = [10, 100, 1_000, 10_000]
  const rates = sizes.map((size) => median([0, 1, 2].map(() => grantsPerSecond(size))))
  const [base = Number.NaN] = rates
  for (const [i, size] of sizes.entries()) {
    const ours = rates[i] ?? Number.NaN
    report({
      bench: 'allocator',
      metric: `grants/s with ${size} frameworks`,
      ...{ ours, peer: base, peerName: 'ours with 10', ratio: ours / base },
      goal: 'ratio >= 0.5: flat',
      holds: ours / base >= 0.5,
      conditions: 'grant and its end, 100 agents, one role; median of 3',
    })
  }
}

/** A master with agents that answer nothing, and one framework that launches on every offer. */
async function placementsPerSecond(agents: number, tasks: number): Promise<number> {
  const store = openMemoryStore()
  const leadership = await store.elect('bench', { signal: new AbortController().signal })
  const master = await openMaster({
    ...{ store, leadership, clock: systemClock, log: silentLog, random: Math.random, soon: setImmediate },
    ...{ masterId: '00000000-0000-4000-8000-000000000001', nodeName: parseNodeName('master') },
    ...{ underlay: parseIp('127.0.0.1'), profile: profileOf('default'), networks: [] },
  })
  let delivered = 0
  const done = Promise.withResolvers<void>()
  const send = (order: AgentOrder) => {
    if (order.kind !== 'launch') return
    delivered += order.tasks.length
    if (delivered >= tasks) done.resolve()
  }
  const registrations = Array.from({ length: agents }, (_, i) =>
    registerAgent(
      master.context,
      {
        ...{ nodeName: parseNodeName(`n${i}`), underlay: parseIp(`127.1.${i >> 8}.${i & 255}`), resources: agentTotal },
        ...{ attributes: {}, tasks: [], bootId: 'b', highestTerm: 0 },
      },
      { send, isOpen: () => true, close: () => undefined },
    ),
  )
  await Promise.all(registrations)
  let made = 0
  const taskOf = ({ agentId }: Offer): TaskInfo => ({
    ...{ taskId: parseTaskId(`t${made++}`), name: 't', agentId, labels: {}, networks: [], killGraceMs: 0 },
    resources: { ...noResources, cpuMillis: 100, memMb: 32 },
    command: { shell: true, value: 'true', arguments: [], env: {} },
  })
  const startMs = performance.now()
  const info = { name: 'bench', user: '', roles: ['*'], failoverTimeoutMs: 0, capabilities: [], hostname: '' }
  const connection = master.driver.subscribe(info, (event) => {
    if (event.kind !== 'offers') return
    for (const offer of event.offers) {
      const launches = made < tasks ? [taskOf(offer)] : []
      connection.call({ kind: 'accept', offerIds: [offer.id], launches, refuseMs: 0 })
    }
  })
  await done.promise
  const seconds = (performance.now() - startMs) / 1_000
  connection.close()
  await master.close()
  await store.close()
  return tasks / seconds
}

/** How fast resources are given out, and tasks placed. */
export const run: Bench = async (report) => {
  cycleRows(report)
  grantRows(report)
  const rates = []
  for (let i = 0; i < 3; i++) rates.push(await placementsPerSecond(500, 20_000))
  const ours = median(rates)
  report({
    bench: 'allocator',
    metric: 'placements/s',
    ...{ ours, peer: 3_750, peerName: 'Nomad, published', ratio: ours / 3_750 },
    goal: 'ours >= 5000',
    holds: ours >= 5_000,
    conditions:
      'one task for each offer, 500 agents, 20,000 tasks, in process, memory store; median of 3; peer elsewhere',
  })
}
