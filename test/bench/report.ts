/** One figure beside its peer's, both of one run. `ratio` is ours ÷ peer, so conditions say which direction is better. */
export interface BenchRow {
  readonly bench: string
  readonly metric: string
  readonly ours: number
  readonly peer: number | null
  readonly peerName: string | null
  readonly ratio: number | null
  /** In words: `ratio >= 3`, `ours <= 50 ms`. */
  readonly goal: string
  /** null: could not be told on this machine. */
  readonly holds: boolean | null
  readonly conditions: string
}

/** A benchmark: measures and reports rows. Each file `test/bench/NAME.bench.ts` exports one as `run`. */
export type Bench = (report: (row: BenchRow) => void) => Promise<void>

/** The median of some figures; NaN for none. */
export function median(values: readonly number[]): number {
  return percentile(values, 50)
}

/** The `p`-th percentile (nearest rank); NaN for none. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)] ?? Number.NaN
}
