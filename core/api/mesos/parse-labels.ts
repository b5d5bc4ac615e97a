import { type labelsWire, type Wire } from './wire.ts'

/** Mesos's list of pairs as a record; of two with one key the last counts. */
export function parseLabels(wire: Wire<typeof labelsWire> | undefined): Readonly<Record<string, string>> {
  return Object.fromEntries((wire?.labels ?? []).map(({ key, value }) => [key, value]))
}

/** A record as Mesos's list of pairs; nothing for an empty one. */
export function formatLabels(labels: Readonly<Record<string, string>> = {}) {
  const pairs = Object.entries(labels).map(([key, value]) => ({ key, value }))
  return pairs.length === 0 ? undefined : { labels: pairs }
}
