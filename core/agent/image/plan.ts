/** An image on the agent's disk. */
export interface StoredImage {
  readonly key: string
  readonly sizeBytes: number
  readonly usedAtMs: number
  readonly inUse: boolean
}

/** How much is kept. */
export interface KeepPolicy {
  readonly maxBytes: number
  readonly maxAgeMs: number
  /** What was asked for so short a time ago may be about to be used. */
  readonly graceMs: number
}

/** Images that may go: unused for long, then the longest unused ones until the rest fits. Those in use stay. */
export function expiredImages(
  images: readonly StoredImage[],
  { maxBytes, maxAgeMs, graceMs }: KeepPolicy,
  nowMs: number,
): readonly string[] {
  let total = images.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const candidates = images
    .filter(({ inUse, usedAtMs }) => !inUse && nowMs - usedAtMs > graceMs)
    .toSorted((a, b) => a.usedAtMs - b.usedAtMs)
  const expired: string[] = []
  for (const { key, sizeBytes, usedAtMs } of candidates) {
    if (nowMs - usedAtMs <= maxAgeMs && total <= maxBytes) continue
    total -= sizeBytes
    expired.push(key)
  }
  return expired
}
