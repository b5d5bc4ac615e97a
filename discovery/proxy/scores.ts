import { type Upstream } from './config.ts'

/** How well upstreams did lately. */
export interface Scores {
  /** Best first. */
  order(upstreams: readonly Upstream[], nowMs: number): readonly Upstream[]
  failed(upstream: Upstream, nowMs: number): void
  /** It had not answered when others were asked in its place; twice in a row is a failure. */
  late(upstream: Upstream, nowMs: number): void
  /** How long to wait for the upstream before others are asked. */
  patienceMs(upstream: Upstream, nowMs: number): number
  answered(upstream: Upstream, nowMs: number, tookMs: number): void
}

/** After so long a failure counts half: an upstream that comes back is used again. */
const halfLifeMs = 10_000
/** Share of a new measurement in the mean time of answers. */
const weight = 0.2

/** What lateness counts of a failure. */
const lateShare = 0.4
/** Patience is a few times what it usually takes, within bounds. */
const patience = { times: 4, leastMs: 15, mostMs: 50 } as const

interface Score {
  failures: number
  atMs: number
  meanMs: number
}

/** No upstream has failed yet. `told` gets each new count of failures. */
export function openScores(told: (upstream: Upstream, failures: number) => void = () => undefined): Scores {
  const scores = new Map<string, Score>()
  const scoreOf = ({ address, port }: Upstream, nowMs: number): Score => {
    const key = `${address} ${port}`
    const score = scores.get(key) ?? { failures: 0, atMs: nowMs, meanMs: 0 }
    scores.set(key, score)
    score.failures *= 0.5 ** (Math.max(0, nowMs - score.atMs) / halfLifeMs)
    score.atMs = nowMs
    return score
  }
  const add = (upstream: Upstream, nowMs: number, failures: number) => {
    const score = scoreOf(upstream, nowMs)
    score.failures += failures
    told(upstream, score.failures)
  }
  return {
    order: (upstreams, nowMs) => {
      // Half a failure is none: else one lost packet would decide for minutes.
      const rank = (upstream: Upstream) => {
        const { failures, meanMs } = scoreOf(upstream, nowMs)
        return Math.round(failures) * 10_000 + meanMs
      }
      return upstreams.toSorted((a, b) => rank(a) - rank(b))
    },
    failed: (upstream, nowMs) => add(upstream, nowMs, 1),
    late: (upstream, nowMs) => add(upstream, nowMs, lateShare),
    patienceMs: (upstream, nowMs) => {
      const { meanMs } = scoreOf(upstream, nowMs)
      const { times, leastMs, mostMs } = patience
      return meanMs === 0 ? mostMs : Math.min(mostMs, Math.max(leastMs, times * meanMs))
    },
    answered: (upstream, nowMs, tookMs) => {
      const score = scoreOf(upstream, nowMs)
      score.failures *= 0.5
      told(upstream, score.failures)
      score.meanMs += weight * (tookMs - score.meanMs)
    },
  }
}
