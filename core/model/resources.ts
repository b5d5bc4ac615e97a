/** Ports `begin` to `end`, both included. */
export interface PortRange {
  readonly begin: number
  readonly end: number
}

/** What an agent has, an offer carries, a task takes. Integers, so that sums are exact. */
export interface Resources {
  /** Thousandths of a core. */
  readonly cpuMillis: number
  readonly memMb: number
  readonly diskMb: number
  /** Sorted, disjoint, not touching. */
  readonly ports: readonly PortRange[]
}

/** Nothing. */
export const noResources: Resources = { cpuMillis: 0, memMb: 0, diskMb: 0, ports: [] }

/** Smallest amount worth an offer: 0.01 cpu or 32 MB. Source: mesos, src/master/constants.hpp. */
const minimumOffer = { cpuMillis: 10, memMb: 32 } as const

/** Both together. */
export function addResources(a: Resources, b: Resources): Resources {
  return {
    cpuMillis: a.cpuMillis + b.cpuMillis,
    memMb: a.memMb + b.memMb,
    diskMb: a.diskMb + b.diskMb,
    ports: normalizePorts([...a.ports, ...b.ports]),
  }
}

/** `a` without `b`; scalars may become negative when `a` does not contain `b`. */
export function subtractResources(a: Resources, b: Resources): Resources {
  return {
    cpuMillis: a.cpuMillis - b.cpuMillis,
    memMb: a.memMb - b.memMb,
    diskMb: a.diskMb - b.diskMb,
    ports: b.ports.reduce(withoutRange, a.ports),
  }
}

/** True when `whole` has at least `part` of everything. */
export function containsResources(whole: Resources, part: Resources): boolean {
  return (
    whole.cpuMillis >= part.cpuMillis &&
    whole.memMb >= part.memMb &&
    whole.diskMb >= part.diskMb &&
    part.ports.every((want) => whole.ports.some((have) => have.begin <= want.begin && want.end <= have.end))
  )
}

/** True when there is enough to be worth an offer. */
export function isOfferable(resources: Resources): boolean {
  return resources.cpuMillis >= minimumOffer.cpuMillis || resources.memMb >= minimumOffer.memMb
}

/** Sum of many. */
export function sumResources(all: Iterable<Resources>): Resources {
  let sum = noResources
  for (const resources of all) sum = addResources(sum, resources)
  return sum
}

/** The single ports of the ranges, lowest first, `count` at most. */
export function takePorts(ranges: readonly PortRange[], count: number): readonly number[] {
  const taken: number[] = []
  for (const { begin, end } of ranges) {
    for (let port = begin; port <= end && taken.length < count; port++) taken.push(port)
  }
  return taken
}

/** Ranges of the given single ports. */
export function portsToRanges(ports: readonly number[]): readonly PortRange[] {
  return normalizePorts(ports.map((port) => ({ begin: port, end: port })))
}

/** Sorted and merged. */
export function normalizePorts(ranges: readonly PortRange[]): readonly PortRange[] {
  const merged: PortRange[] = []
  for (const range of ranges.toSorted((a, b) => a.begin - b.begin)) {
    const last = merged.at(-1)
    if (last !== undefined && range.begin <= last.end + 1) {
      merged[merged.length - 1] = { begin: last.begin, end: Math.max(last.end, range.end) }
    } else {
      merged.push(range)
    }
  }
  return merged
}

function withoutRange(ranges: readonly PortRange[], hole: PortRange): readonly PortRange[] {
  return ranges.flatMap((range) => {
    if (hole.end < range.begin || range.end < hole.begin) return [range]
    const left = { begin: range.begin, end: hole.begin - 1 }
    const right = { begin: hole.end + 1, end: range.end }
    return [left, right].filter(({ begin, end }) => begin <= end)
  })
}
