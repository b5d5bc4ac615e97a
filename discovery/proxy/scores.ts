import { type Upstream } from './config.ts'

/** How well upstreams did lately. */
export interface Scores {
  /** Best first. */
  order(upstreams: readonly Upstream[], nowMs: number): readonly Upstream[]
  failed(upstream: Upstream, nowMs: number): void
  answered(upstream: Upstream, nowMs: number, tookMs: number): void
}

/** After so long a failure counts half: an upstream that comes back is used again. */
const halfLifeMs = 10_000
/** Share of a new measurement in the mean time of answers. */
const weight = 0.2

interface Score {
  failures: number
  atMs: number
  meanMs: number
}

/** No upstream has failed yet. */
export function openScores(): Scores {
  const scores = new Map<string, Score>()
  const scoreOf = ({ address, port }: Upstream, nowMs: number): Score => {
    const key = `${address} ${port}`
    const score = scores.get(key) ?? { failures: 0, atMs: nowMs, meanMs: 0 }
    scores.set(key, score)
    score.failures *= 0.5 ** (Math.max(0, nowMs - score.atMs) / halfLifeMs)
    score.atMs = nowMs
    return score
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
    failed: (upstream, nowMs) => {
      scoreOf(upstream, nowMs).failures++
    },
    answered: (upstream, nowMs, tookMs) => {
      const score = scoreOf(upstream, nowMs)
      score.failures *= 0.5
      score.meanMs += weight * (tookMs - score.meanMs)
    },
  }
}
