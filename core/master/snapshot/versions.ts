import { type Clock } from '../../base/clock.ts'
import { errorMessage } from '../../base/errors.ts'
import { type Logger } from '../../base/log.ts'

/** Snapshot versions that only grow, over restarts and changes of leader too. */
export interface Versions {
  /** The last one that was given; the first value is what an earlier master can have given at most. */
  current(): number
  /** The next version, or undefined while none is reserved (the store is full): `onAvailable` tells when to ask again. */
  next(): number | undefined
  close(): void
}

/** What versions need. */
export interface VersionsOptions {
  /** What an earlier master reserved; 0 for a new cluster. */
  readonly reservedUntil: number
  /** Makes a reservation durable. */
  readonly reserve: (until: number) => Promise<void>
  readonly onAvailable: () => void
  readonly clock: Clock
  readonly log: Logger
}

/** So many versions are reserved by one write; a restart skips what is left of them. */
const blockSize = 10_000
const retryMs = 1_000

/** Reserves the first block. @throws what `reserve` throws */
export async function openVersions(options: VersionsOptions): Promise<Versions> {
  const { reserve, onAvailable, clock, log } = options
  let current = options.reservedUntil
  let reserved = current + blockSize
  await reserve(reserved)
  let extending = false
  let cancelRetry: () => void = () => undefined
  const extend = async () => {
    if (extending) return
    extending = true
    try {
      await reserve(reserved + blockSize)
      reserved += blockSize
      extending = false
      onAvailable()
    } catch (error) {
      log.error({ reason: errorMessage(error) }, 'cannot reserve snapshot versions: free space for the store')
      cancelRetry = clock.after(retryMs, () => {
        extending = false
        void extend()
      })
    }
  }
  const next = () => {
    if (reserved - current <= blockSize / 2) void extend()
    if (current >= reserved) return undefined
    current++
    return current
  }
  return { current: () => current, next, close: () => cancelRetry() }
}
