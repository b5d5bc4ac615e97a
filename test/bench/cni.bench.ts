import {
  type Contestant,
  drive,
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
/** How many containers: the reference takes a quarter of a second for each that is mapped. */
const containers = { plain: 100, mapped: 40 } as const

const warmUpContainers = 40

/** Rounds of one contestant. */
interface Rounds {
  readonly add: Round
  readonly del: Round
  readonly addAtOnce: Round
  readonly delAtOnce: Round
}

async function measure(contestant: Contestant, netns: readonly string[]): Promise<Rounds> {
  const round = (command: 'ADD' | 'DEL', workers: number, some = netns) =>
    drive(contestant, { command, workers, netns: some })
  for (let i = 0; i < contestant.warmUps; i++) {
    await round('ADD', workersAtOnce, netns.slice(0, warmUpContainers))
    await round('DEL', workersAtOnce, netns.slice(0, warmUpContainers))
  }
  return {
    add: await round('ADD', 1),
    del: await round('DEL', 1),
    addAtOnce: await round('ADD', workersAtOnce),
    delAtOnce: await round('DEL', workersAtOnce),
  }
}

async function measured(contestant: Contestant, netns: readonly string[]): Promise<Rounds> {
  try {
    return await measure(contestant, netns)
  } finally {
    contestant.remove()
  }
}

/** Containers per second. */
function rate({ times, wallMs }: Round): number {
  return (times.length / wallMs) * 1000
}

/** Milliseconds of processor time of an ADD and a DEL. */
function cpuMs(add: Round, del: Round): number {
  return (add.cpuMs + del.cpuMs) / add.times.length
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
    row('ADD, one at a time, median ms', ({ add }) => median(add.times), ['<=', faster[0]]),
    row('DEL, one at a time, median ms', ({ del }) => median(del.times), ['<=', variant === 'mapped' ? 0.1 : 1]),
    row('ADD, 8 at once, containers/s', ({ addAtOnce }) => rate(addAtOnce), ['>=', faster[1]]),
    row('DEL, 8 at once, containers/s', ({ delAtOnce }) => rate(delAtOnce), ['>=', faster[2]]),
    row('processor time of ADD + DEL, one at a time, ms', ({ add, del }) => cpuMs(add, del), ['<=', 0.25]),
    row('processor time of ADD + DEL, 8 at once, ms', (all) => cpuMs(all.addAtOnce, all.delAtOnce), ['<=', 0.25]),
  ]
}

/**
 * ADD and DEL of the plugin and its daemon beside Debian's reference plugins. Both are driven by the same program, in
 * namespaces that are thrown away. Processor time is that of all processes: the driver's forks count for both.
 */
export const run: Bench = async (report) => {
  if (canMakeHosts !== false) throw new Error(canMakeHosts)
  const [missing, made] = [noReference(), makeContainers(containers.plain)]
  const tell = ({ metric, ours, peer, bound: [side, bound] }: Comparison, peerName: string, conditions: string) => {
    const ratio = peer === undefined ? null : ours / peer
    const holds = ratio === null ? null : side === '<=' ? ratio <= bound : ratio >= bound
    const figures = { ours, peer: peer ?? null, peerName: peer === undefined ? null : peerName, ratio }
    report({ bench: 'cni', metric, ...figures, goal: `ratio ${side} ${bound}`, holds, conditions })
  }
  try {
    const kept: Rounds[] = []
    for (const variant of ['plain', 'mapped'] as const) {
      const netns = made.netns.slice(0, containers[variant])
      const peer = missing === undefined ? await measured(makeReference(variant, 0), netns) : undefined
      const ours = await measured(await makeOurs(variant, 0), netns)
      kept.push(ours)
      const conditions =
        missing ?? `${netns.length} containers, IPv4, ${variant === 'mapped' ? 'ipMasq + portmap' : '0 leases'}`
      for (const one of comparisons(variant, ours, peer)) tell(one, 'bridge + host-local', conditions)
    }
    const [empty] = kept
    const full = await measured(await makeOurs('plain', manyLeases), made.netns)
    const fullPeer = missing === undefined ? await measured(makeReference('plain', manyLeases), made.netns) : undefined
    const bound = ['<=', 1.2] as const
    const conditions = `${manyLeases} existing leases against none`
    const both = ({ add, del }: Rounds) => median(add.times) + median(del.times)
    const metric = 'plain: ADD + DEL, one at a time, median ms'
    if (empty !== undefined)
      tell({ metric, ours: both(full), peer: both(empty), bound }, 'weft without leases', conditions)
    const peer = fullPeer === undefined ? undefined : both(fullPeer)
    tell(
      { metric, ours: both(full), peer, bound: ['<=', 0.25] },
      'bridge + host-local',
      `${manyLeases} existing leases`,
    )
  } finally {
    made.remove()
  }
}
