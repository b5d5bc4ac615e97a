import { type Clock } from '../base/clock.ts'

/** What is over sooner needs no word; and how often one may be told. */
const wait = { firstMs: 1000, nextMs: 10_000 } as const

/** Words on something that takes long, on their way to a person. */
export interface Progress {
  /** Where it is now; the latest is told when it is time. */
  readonly onProgress: (message: string) => void
  /** Tells nothing more. */
  close(): void
}

/** Tells a message after a second, then changes at most every ten. */
export function openProgress({
  clock,
  tell,
}: {
  readonly clock: Clock
  readonly tell: (message: string) => void
}): Progress {
  let [latest, told] = ['', '']
  const tick = () => {
    if (latest !== told) tell(latest)
    told = latest
    cancel = clock.after(wait.nextMs, tick)
  }
  let cancel = clock.after(wait.firstMs, tick)
  return {
    onProgress: (message) => {
      latest = message
    },
    close: () => cancel(),
  }
}
