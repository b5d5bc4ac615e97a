/** Prometheus's text format, version 0.0.4, of counters that cost an addition: nothing is loaded or kept for it. */

/** Labels of a sample; their values are few. */
export type Labels = Readonly<Record<string, string>>

/** One line: a value under a family's name. */
export interface Sample {
  /** `_bucket`, `_sum`, `_count` of a histogram. */
  readonly suffix?: string
  readonly labels?: Labels
  readonly value: number
}

/** All samples of one name. */
export interface MetricFamily {
  readonly name: string
  readonly help: string
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly samples: readonly Sample[]
}

/** A counter with labels. */
export interface Tally {
  add(labels: Labels, by?: number): void
  family(): MetricFamily
}

/** How long things took: a histogram with labels. */
export interface Times {
  observe(labels: Labels, seconds: number): void
  family(): MetricFamily
}

/** A gauge that is known now. */
export function gauge(name: string, help: string, samples: readonly Sample[]): MetricFamily {
  return { name, help, kind: 'gauge', samples }
}

/** A counter that something else counts. */
export function counter(name: string, help: string, samples: readonly Sample[]): MetricFamily {
  return { name, help, kind: 'counter', samples }
}

/** Opens a counter at nothing. */
export function openTally(name: string, help: string): Tally {
  const values = new Map<string, { readonly labels: Labels; value: number }>()
  return {
    add: (labels, by = 1) => {
      const key = formatLabels(labels)
      const known = values.get(key)
      if (known === undefined) values.set(key, { labels, value: by })
      else known.value += by
    },
    family: () => counter(name, help, [...values.values()]),
  }
}

/** Upper bounds in seconds: from an nftables change to a slow audit. */
const bounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5] as const

/** Opens a histogram at nothing. */
export function openTimes(name: string, help: string): Times {
  const values = new Map<string, { readonly labels: Labels; readonly buckets: number[]; sum: number; count: number }>()
  return {
    observe: (labels, seconds) => {
      const key = formatLabels(labels)
      const known = values.get(key) ?? { labels, buckets: bounds.map(() => 0), sum: 0, count: 0 }
      values.set(key, known)
      known.sum += seconds
      known.count++
      const bucket = bounds.findIndex((bound) => seconds <= bound)
      if (bucket >= 0) known.buckets[bucket] = (known.buckets[bucket] ?? 0) + 1
    },
    family: () => {
      const samples = [...values.values()].flatMap(({ labels, buckets, sum, count }): readonly Sample[] => {
        let below = 0
        const lines = bounds.map((bound, i) => {
          below += buckets[i] ?? 0
          return { suffix: '_bucket', labels: { ...labels, le: String(bound) }, value: below }
        })
        return [
          ...lines,
          { suffix: '_bucket', labels: { ...labels, le: '+Inf' }, value: count },
          { suffix: '_sum', labels, value: sum },
          { suffix: '_count', labels, value: count },
        ]
      })
      return { name, help, kind: 'histogram', samples }
    },
  }
}

/** The text that a scraper reads. */
export function formatMetrics(families: readonly MetricFamily[]): string {
  return families
    .flatMap(({ name, help, kind, samples }) => [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} ${kind}`,
      ...samples.map(({ suffix = '', labels = {}, value }) => `${name}${suffix}${formatLabels(labels)} ${value}`),
    ])
    .map((line) => `${line}\n`)
    .join('')
}

/** `{stage="lb",step="add"}`; nothing without labels. Backslash, quote and line feed are escaped as the format asks. */
function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
