/** What a TAP stream says in all. */
export interface TapCount {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** How often each reason to skip was given. */
  readonly reasons: ReadonlyMap<string, number>
}

/**
 * Counts the test points of a TAP 14 stream that have no subtest of their own: assertions. A point that closes a subtest
 * counts only when it failed for a reason of its own (a plan not kept, a time-out).
 */
export function countTap(text: string): TapCount {
  let passed = 0
  let failed = 0
  let skipped = 0
  const reasons = new Map<string, number>()
  /** Indentation of points seen since a shallower one: tells which points close a subtest. */
  let deepest = -1
  let failedBelow = false
  for (const line of text.split('\n')) {
    const point = /^( *)(not )?ok \d+(.*)$/.exec(line)
    if (point === null) continue
    const indent = point[1]?.length ?? 0
    const ok = point[2] === undefined
    const skip = /# SKIP ?(.*)$/i.exec(point[3] ?? '')
    const closes = deepest > indent
    if (skip !== null) {
      skipped++
      const reason = skip[1] || 'no reason given'
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
    } else if (!closes) {
      if (ok) passed++
      else failed++
    } else if (!ok && !failedBelow) {
      failed++
    }
    failedBelow = failedBelow || !ok
    if (indent === 0) failedBelow = false
    deepest = indent
  }
  return { passed, failed, skipped, reasons }
}
