import { type Clock } from '../../core/base/clock.ts'
import { errorMessage } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'
import { type RouteSocket } from '../netlink/ops.ts'
import { type RouteEvent } from '../netlink/watch.ts'
import { openConcern } from './concern.ts'
import { type OwnChanges } from './own-changes.ts'

/** What noticing changes by others needs. */
export interface DriftOptions {
  readonly routes: RouteSocket
  readonly own: OwnChanges
  readonly underlayDevice: string
  /** Opens the kernel's notifications. */
  readonly watch: (options: { readonly signal: AbortSignal }) => AsyncIterable<RouteEvent>
  /** The overlay is to be compared with the kernel; called at most once a second. */
  readonly onDrift: () => void
  readonly clock: Clock
  readonly log: Logger
}

/** A change seldom comes alone: how long to wait for the rest of it, in milliseconds. */
const coalesceMs = 50

/** Least time between two reports: a fight with another program costs one audit a second, not a processor. */
const spacingMs = 1000

/** How long to wait before notifications are opened again after they failed. */
const reopenMs = 1000

/**
 * Reports changes to the overlay's objects that others made, and changes of the underlay device, until the signal aborts:
 * within {@link coalesceMs}, or {@link spacingMs} after the report before. Our own changes are left out by
 * {@link OwnChanges}; those of the underlay never are, because we make none there.
 */
export async function followDrift(options: DriftOptions, { signal }: { readonly signal: AbortSignal }): Promise<void> {
  const { clock, log } = options
  while (!signal.aborted) {
    try {
      await follow(options, signal)
    } catch (error) {
      if (signal.aborted) return
      log.warn({ reason: errorMessage(error) }, 'kernel notifications failed; the timed audit goes on')
      options.onDrift() // what happened until they are open again is not known
      await clock.sleep(reopenMs, { signal }).catch(() => undefined) // aborted: the loop ends
    }
  }
}

async function follow({ routes, own, underlayDevice, watch, onDrift, clock, log }: DriftOptions, signal: AbortSignal) {
  const concern = openConcern(underlayDevice)
  const report = openReport({ clock, onDrift, log })
  try {
    for await (const event of watch({ signal })) {
      if (event.kind === 'resync') concern.reset(await routes.links())
      const about = concern.of(event)
      if (about === undefined) continue
      if (about.startsWith('underlay') || !own.absorb(event)) report.add(about)
    }
  } finally {
    report.close()
  }
}

function openReport({ clock, onDrift, log }: Pick<DriftOptions, 'clock' | 'onDrift' | 'log'>) {
  const seen = new Map<string, number>()
  let lastMs = Number.NEGATIVE_INFINITY
  let cancel: (() => void) | undefined
  const fire = () => {
    cancel = undefined
    lastMs = clock.monotonicMs()
    log.info({ changes: Object.fromEntries(seen) }, 'the overlay was changed by others: comparing')
    seen.clear()
    onDrift()
  }
  return {
    add: (about: string) => {
      seen.set(about, (seen.get(about) ?? 0) + 1)
      cancel ??= clock.after(Math.max(coalesceMs, lastMs + spacingMs - clock.monotonicMs()), fire)
    },
    close: () => cancel?.(),
  }
}
