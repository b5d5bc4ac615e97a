import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { execArgv } from '../../core/cli/commands/exec.ts'
import { type StoreKind, storeKinds, storeServerProblem } from '../../core/cli/up/store-server.ts'
import { type FaultWorld, startFaultWorld } from '../support/faults/world.ts'
import { servedTerms } from '../support/faults/witness.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { eventually } from '../support/local-cluster.ts'
import { repeatedly } from '../support/repeat.ts'

/** Something that goes wrong; what must hold in spite of it is asserted afterwards, the same for all. */
interface Fault {
  readonly name: string
  run(t: Test, world: FaultWorld): Promise<void>
}

/** An order that only this very master can get: it would make four of the service's two. Nobody waits for its answer. */
async function orderAt({ cluster }: FaultWorld, master: string): Promise<void> {
  const host = cluster.layout.hosts.find(({ name }) => name === master)
  const url = `http://${host?.underlay}:${cluster.layout.httpPort}/v2/apps/twin?force=true`
  const words = ['curl', '-s', '-m', '25', '-X', 'PUT', '-H', 'content-type: application/json', '-d', '{"instances":4}']
  const [program, ...args] = await execArgv(cluster.layout, master, [...words, url])
  execFile(program, args, () => undefined)
}

/** Resolves when the daemon has ended in that way, later than `ends` before. */
async function ended({ ends }: FaultWorld, after: number, text: string): Promise<void> {
  await eventually(text, async () => (ends.slice(after).some((end) => end.startsWith(text)) ? true : undefined))
}

/** How often the framework was told that a task has finished, and by how many updates. */
function finished({ framework }: FaultWorld, id: string) {
  const told = framework.told.filter(({ taskId, state }) => taskId === id && state === 'TASK_FINISHED')
  return { times: told.length, uuids: new Set(told.map(({ uuid }) => uuid)).size }
}

/** A task that ends in a second, and whose end the framework was told and keeps to itself. */
async function endUnacknowledged(world: FaultWorld, id: string, node?: string): Promise<void> {
  const { framework, told } = world
  await framework.launch(id, 'sleep 1', node)
  await told(id, 'TASK_RUNNING')
  framework.acknowledging = false
  await told(id, 'TASK_FINISHED')
}

async function toldAgain(t: Test, world: FaultWorld, id: string): Promise<void> {
  const { times } = finished(world, id)
  await eventually(`${id} is told again`, async () => (finished(world, id).times > times ? true : undefined))
  t.equal(finished(world, id).uuids, 1, 'as the same update')
  await world.framework.acknowledgeAll()
}

/** Cuts the leader off from the store: it ends by itself, in time, and another one leads. */
async function loseStore(t: Test, world: FaultWorld, what: 'store' | 'store and agents'): Promise<void> {
  const { ends, framework } = world
  const old = await world.leader()
  const before = ends.length
  await framework.launch(`ends-in-${what.length}`, 'sleep 2')
  const mend = world.cut(old, what)
  try {
    await orderAt(world, old)
    await ended(world, before, `${old}/master ended (exit status 3)`)
    t.not(await world.leader(old), old)
  } finally {
    mend()
  }
  await world.told(`ends-in-${what.length}`, 'TASK_FINISHED')
}

const agentFolder = ({ cluster }: FaultWorld, ...path: readonly string[]) =>
  join(cluster.layout.directory, 'agent1', ...path)

const beginsIn = (folder: string, id: string) =>
  existsSync(folder) && readdirSync(folder).some((name) => name.startsWith(`${id}-`))

/** Moments of a launch and of an end, as the disk of agent1 shows them. */
const moments = [
  { name: 'accepted', is: (world: FaultWorld, id: string) => beginsIn(agentFolder(world, 'agent', 'containers'), id) },
  { name: 'in ADD', is: (world: FaultWorld, id: string) => beginsIn(agentFolder(world, 'agent', 'netns'), id) },
  { name: 'after ADD', is: (world: FaultWorld, id: string) => leaseLines(world, id, '"op":"lease"') > 0 },
] as const

function leaseLines(world: FaultWorld, id: string, what: string): number {
  const lines = readFileSync(agentFolder(world, 'net', 'leases'), 'utf8').split('\n')
  return lines.filter((line) => line.includes(`"${id}-`) && line.includes(what)).length
}

/** Looks in a tight loop: what it waits for lasts milliseconds. */
async function at(look: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!look()) {
    if (performance.now() > deadline) throw new Error('the moment did not come')
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const faults: readonly Fault[] = [
  {
    name: 'SIGKILL of the leader, and a framework that comes back, with an unacknowledged end',
    run: async (t, world) => {
      const old = await world.leader()
      await endUnacknowledged(world, 'first')
      const subscriptions = world.framework.subscriptions()
      world.framework.cut()
      await eventually('the framework is back', async () =>
        world.framework.subscriptions() > subscriptions ? true : undefined,
      )
      const terms = servedTerms(world.cluster).length
      world.signal(`${old}/master`, 'SIGKILL')
      await toldAgain(t, world, 'first')
      // It may be the same: the supervisor has started it again before its lease is over.
      t.equal(servedTerms(world.cluster).length, terms + 1, 'another term')
      await world.leader()
    },
  },
  {
    name: 'SIGSTOP of the leader past its lease, then SIGCONT, with an order waiting in it',
    run: async (t, world) => {
      const { ends, framework } = world
      const old = await world.leader()
      const before = ends.length
      await framework.launch('ends-in-stop', 'sleep 2')
      world.signal(`${old}/master`, 'SIGSTOP')
      await orderAt(world, old)
      t.not(await world.leader(old), old)
      world.signal(`${old}/master`, 'SIGCONT')
      await ended(world, before, `${old}/master ended (exit status 3)`)
      await world.told('ends-in-stop', 'TASK_FINISHED')
    },
  },
  { name: 'the leader is cut off from the store', run: (t, world) => loseStore(t, world, 'store') },
  { name: 'the leader is cut off from store and agents', run: (t, world) => loseStore(t, world, 'store and agents') },
  {
    name: 'the leader is cut off from the agents, for less than 75 s',
    run: async (t, world) => {
      const old = await world.leader()
      const terms = servedTerms(world.cluster).length
      await world.framework.launch('ends-apart', 'sleep 1', 'agent1')
      await world.told('ends-apart', 'TASK_RUNNING')
      const mend = world.cut(old, 'agents')
      try {
        const events = agentFolder(world, 'agent', 'events')
        const exits = () => existsSync(events) && readdirSync(events).some((name) => /^ends-apart-.*exit/.test(name))
        await at(() => exits() || leaseLines(world, 'ends-apart', '"op":"free"') > 0)
        t.equal(await world.leader(), old)
      } finally {
        mend()
      }
      await world.told('ends-apart', 'TASK_FINISHED')
      t.equal(servedTerms(world.cluster).length, terms, 'nobody else led')
    },
  },
  {
    name: 'the store is killed and comes back with all that it acknowledged',
    run: async (_, world) => {
      await world.framework.launch('ends-without-store', 'sleep 1')
      world.signal(`store/${world.kind}`, 'SIGKILL')
      await world.told('ends-without-store', 'TASK_FINISHED')
      await world.leader()
    },
  },
  {
    name: 'SIGKILL of an agent, in ADD',
    run: async (_, world) => {
      for (const [i, { is }] of moments.entries()) {
        const id = `add${i}`
        const accepted = world.framework.launch(id, 'sleep 1000', 'agent1')
        await at(() => is(world, id))
        world.signal('agent1/agent', 'SIGKILL')
        await accepted
        await eventually('it is told what became of the task', async () =>
          world.framework.told.some(({ taskId }) => taskId === id) ? true : undefined,
        )
      }
    },
  },
  {
    name: 'SIGKILL of an agent, in DEL',
    run: async (_, world) => {
      await world.framework.launch('del', 'sleep 1000', 'agent1')
      await world.told('del', 'TASK_RUNNING')
      await world.framework.kill('del')
      await at(() => leaseLines(world, 'del', '"state":"removing"') + leaseLines(world, 'del', '"op":"free"') > 0)
      world.signal('agent1/agent', 'SIGKILL')
      await world.told('del', 'TASK_KILLED')
    },
  },
  {
    name: 'SIGKILL of an agent, between an update and its acknowledgement',
    run: async (t, world) => {
      await endUnacknowledged(world, 'unheard', 'agent1')
      world.signal('agent1/agent', 'SIGKILL')
      await toldAgain(t, world, 'unheard')
    },
  },
]

const suite = (kind: StoreKind) => async (t: Test) => {
  const world = await startFaultWorld(t, kind)
  for (const { name, run } of faults) {
    await t.test(name, async (t) => {
      const began = performance.now()
      await run(t, world)
      await world.settled(t)
      t.comment(`${Math.round(performance.now() - began)} ms`)
    })
  }
  await world.framework.teardown()
}

for (const kind of storeKinds) {
  const skip = canMakeHosts || (storeServerProblem(kind) ?? false)
  await repeatedly(t, `faults of the core, with ${kind}`, { skip, suite: suite(kind) })
}
