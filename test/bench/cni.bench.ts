import {
  type Contestant,
  drive,
  makeIdle,
  makeContainers,
  makeOurs,
  makeReference,
  noReference,
  type Round,
  type Variant,
} from '../support/cni-bench.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { type Bench, median } from './report.ts'

const workersAtOnce = 8
/** Existing leases that must not be felt. */
const manyLeases = 10_000
/** How many containers, and rounds of each contestant: the reference takes a quarter of a second for each that is mapped. */
const sizes = { plain: { containers: 100, rounds: 3 }, mapped: { containers: 20, rounds: 3 } } as const
const crowdedContainers = 40
const warmUpContainers = 40

/** What each round of one contestant gave. */
interface Rounds {
  readonly add: Round[]
  readonly del: Round[]
  readonly addAtOnce: Round[]
  readonly delAtOnce: Round[]
}

async function warmUp(contestant: Contestant, netns: readonly string[]): Promise<void> {
  for (let i = 0; i < contestant.warmUps; i++) {
    for (const command of ['ADD', 'DEL'] as const) {
      await drive(contestant, { command, workers: workersAtOnce, netns: netns.slice(0, warmUpContainers) })
    }
  }
}

/** In turn, so that what else the machine does meets all of them. They are removed. */
async function measure(
  contestants: readonly Contestant[],
  { netns, rounds }: { readonly netns: readonly string[]; readonly rounds: number },
): Promise<readonly Rounds[]> {
  const kept = contestants.map((): Rounds => ({ add: [], del: [], addAtOnce: [], delAtOnce: [] }))
  try {
    for (const contestant of contestants) await warmUp(contestant, netns)
    for (let round = 0; round < rounds; round++) {
      for (const [i, { add, del, addAtOnce, delAtOnce }] of kept.entries()) {
        const contestant = contestants[i]
        if (contestant === undefined) continue
        add.push(await drive(contestant, { command: 'ADD', workers: 1, netns }))
        del.push(await drive(contestant, { command: 'DEL', workers: 1, netns }))
        addAtOnce.push(await drive(contestant, { command: 'ADD', workers: workersAtOnce, netns }))
        delAtOnce.push(await drive(contestant, { command: 'DEL', workers: workersAtOnce, netns }))
      }
    }
    return kept
  } finally {
    for (const contestant of contestants) contestant.remove()
  }
}

/** Milliseconds of a container's call: the median over all rounds. */
function time(rounds: readonly Round[]): number {
  return median(rounds.flatMap(({ times }) => times))
}

/** Containers per second: the median of the rounds. */
function rate(rounds: readonly Round[]): number {
  return median(rounds.map(({ times, wallMs }) => (times.length / wallMs) * 1000))
}

/** Milliseconds of processor time of an ADD and a DEL: the median of the rounds. */
function cpuMs(add: readonly Round[], del: readonly Round[]): number {
  return median([...add.entries()].map(([i, one]) => (one.cpuMs + (del[i]?.cpuMs ?? 0)) / one.times.length))
}

interface Comparison {
  readonly metric: string
  readonly ours: number
  readonly peer: number | undefined
  /** Bound of ours ÷ peer, and the side on which it should be. */
  readonly bound: readonly ['<=' | '>=', number]
}

function comparisons(variant: Variant, ours: Rounds, peer: Rounds | undefined): readonly Comparison[] {
  const faster = variant === 'mapped' ? ([0.1, 10, 10] as const) : ([0.25, 5, 3] as const)
  const row = (metric: string, of: (rounds: Rounds) => number, bound: Comparison['bound']): Comparison => ({
    ...{ metric: `${variant}: ${metric}`, ours: of(ours), bound },
    peer: peer === undefined ? undefined : of(peer),
  })
  return [
    row('ADD, one at a time, median ms', ({ add }) => time(add), ['<=', faster[0]]),
    row('DEL, one at a time, median ms', ({ del }) => time(del), ['<=', variant === 'mapped' ? 0.1 : 1]),
    row('ADD, 8 at once, containers/s', ({ addAtOnce }) => rate(addAtOnce), ['>=', faster[1]]),
    row('DEL, 8 at once, containers/s', ({ delAtOnce }) => rate(delAtOnce), ['>=', faster[2]]),
    row('processor time of ADD + DEL, one at a time, ms', ({ add, del }) => cpuMs(add, del), ['<=', 0.25]),
    row('processor time of ADD + DEL, 8 at once, ms', (all) => cpuMs(all.addAtOnce, all.delAtOnce), ['<=', 0.25]),
  ]
}

/** What driving costs by itself, which is in every figure: a program that does nothing, called in the same way. */
async function driverCost(netns: readonly string[]): Promise<string> {
  const idle = makeIdle()
  try {
    const { times, cpuMs: all } = await drive(idle, { command: 'ADD', workers: 1, netns })
    return `a call of /bin/true takes ${median(times).toFixed(1)} ms, ${(all / times.length).toFixed(1)} ms of processor`
  } finally {
    idle.remove()
  }
}

/**
 * ADD and DEL of the plugin and its daemon beside Debian's reference plugins, in turn. Both are driven by the same program,
 * in namespaces that are thrown away. Processor time is that of all processes: the driver's forks count for both.
 */
export const run: Bench = async (report) => {
  if (canMakeHosts !== false) throw new Error(canMakeHosts)
  const [missing, made] = [noReference(), makeContainers(sizes.plain.containers)]
  const tell = ({ metric, ours, peer, bound: [side, bound] }: Comparison, peerName: string, conditions: string) => {
    const ratio = peer === undefined ? null : ours / peer
    const holds = ratio === null ? null : side === '<=' ? ratio <= bound : ratio >= bound
    const figures = { ours, peer: peer ?? null, peerName: peer === undefined ? null : peerName, ratio }
    report({ bench: 'cni', metric, ...figures, goal: `ratio ${side} ${bound}`, holds, conditions })
  }
  try {
    const cost = await driverCost(made.netns)
    for (const variant of ['plain', 'mapped'] as const) {
      const { containers, rounds } = sizes[variant]
      const peers = missing === undefined ? [makeReference(variant, 0)] : []
      const all = [await makeOurs(variant, 0), ...peers]
      const [ours, peer] = await measure(all, { netns: made.netns.slice(0, containers), rounds })
      const what = `${containers} containers, ${rounds} rounds in turn, IPv4${variant === 'mapped' ? ', ipMasq + portmap' : ''}`
      if (ours === undefined) continue
      for (const one of comparisons(variant, ours, peer)) {
        tell(one, 'bridge + host-local', `${missing ?? what}; ${cost}`)
      }
    }
    await compareCrowded(tell, { netns: made.netns.slice(0, crowdedContainers), missing })
  } finally {
    made.remove()
  }
}

/** With many leases already there. */
async function compareCrowded(
  tell: (row: Comparison, peerName: string, conditions: string) => void,
  { netns, missing }: { readonly netns: readonly string[]; readonly missing: string | undefined },
): Promise<void> {
  const own = [await makeOurs('plain', 0), await makeOurs('plain', manyLeases)]
  const [empty, full] = await measure(own, { netns, rounds: 5 })
  const [peer] = missing === undefined ? await measure([makeReference('plain', manyLeases)], { netns, rounds: 1 }) : []
  if (empty === undefined || full === undefined) return
  const both = ({ add, del }: Rounds) => time(add) + time(del)
  const metric = 'plain: ADD + DEL, one at a time, median ms'
  const row = { metric, ours: both(full) }
  const conditions = `${manyLeases} existing leases, ${netns.length} containers`
  tell({ ...row, peer: both(empty), bound: ['<=', 1.2] }, 'weft without leases', conditions)
  const peerMs = peer === undefined ? undefined : both(peer)
  tell({ ...row, peer: peerMs, bound: ['<=', 0.25] }, 'bridge + host-local', missing ?? conditions)
}
